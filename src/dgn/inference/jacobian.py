"""Jacobians of a decoder by central differences, and their average Gauss-Newton matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

STEP = 0.3  # step size of the differences, in prior standard deviations

Decoder = Callable[..., np.ndarray]  # latents (n, d) of each group -> values (n, ...)


def jacobians(decode: Decoder, latents: Sequence[np.ndarray], g: int) -> Iterator[np.ndarray]:
    """The transposed Jacobian (dF / dz_g)^T of each sample, (d, values) float64. latents: (n, d) of each group."""
    dimensions = latents[g].shape[1]
    for n in range(len(latents[g])):
        points = [z[n:n + 1].repeat(2 * dimensions, 0) for z in latents]
        offsets = STEP * np.eye(dimensions, dtype=np.float32)
        points[g] = points[g] + np.concatenate([offsets, -offsets])
        values = decode(*points).reshape(2, dimensions, -1).astype(np.float64)
        yield (values[0] - values[1]) / (2 * STEP)


def gauss_newton(decode: Decoder, latents: Sequence[np.ndarray], g: int) -> np.ndarray:
    """Sum (not the average) over samples of J^T J, (d, d) float64, where J = dF / dz_g has shape (values, d)."""
    dimensions = latents[g].shape[1]
    total = np.zeros((dimensions, dimensions))
    for transposed in jacobians(decode, latents, g):
        total += transposed @ transposed.T
    return total
