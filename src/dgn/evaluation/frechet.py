"""A Frechet distance between sets of pictures, in a feature space that needs no download.

Features are those of a small network of fixed random filters: three layers of 5x5 filters without a mean, each halving the
size, with rectification of both signs; of every channel the mean and the deviation over the picture, and the picture's
block averages of 4x4. Such features see colours, textures and sharpness and their places roughly; they know nothing of
faces. Distances are good for comparing models on the same images at the same size, and for nothing else: they are not
those of the Inception network that the literature's FID is.
"""

from __future__ import annotations

from typing import List

import numpy as np

from dgn.randomness import generator

FILTERS = 16  # of each layer; both signs make twice as many channels
KERNEL = 5
LAYERS = 3
CHUNK = 100


def features(images: np.ndarray) -> np.ndarray:
    """(N, C, H, W) in [0, 1] -> (N, d) float64."""
    filters = _filters(images.shape[1])
    return np.concatenate([_features(images[start:start + CHUNK], filters) for start in range(0, len(images), CHUNK)])


def _features(images: np.ndarray, filters: List[np.ndarray]) -> np.ndarray:
    n, channels, height, width = images.shape
    blocks = images.reshape(n, channels, 4, height // 4, 4, width // 4).mean((3, 5)).reshape(n, -1)
    found, x = [blocks], images.astype(np.float32)
    for weights in filters:
        if min(x.shape[2:]) < KERNEL:  # small pictures have fewer layers
            break
        windows = np.lib.stride_tricks.sliding_window_view(x, (KERNEL, KERNEL), (2, 3))[:, :, ::2, ::2]
        x = np.einsum("nchwij,ocij->nohw", windows, weights, optimize=True)
        x = np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], 1)
        found += [x.mean((2, 3)), x.std((2, 3))]
    return np.concatenate(found, 1).astype(np.float64)


def _filters(channels: int) -> List[np.ndarray]:
    """The same for everyone: filters (outputs, inputs, 5, 5) of unit norm, the first layer's without a mean."""
    found = []
    for layer in range(LAYERS):
        weights = generator(0, "frechet filters", channels, layer).standard_normal((FILTERS, channels, KERNEL, KERNEL)).astype(np.float32)
        weights -= weights.mean((2, 3), keepdims=True)
        found.append(weights / np.sqrt(np.square(weights).sum((1, 2, 3), keepdims=True)))
        channels = 2 * FILTERS
    return found


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of two Gaussians fitted to features (n, d) and (m, d):
    |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))."""
    mean = a.mean(0) - b.mean(0)
    first, second = np.cov(a.T), np.cov(b.T)
    root = _root(first)
    cross = np.linalg.eigvalsh(root @ second @ root)
    return float(mean @ mean + np.trace(first) + np.trace(second) - 2 * np.sqrt(np.maximum(cross, 0)).sum())


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def compute(images: np.ndarray, real: np.ndarray) -> float:
    """Distance of two sets of pictures, both (n, C, H, W) in [0, 1]; of fewer than some hundreds the covariances are rough."""
    return distance(features(images), features(real))
