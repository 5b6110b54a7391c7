"""The measures of a run that need no known factors, in one dictionary."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

import numpy as np

from dgn.data.source import to_images
from dgn.evaluation import checkerboard, displacement, reconstruction
from dgn.nets.model import rows


class Sample(NamedTuple):
    """Images or clips with their latents."""

    images: np.ndarray  # (N, C, H, W), or (N, F, C, H, W)
    latents: Sequence[np.ndarray]  # of each group
    mask: Optional[np.ndarray] = None  # of clips: (N, F)


def compute(decode: Callable, train: Sample, unseen: Optional[Sample] = None) -> Dict[str, Any]:
    """Reconstruction errors of training and unseen samples; checkerboard and displacement measures of the training samples,
    if the model has an appearance and a displacement. decode: latents of each group -> Decoded of NumPy arrays."""
    decoded, images = decode(*train.latents), train.images
    if train.mask is not None:  # all frames of clips, as images
        images, decoded = to_images(images, train.mask), rows(decoded, train.mask > 0)
    result = {"train": reconstruction.compute(images, decoded.image)}
    if decoded.displacement is not None:
        result["appearance"] = checkerboard.compute(images, decoded.appearance)
        result["geometry"] = displacement.compute(decoded.displacement)
    if unseen is not None:
        rebuilt = decode(*unseen.latents).image
        result["unseen"] = reconstruction.compute(*(to_images(a, unseen.mask) for a in (unseen.images, rebuilt)))
    return result
