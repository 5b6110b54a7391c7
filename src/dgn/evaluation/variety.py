"""How much pictures differ from each other, relative to real ones: a generator that has collapsed makes nearly one picture."""

from __future__ import annotations

import numpy as np


def compute(images: np.ndarray, real: np.ndarray) -> float:
    """Root mean squared distance between two of the images, divided by that of the real ones; both (n, C, H, W), n at least 2.

    1: they vary as much as real images; 0: they are all the same.
    """
    # of independent pairs the mean squared distance is twice the variance summed over pixels
    return float(np.sqrt(images.var(0, ddof=1).sum() / max(real.var(0, ddof=1).sum(), 1e-12)))
