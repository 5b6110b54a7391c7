"""Measures of a set of generated images relative to real images: Frechet distance, sharpness, variety.

The Frechet distance is taken in a feature space that needs no download. Heusel et al. 2017 use features of the
Inception network; here the network is small and has fixed random filters: three layers of 5x5 filters, each halving the
size, with rectification of both signs. The features are mean and standard deviation of every channel over the image,
and averages of the image over a 4x4 grid of blocks. These averages have most of the variance, so the distance measures
mainly colours and their coarse layout, hardly sharpness, and nothing specific to faces. It ranks models on the same
images at the same size; it cannot be compared with an FID. The distance of two sets with the same distribution is above
0 and decreases with their sizes: compare with `distance_of_halves`.
"""

from __future__ import annotations

import math

import numpy as np

from dgn.evaluation.ratios import ratio
from dgn.randomness import generator

FILTERS = 16  # in each layer; the two signs double the number of channels
KERNEL = 5
LAYERS = 3
CHUNK = 100


def features(images: np.ndarray) -> np.ndarray:
    """(N, C, H, W) in [0, 1] -> (N, d) float64."""
    filters = _filters(images.shape[1])
    return np.concatenate([_features(images[start:start + CHUNK], filters) for start in range(0, len(images), CHUNK)])


def _features(images: np.ndarray, filters: list[np.ndarray]) -> np.ndarray:
    n, channels, height, width = images.shape
    blocks = images.reshape(n, channels, 4, height // 4, 4, width // 4).mean((3, 5)).reshape(n, -1)
    statistics, x = [blocks], images.astype(np.float32)
    for weights in filters:
        if min(x.shape[2:]) < KERNEL:  # small images have fewer layers
            break
        windows = np.lib.stride_tricks.sliding_window_view(  # type: ignore[call-overload]  # of NumPy's stubs
            x, (KERNEL, KERNEL), axis=(2, 3))[:, :, ::2, ::2]
        x = np.einsum("nchwij,ocij->nohw", windows, weights, optimize=True)
        x = np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)], 1)
        statistics += [x.mean((2, 3)), x.std((2, 3))]
    return np.concatenate(statistics, 1).astype(np.float64)


def _filters(channels: int) -> list[np.ndarray]:
    """Fixed filters (outputs, inputs, 5, 5) of each layer, with zero mean and unit norm."""
    filters = []
    for layer in range(LAYERS):
        rng = generator(0, "frechet filters", channels, layer)
        weights = rng.standard_normal((FILTERS, channels, KERNEL, KERNEL)).astype(np.float32)
        weights -= weights.mean((2, 3), keepdims=True)
        filters.append(weights / np.sqrt(np.square(weights).sum((1, 2, 3), keepdims=True)))
        channels = 2 * FILTERS
    return filters


def gaussian_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance of the Gaussians fitted to features (n, d) and (m, d):
    |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))."""
    mean = a.mean(0) - b.mean(0)
    first, second = np.cov(a.T), np.cov(b.T)
    root = _root(first)
    cross = np.linalg.eigvalsh(root @ second @ root)
    distance = mean @ mean + np.trace(first) + np.trace(second) - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return max(float(distance), 0.0)  # rounding may give a negative one for equal statistics


def _root(matrix: np.ndarray) -> np.ndarray:
    """Square root of a symmetric positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


def frechet_distance(images: np.ndarray, real: np.ndarray) -> float | None:
    """Frechet distance of two sets of images in the space of random features.

    images: (N, C, H, W), real: (M, C, H, W), in [0, 1]; height and width of the images are multiples of 4. 0: equal
    statistics; None for fewer than two images in a set, which have no covariance.
    """
    if min(len(images), len(real)) < 2:
        return None
    return gaussian_distance(features(images), features(real))


def distance_of_halves(real: np.ndarray) -> float:
    """Frechet distance between the even and the odd images of a set (N, C, H, W), N >= 4: the distance of two sets of
    N / 2 images with the same distribution. Smaller differences between distances are not meaningful."""
    found = features(real)
    return gaussian_distance(found[::2], found[1::2])


def gradient_energy(images: np.ndarray) -> float:
    """Mean squared difference of horizontal neighbours plus the same for vertical neighbours; images: (N, C, H, W)."""
    across, down = np.diff(images, axis=3), np.diff(images, axis=2)
    return float(np.square(across).mean() + np.square(down).mean())


def relative_sharpness(images: np.ndarray, real: np.ndarray) -> float | None:
    """Gradient energy of images divided by the gradient energy of real images.

    images: (N, C, H, W), real: (M, C, H, W), in [0, 1]. 1: as sharp as real images; below 1: blurred, or lower contrast
    (the value is proportional to its square); above 1: noisy, over-sharpened, or higher contrast; None if the real
    images are constant.
    """
    return ratio(gradient_energy(images), gradient_energy(real))


def relative_variety(images: np.ndarray, real: np.ndarray) -> float | None:
    """Root mean squared distance of two images, relative to the same distance of two real images: it
    decreases when a generator collapses to few images.

    images: (N, C, H, W), real: (M, C, H, W). 1: the images differ as much as real ones; 0: they are all equal; None if
    the real images are all equal, or for fewer than two images in a set.
    """
    if min(len(images), len(real)) < 2:
        return None
    # for independent pairs the mean squared distance is twice the variance summed over pixels
    variance, of_real = (each.var(0, ddof=1, dtype=np.float64).sum() for each in (images, real))
    squared = ratio(variance, of_real)
    return None if squared is None else math.sqrt(squared)
