"""Reconstruction errors."""

from __future__ import annotations

from typing import Dict

import numpy as np


def compute(images: np.ndarray, reconstructions: np.ndarray) -> Dict[str, float]:
    """Errors of N images (N, C, H, W) in [0, 1].

    msre: sum of squared errors of an image, averaged over images (the paper's measure); psnr: in dB, averaged over
    images; mse: mean squared error of a value.
    """
    squared = np.square(images.astype(np.float64) - reconstructions).reshape(len(images), -1)
    psnr = -10 * np.log10(np.maximum(squared.mean(1), 1e-12))
    return {"msre": float(squared.sum(1).mean()), "psnr": float(psnr.mean()), "mse": float(squared.mean()),
            "images": len(images)}
