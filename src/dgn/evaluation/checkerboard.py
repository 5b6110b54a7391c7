"""Is the appearance before the warp a picture, or a checkerboard from which displacements pick the pixels?"""

from __future__ import annotations

from typing import Dict

import numpy as np

BAND = 0.85  # of the Nyquist frequency, along rows or columns


def near_nyquist_energy(images: np.ndarray) -> float:
    """Mean energy per pixel that images (N, C, H, W) have near the Nyquist frequency of either axis.

    Border columns and rows are faded out by a Hann window, so that the jump from one border to the opposite one,
    which is not in the picture, is not counted.
    """
    height, width = images.shape[-2:]
    window = np.hanning(height)[:, None] * np.hanning(width)
    centred = images - images.mean((-2, -1), keepdims=True)
    power = np.abs(np.fft.fft2(centred * window)) ** 2 / (window ** 2).sum() / (height * width)
    fast = (2 * np.abs(np.fft.fftfreq(height)) >= BAND)[:, None] | (2 * np.abs(np.fft.fftfreq(width)) >= BAND)
    return float(power[..., fast].sum(-1).mean())


def compute(images: np.ndarray, appearance: np.ndarray) -> Dict[str, float]:
    """Energy of the appearances relative to that of the images: about 1 or less for a picture, large for a checkerboard."""
    of_images, of_appearance = near_nyquist_energy(images), near_nyquist_energy(appearance)
    return {"nyquist_images": of_images, "nyquist_appearance": of_appearance,
            "nyquist_ratio": of_appearance / max(of_images, 1e-12)}
