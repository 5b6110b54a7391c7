"""Variety of images relative to real images: it decreases when a generator collapses to few images."""

from __future__ import annotations

import numpy as np

from dgn.evaluation.ratios import SMALLEST


def relative_variety(images: np.ndarray, real: np.ndarray) -> float | None:
    """Root mean squared distance of two images, relative to the same distance of two real images.

    Args:
        images: (N, C, H, W), N at least 2.
        real: (M, C, H, W), M at least 2.

    Returns:
        1: the images differ as much as real ones; 0: they are all equal. None if the real images are all equal.
    """
    # for independent pairs the mean squared distance is twice the variance summed over pixels
    variance = real.var(0, ddof=1).sum()
    return float(np.sqrt(images.var(0, ddof=1).sum() / variance)) if variance > SMALLEST else None
