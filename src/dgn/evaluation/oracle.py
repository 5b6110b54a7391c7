"""Oracle axes: the linear R2 gap of the best two blocks of directions.

The prior of a plain model is the same in all directions, so its dimensions are arbitrary directions. A split of the
dimensions into two blocks therefore underrates a model whose factors have other directions. The oracle knows the
factors and selects the directions. Its gap is an upper bound, not a property of the model, because only the factors
identify these axes. It bounds only the linear gap: within a block the axes are an arbitrary rotation, on which measures
of single dimensions (DCI, MIG, SAP) depend.

In whitened coordinates (identity covariance) a block with the orthonormal basis U explains a fraction |U^T c|^2 of the
variance of a factor, where c (d,) are the factor's correlations with the coordinates. Let M_k be the mean of c c^T over
the factors of group k, and D = M_geometry - M_appearance. The R2 gap (own block minus other block, both groups weighted
equally) of two complementary blocks is (tr(U_g^T D U_g) - tr(U_a^T D U_a)) / 2. It is largest if U_g contains the
eigenvectors of D with positive eigenvalues, and U_a the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SMALLEST = 1e-10  # a direction with less variance, relative to the largest variance, counts as constant


def oracle_axes(latents: np.ndarray, factors: np.ndarray, kinds: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Whitened coordinates (n, d) of latents (n, d) along the oracle's axes, and the block of each axis (d,): 0
    appearance, 1 geometry.

    factors: (n, k). kinds: group of each factor, 0 appearance, 1 geometry. The axes are fitted to the same samples, so
    scores of few images are too good.
    """
    whitened, true = _whitened(latents.astype(np.float64)), _standardized(factors.astype(np.float64))
    correlations = whitened.T @ true / len(true)  # (d, k)
    appearance, geometry = (correlations[:, np.asarray(kinds) == group] for group in (0, 1))
    contrast = geometry @ geometry.T / geometry.shape[1] - appearance @ appearance.T / appearance.shape[1]
    values, directions = np.linalg.eigh(contrast)
    return whitened @ directions, (values > 0).astype(int)


def _whitened(values: np.ndarray) -> np.ndarray:
    """Coordinates with identity covariance; 0 along directions without variance."""
    centred = values - values.mean(0)
    variance, directions = np.linalg.eigh(centred.T @ centred / len(values))
    varies = variance > max(SMALLEST * variance[-1], 1e-20)
    return centred @ directions * np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1)), 0)


def _standardized(values: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and variance 1; 0 if constant."""
    spread = values.std(0)
    return (values - values.mean(0)) / np.where(spread > 1e-9, spread, np.inf)
