"""Checkerboards in the appearance: a degenerate solution where the displacement selects pixels of a fine pattern."""

from __future__ import annotations

import numpy as np

from dgn.evaluation.ratios import ratio

CHUNK = 50  # images whose spectra are in memory together
BAND = 0.85  # lower limit of the band, relative to the Nyquist frequency, along rows or columns


def near_nyquist_energy(images: np.ndarray) -> float:
    """Mean energy per pixel of images (N, C, H, W) near the Nyquist frequency of either axis.

    A Hann window fades out the borders, because the periodic transform would include the jump between opposite borders.
    """
    height, width = images.shape[-2:]
    window = np.hanning(height)[:, None] * np.hanning(width)
    band = (2 * np.abs(np.fft.fftfreq(height)) >= BAND)[:, None] | (2 * np.abs(np.fft.fftfreq(width)) >= BAND)

    def energies(images: np.ndarray) -> np.ndarray:
        centred = images - images.mean((-2, -1), keepdims=True)
        power = np.abs(np.fft.fft2(centred * window)) ** 2 / (window ** 2).sum() / (height * width)
        return power[..., band].sum(-1)
    return float(np.concatenate([energies(images[k:k + CHUNK]) for k in range(0, len(images), CHUNK)]).mean())


def checkerboard_energy(images: np.ndarray, appearance: np.ndarray) -> dict[str, float | None]:
    """Energy near the Nyquist frequency in appearances before the warp, relative to the images.

    images: (N, C, H, W), appearance: (M, C, H, W) before the warp, in [0, 1].
    Returns a dictionary:
        nyquist_images, nyquist_appearance: mean energy per pixel.
        nyquist_ratio: nyquist_appearance / nyquist_images: about 1 or less without a checkerboard, far above 1 with
            one. None if the images have no such energy (constant images).
    """
    of_images, of_appearance = near_nyquist_energy(images), near_nyquist_energy(appearance)
    return {"nyquist_images": of_images, "nyquist_appearance": of_appearance,
            "nyquist_ratio": ratio(of_appearance, of_images)}
