"""How sharp pictures are, against the real ones."""

from __future__ import annotations

import numpy as np


def gradient_energy(images: np.ndarray) -> float:
    """Mean squared difference of neighbouring pixels, across and down, of images (N, C, H, W)."""
    across, down = np.diff(images, axis=3), np.diff(images, axis=2)
    return float(np.square(across).mean() + np.square(down).mean())


def compute(images: np.ndarray, real: np.ndarray) -> float:
    """Gradient energy relative to that of real images: 1 as sharp, less blurred, more noisy or over-sharp."""
    return gradient_energy(images) / max(gradient_energy(real), 1e-12)
