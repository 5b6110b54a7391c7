"""When two faces exchange their geometry, do pose and shape go with it, and do colour and light stay?

Known factors of generated faces tell: a linear probe, trained on generated faces that the model never saw, reads the
factors off pictures; the factors read off an exchanged picture are compared with those of both donors.
"""

from __future__ import annotations

from typing import Callable, Dict, Sequence

import numpy as np

Predict = Callable[[np.ndarray], np.ndarray]  # pictures (n, C, H, W) -> factors (n, k)

FEATURES = 16  # pictures are averaged to this many pixels a side before they are read


def features(pictures: np.ndarray, side: int = FEATURES) -> np.ndarray:
    """Block averages of pictures (n, C, H, W), and a constant; (n, C * side^2 + 1)."""
    n, channels, height, width = pictures.shape
    blocks = pictures.reshape(n, channels, side, height // side, side, width // side).mean((3, 5))
    return np.concatenate([blocks.reshape(n, -1), np.ones((n, 1))], 1).astype(np.float64)


def probe(pictures: np.ndarray, factors: np.ndarray, ridge: float = 1.0, side: int = FEATURES) -> Predict:
    """Ridge regression from pictures (n, C, H, W), averaged to side x side pixels, to factors (n, k)."""
    x = features(pictures, side)
    centre = factors.mean(0)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (factors - centre))
    return lambda shown: features(shown, side) @ weights + centre


def compute(decode: Callable, predict: Predict, names: Sequence[str], factors: np.ndarray, z_app: np.ndarray,
            z_geo: np.ndarray) -> Dict[str, Dict[str, float]]:
    """Correlations for each factor, over n faces whose latents and factors (n, k) are given.

    own: between the factor read off the reconstruction and the true one (how well it can be read at all);
    appearance_donor, geometry_donor: between the factor read off a picture with one face's appearance and the next
    face's geometry, and the true one of either. A factor of pose should follow the geometry donor, one of colour the
    appearance donor; the other correlation should be near 0.
    """
    other = np.roll(np.arange(len(factors)), -1)
    own = predict(decode(z_app, z_geo).image)
    exchanged = follow(predict(decode(z_app, z_geo[other]).image), names, factors, factors[other])
    return {name: {"own": correlation(own[:, k], factors[:, k]), **exchanged[name]} for k, name in enumerate(names)}


def follow(shown: np.ndarray, names: Sequence[str], appearance: np.ndarray, geometry: np.ndarray) -> Dict[str, Dict[str, float]]:
    """Correlations of factors (n, k) read off pictures with those of the appearance's and of the geometry's donors."""
    return {name: {"appearance_donor": correlation(shown[:, k], appearance[:, k]),
                   "geometry_donor": correlation(shown[:, k], geometry[:, k])} for k, name in enumerate(names)}


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's; 0 if one of the two is constant."""
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 1e-12 else 0.0
