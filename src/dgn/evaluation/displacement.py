"""Size and smoothness of displacements, and the position of the canonical frame."""

from __future__ import annotations

import numpy as np


def displacement_statistics(displacement: np.ndarray) -> dict[str, float]:
    """Size and smoothness of displacement fields.

    displacement: (N, 2, H, W) in pixels, channel 0 dx, channel 1 dy.
    Returns a dictionary:
        displacement_rms: root mean square length of the difference from the mean field, in pixels: only the part that
            depends on the sample, without the position of the canonical frame.
        stretch_rms: root mean square difference between the displacements of neighbouring pixels, for one component
            and one direction, in pixels per pixel; well below 1 for smooth fields.
        folded: fraction of pixels where the map is folded (its Jacobian determinant is negative).
    """
    field = displacement.astype(np.float64)
    mean = field.mean(0, keepdims=True)
    across, down = np.diff(field, axis=3), np.diff(field, axis=2)
    jacobian = (1 + across[:, 0, :-1]) * (1 + down[:, 1, :, :-1]) - across[:, 1, :-1] * down[:, 0, :, :-1]
    return {"displacement_rms": _rms(field - mean),
            "stretch_rms": float(np.sqrt((np.square(across).mean() + np.square(down).mean()) / 2)),
            "folded": float((jacobian < 0).mean())}


def canonical_frame(displacement: np.ndarray) -> dict[str, float]:
    """How far the canonical frame has drifted from the frame of the images.

    The likelihood does not determine the canonical frame: the appearance may be shifted or rescaled if every
    displacement compensates for it. An exchange of latents does not reveal such a drift; these measures do.

    displacement: (N, 2, H, W) in pixels, channel 0 dx, channel 1 dy; the fields of many images.
    Returns a dictionary:
        mean_displacement: root mean square length of the mean field, in pixels; 0: the canonical frame is the frame of
            the average image.
        outside: fraction of pixels whose source (x + dx, y + dy) is more than half a pixel beyond the centres of the
            border pixels; the warp clamps it to the border.
    """
    height, width = displacement.shape[2:]
    x = displacement[:, 0] + np.arange(width, dtype=np.float32)
    y = displacement[:, 1] + np.arange(height, dtype=np.float32)[:, None]
    outside = (x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)
    return {"mean_displacement": _rms(displacement.astype(np.float64).mean(0, keepdims=True)),
            "outside": float(outside.mean())}


def _rms(vectors: np.ndarray) -> float:
    """Root mean square length of vectors (n, 2, ...)."""
    return float(np.sqrt(np.square(vectors).sum(1).mean()))
