"""The Gauss-Newton matrices of a decoder, from Jacobians by central differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

STEP = 0.3  # step size of the differences, in prior standard deviations

Decoder = Callable[..., np.ndarray]  # latents (n, d) of each group -> values (n, ...)


def gauss_newton(decode: Decoder, latents: Sequence[np.ndarray], g: int) -> np.ndarray:
    """Sum (not the average) over samples of J^T J, (d, d) float64, where J = dF / dz_g has shape (values, d).

    latents: (n, d) of each group.
    """
    dimensions = latents[g].shape[1]
    offsets, total = STEP * np.eye(dimensions, dtype=np.float32), np.zeros((dimensions, dimensions))
    for n in range(len(latents[g])):
        points = [z[n:n + 1].repeat(2 * dimensions, 0) for z in latents]
        points[g] = points[g] + np.concatenate([offsets, -offsets])
        values = decode(*points).reshape(2, dimensions, -1).astype(np.float64)
        transposed = (values[0] - values[1]) / (2 * STEP)  # J^T
        total += transposed @ transposed.T
    return total
