"""Sharpness of images relative to real images."""

from __future__ import annotations

import numpy as np

from dgn.evaluation.ratios import ratio


def gradient_energy(images: np.ndarray) -> float:
    """Mean squared difference of horizontal neighbours plus the same for vertical neighbours; images: (N, C, H, W)."""
    across, down = np.diff(images, axis=3), np.diff(images, axis=2)
    return float(np.square(across).mean() + np.square(down).mean())


def relative_sharpness(images: np.ndarray, real: np.ndarray) -> float | None:
    """Gradient energy of images divided by the gradient energy of real images.

    Args:
        images: (N, C, H, W) in [0, 1].
        real: (M, C, H, W) in [0, 1].

    Returns:
        1: as sharp as real images; below 1: blurred, or lower contrast (the value is proportional to its square);
        above 1: noisy, over-sharpened, or higher contrast. None if the real images are constant.
    """
    return ratio(gradient_energy(images), gradient_energy(real))
