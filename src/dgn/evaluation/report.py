"""All measures of a run that need no known factors, in one dictionary."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

import numpy as np

from dgn.data.source import observed
from dgn.evaluation import checkerboard, displacement, reconstruction
from dgn.nets.model import rows


def compute(decode: Callable, images: np.ndarray, latents, unseen: Optional[np.ndarray] = None,
            unseen_latents=None) -> Dict[str, Any]:
    """Reconstruction of training and unseen images; checkerboard and displacement of the training images, if the model
    has them.

    images: (N, C, H, W), or clips (N, F, C, H, W); decode: latents of each group -> Decoded of NumPy arrays; latents: those of
    `images`.
    """
    decoded = decode(*latents)
    if images.ndim == 5:  # of clips all frames that they have, as images
        seen = observed(images)
        images, decoded = images[seen], rows(decoded, seen)
    result = {"train": reconstruction.compute(images, decoded.image)}
    if decoded.displacement is not None:
        result["appearance"] = checkerboard.compute(images, decoded.appearance)
        result["geometry"] = displacement.compute(decoded.displacement)
    if unseen is not None:
        result["unseen"] = reconstruction.compute(unseen, decode(*unseen_latents).image)
    return result
