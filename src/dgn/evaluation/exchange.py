"""Exchange of latents between two faces: which donor's factors does the decoded image show?

The factors of generated faces are known. A linear probe, trained on generated faces of other people, predicts factors
from images. Its predictions for decoded images with exchanged geometry are compared with the factors of both donors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dgn.evaluation.uncertainty import bootstrap_standard_error

if TYPE_CHECKING:
    from dgn.nets.model import Decode

Predict = Callable[[np.ndarray], np.ndarray]  # images (n, C, H, W) -> factors (n, k)

PAIRS = 3600  # largest number of exchanges that are measured: all ordered pairs of up to 60 faces
FEATURES = 16  # images are averaged to this many pixels a side before the regression


def block_means(images: np.ndarray, side: int = FEATURES) -> np.ndarray:
    """Block averages of images (n, C, H, W), and a constant; (n, C * side^2 + 1)."""
    n, channels, height, width = images.shape
    blocks = images.reshape(n, channels, side, height // side, side, width // side).mean((3, 5))
    return np.concatenate([blocks.reshape(n, -1), np.ones((n, 1))], 1).astype(np.float64)


def probe(images: np.ndarray, factors: np.ndarray, ridge: float = 1.0, side: int = FEATURES) -> Predict:
    """Ridge regression from images (n, C, H, W), averaged to side x side pixels, to factors (n, k)."""
    x = block_means(images, side)
    centre = factors.mean(0)
    weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ (factors - centre))
    return lambda shown: block_means(shown, side) @ weights + centre


def exchange_correlations(decode: Decode, predict: Predict, names: Sequence[str], factors: np.ndarray,
                          z_app: np.ndarray, z_geo: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Correlations of predicted with true factors when each face takes the geometry of others.

    Pose should follow the geometry donor and colour the appearance donor; the other correlation should be near 0. In
    round k, each face takes the geometry of the k-th next face; rounds continue up to PAIRS exchanges. A single round
    of few faces would not suffice: its two donors correlate by chance (60 faces: standard deviation 0.13), which would
    look like a leak.

    decode: the decoder of a deformable model. predict: a probe. names: of the k factors. factors: (n, k), true factors
    of n faces of different people. z_app, z_geo: (n, d_a), (n, d_g), latents of these faces.
    Returns by factor:
        own: correlation of the factor predicted from the reconstruction with the true factor, for comparison.
        appearance_donor, geometry_donor: correlation of the factor predicted from the image with exchanged geometry
            with the true factor of this donor.
        appearance_donor_stderr, geometry_donor_stderr: standard errors of these correlations over faces.
    """
    indices, shifts = np.arange(len(factors)), 1 + np.arange(np.clip(PAIRS // len(factors), 1, len(factors) - 1))
    own = predict(decode(z_app, z_geo).image)
    rounds = [np.roll(indices, -shift) for shift in shifts]
    predicted = np.concatenate([predict(decode(z_app, z_geo[other]).image) for other in rounds])
    donors = {"appearance_donor": np.tile(indices, len(rounds)), "geometry_donor": np.concatenate(rounds)}
    return {name: {"own": correlation(own[:, k], factors[:, k]), **_by_donor(predicted[:, k], factors[:, k], donors)}
            for k, name in enumerate(names)}


def _by_donor(predicted: np.ndarray, factor: np.ndarray, donors: dict[str, np.ndarray]) -> dict[str, float | None]:
    """Correlation of predicted values (m,) with the factor of each donor, and its standard error.

    factor: (n,), true values of the faces; donors: (m,) by name, the face that gives each pair its appearance, and the
    face that gives its geometry.
    """
    def error(truth: np.ndarray) -> float | None:
        first, second = donors.values()
        return bootstrap_standard_error(  # the weight of a pair is the product of its faces' weights
            lambda drawn: correlation(predicted, truth, drawn[first] * drawn[second]), len(factor))

    result: dict[str, float | None] = {}
    for name, faces in donors.items():
        result[name], result[f"{name}_stderr"] = correlation(predicted, factor[faces]), error(factor[faces])
    return result


def correlation(a: np.ndarray, b: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Pearson correlation of a (n,) and b (n,), optionally with weights (n,); 0 if a or b is constant."""
    w = np.full(len(a), 1 / len(a)) if weights is None else weights / max(weights.sum(), 1)
    a, b = a - w @ a, b - w @ b
    norm = np.sqrt((w @ a ** 2) * (w @ b ** 2))
    return float(w @ (a * b) / norm) if norm * len(a) > 1e-12 else 0.0
