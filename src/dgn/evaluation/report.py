"""The measures of a model that need neither labels nor known factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dgn.data.source import to_images
from dgn.evaluation.checkerboard import checkerboard_energy
from dgn.evaluation.displacement import canonical_frame, displacement_statistics
from dgn.evaluation.reconstruction import reconstruction_errors
from dgn.nets.model import Decode, rows


class Sample(NamedTuple):
    """Images or clips with their latents."""

    images: np.ndarray  # (N, C, H, W), or (N, F, C, H, W)
    latents: Sequence[np.ndarray]  # (N, d) of each group
    mask: np.ndarray | None = None  # (N, F), only for clips
    units: np.ndarray | None = None  # (N,), the person in each, see uncertainty.clusters; None: all are independent


def unlabelled_measures(decode: Decode, train: Sample | None,
                        unseen: Sample | None = None) -> dict[str, Any]:
    """Errors of reconstructions; for a model with a warp also measures of appearances and displacements.

    train: training samples with the latents of their chains; None omits their measures. unseen: other samples with
    inferred latents.
    Returns a dictionary:
        train, unseen: reconstruction errors; see reconstruction.
        appearance: measures of the training samples; see checkerboard.
        geometry, canonical_frame: measures of the training samples; see displacement.
    """
    result: dict[str, Any] = {}
    if train is not None:
        decoded, images = decode(*train.latents), train.images
        if train.mask is not None:  # all frames of clips, as images
            images, decoded = to_images(images, train.mask), rows(decoded, train.mask > 0)
        result["train"] = reconstruction_errors(images, decoded.image, _units(train))
        if decoded.appearance is not None and decoded.displacement is not None:
            result["appearance"] = checkerboard_energy(images, decoded.appearance)
            result["geometry"] = displacement_statistics(decoded.displacement)
            result["canonical_frame"] = canonical_frame(decoded.displacement)
    if unseen is not None:
        images, rebuilt = (to_images(x, unseen.mask) for x in (unseen.images, decode(*unseen.latents).image))
        result["unseen"] = reconstruction_errors(images, rebuilt, _units(unseen))
    return result


def _units(sample: Sample) -> np.ndarray:
    """The unit of each image, or of each frame of the clips."""
    units = np.arange(len(sample.images)) if sample.units is None else sample.units
    return units if sample.mask is None else units[np.nonzero(sample.mask)[0]]
