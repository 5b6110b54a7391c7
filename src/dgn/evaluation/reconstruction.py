"""Reconstruction errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from dgn.evaluation.uncertainty import standard_error_of_mean


def reconstruction_errors(images: np.ndarray, reconstructions: np.ndarray,
                          units: np.ndarray | None = None) -> dict[str, Any]:
    """Errors of reconstructed images; `msre` is the measure of Table 1.

    images, reconstructions: (N, C, H, W) in [0, 1].
    units: (N,), the person in each image, or the clip that the image is a frame of (default: images are
        independent).
    Returns a dictionary:
        msre: sum of squared errors of an image, averaged over images.
        msre_stderr: standard error of msre over units; None for a single unit.
        psnr: in dB, averaged over images (at most 120).
        mse: mean squared error of a value.
        images: N.
    """
    squared = np.square(images.astype(np.float64) - reconstructions).reshape(len(images), -1)
    psnr = -10 * np.log10(np.maximum(squared.mean(1), 1e-12))
    errors = squared.sum(1)
    return {"msre": float(errors.mean()), "msre_stderr": standard_error_of_mean(errors, units),
            "psnr": float(psnr.mean()), "mse": float(squared.mean()), "images": len(images)}
