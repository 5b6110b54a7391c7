"""Reconstruction errors."""

from __future__ import annotations

from typing import Dict

import numpy as np


def reconstruction_errors(images: np.ndarray, reconstructions: np.ndarray) -> Dict[str, float]:
    """Errors of reconstructed images; `msre` is the measure of Table 1.

    Args:
        images, reconstructions: (N, C, H, W) in [0, 1].

    Returns:
        msre: sum of squared errors of an image, averaged over images.
        psnr: in dB, averaged over images (at most 120).
        mse: mean squared error of a value.
        images: N.
    """
    squared = np.square(images.astype(np.float64) - reconstructions).reshape(len(images), -1)
    psnr = -10 * np.log10(np.maximum(squared.mean(1), 1e-12))
    return {"msre": float(squared.sum(1).mean()), "psnr": float(psnr.mean()), "mse": float(squared.mean()),
            "images": len(images)}
