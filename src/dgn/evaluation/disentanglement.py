"""Disentanglement of appearance and geometry, measured against known factors.

All measures compare two blocks of latent dimensions (appearance, geometry) with two groups of factors of the same
names. For a model without blocks, each dimension is assigned to the group of factors for which a random forest uses it
more. All measures use this split, which need not be the best one for each of them.

  r2    cross-validated linear regression from a block to a factor: ideally near 1 for the own block, near 0 for the
        other
  dci   after Eastwood and Williams 2018, with importances of a random forest: whether a dimension is used for one group
        only (disentanglement), whether a factor is predicted from one block only (completeness), and how well it is
        predicted (informativeness)
  mig   after the mutual information gap of Chen et al. 2018: gap between the best dimensions of the own and the other
        block
  sap   after the separated attribute predictability of Kumar et al. 2018: the same gap for the variance that one
        dimension explains linearly

The last three are variants for two blocks: the originals measure whether each single factor has its own dimension, so
values cannot be compared with published ones. Gaps are signed: a factor that the wrong block predicts better lowers the
score. All scores are invariant to the scale of factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mutual_info_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

GROUPS = ("appearance", "geometry")
FOLDS = 5
BINS = 20
TREES = 50
INFORMATIVE = 0.05  # with a lower mean R2 of a group's factors, the latents count as uninformative about the group


def disentanglement_scores(latents: np.ndarray, factors: np.ndarray, kinds: Sequence[int],
                           blocks: Sequence[int] | None = None, seed: int = 0) -> dict[str, Any]:
    """All measures of this module.

    latents: (n, d); factors: (n, k).
    kinds: (k,), the group of each factor: 0 appearance, 1 geometry.
    blocks: (d,), the block of each dimension: 0 appearance, 1 geometry; None: the split by a random forest.
    seed: random seed of the forests and the folds.
    Returns a dictionary:
        r2: mean R2 by "{group}_from_z_{block}".
        r2_gap, mig, sap: gaps between own and other block, at most 1, averaged over factors, then over the two groups.
        dci_disentanglement, dci_completeness, dci_informativeness: from 0 to 1.
        dimensions: number of dimensions of each block.
    """
    latents, factors, group_of = latents.astype(np.float64), factors.astype(np.float64), np.asarray(kinds)
    importance, informativeness = forest_importance(latents, factors, seed)
    by_group = shares_by_group(importance * informativeness, group_of)
    block_of = by_group.argmax(1) if blocks is None else np.asarray(blocks)
    r2 = block_r2(latents, factors, block_of, seed)
    information = best_of_block(mutual_information(latents, factors), block_of)
    linear = best_of_block(single_r2(latents, factors), block_of)
    group_informativeness = np.array([informativeness[group_of == group].mean() for group in (0, 1)])
    return {
        "r2": {f"{GROUPS[group]}_from_z_{GROUPS[block]}": float(r2[block, group_of == group].mean())
               for group in (0, 1) for block in (0, 1)},
        "r2_gap": r2_gap(r2, group_of),
        "dci_disentanglement": disentanglement(by_group, group_informativeness),
        "dci_completeness": completeness(importance, informativeness, block_of, group_of),
        "dci_informativeness": balanced(informativeness, group_of),
        "mig": balanced(own_minus_other(information, group_of), group_of),
        "sap": balanced(own_minus_other(linear, group_of), group_of),
        "dimensions": {name: int((block_of == k).sum()) for k, name in enumerate(GROUPS)},
    }


def r2_gap(r2: np.ndarray, kinds: np.ndarray) -> float:
    """R2 of the own block minus R2 of the other block (see block_r2), averaged over factors, then over both groups."""
    return balanced(own_minus_other(r2, kinds), kinds)


def balanced(values: np.ndarray, kinds: np.ndarray) -> float:
    """Mean over the two groups of the mean over each group's factors: both groups have the same weight."""
    return float(np.mean([values[kinds == group].mean() for group in (0, 1)]))


def own_minus_other(scores: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """(2, k) scores of the blocks for each factor -> (k,), the own block's score minus the other's."""
    columns = np.arange(len(kinds))
    return scores[kinds, columns] - scores[1 - kinds, columns]


def block_r2(latents: np.ndarray, factors: np.ndarray, blocks: np.ndarray, seed: int) -> np.ndarray:
    """(2, k): cross-validated R2 of ridge regressions from each block to each factor; 0 if worse than the mean.

    Each factor has its own penalty; the factor with the largest variance would determine a common one.
    """
    scores = np.zeros((2, factors.shape[1]))
    for block in (0, 1):
        if (blocks == block).any():
            model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13), alpha_per_target=True))
            folds = KFold(FOLDS, shuffle=True, random_state=seed)
            predicted = cross_val_predict(model, latents[:, blocks == block], factors, cv=folds)
            scores[block] = explained(factors, predicted)
    return scores


def explained(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """R2 of each column, at least 0; 0 for a constant column."""
    variance = truth.var(0)
    r2 = np.clip(1 - np.square(truth - predicted).mean(0) / np.maximum(variance, 1e-12), 0, 1)
    return np.where(variance > 1e-12, r2, 0.0)


def forest_importance(latents: np.ndarray, factors: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Importance of each dimension in random forests that predict each factor, (d, k), and the out-of-bag R2 of the
    forests, (k,), at least 0."""
    importance, informativeness = np.zeros((latents.shape[1], factors.shape[1])), np.zeros(factors.shape[1])
    for k in range(factors.shape[1]):
        forest = RandomForestRegressor(TREES, min_samples_leaf=3, oob_score=True, random_state=seed)
        forest.fit(latents, factors[:, k])
        importance[:, k] = forest.feature_importances_
        informativeness[k] = max(forest.oob_score_, 0.0) if factors[:, k].std() > 1e-9 else 0.0
    return importance, informativeness


def shares_by_group(importance: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """(d, k) -> (d, 2): fraction of each dimension in a group's total importance; fractions sum to 1 in each group."""
    sums = np.stack([importance[:, kinds == group].sum(1) for group in (0, 1)], 1)
    return sums / np.maximum(sums.sum(0), 1e-12)


def disentanglement(by_group: np.ndarray, informativeness: np.ndarray) -> float:
    """1 - entropy (in bits) of each dimension's two fractions, averaged for each group with its fractions as weights,
    then over the two groups.

    by_group: (d, 2), see shares_by_group. informativeness: (2,), mean R2 of each group's factors. A group below
    INFORMATIVE scores 0, because a model that represents only one group has not separated it from the other.
    """
    return float((_purity(by_group.T) @ by_group * (informativeness >= INFORMATIVE)).mean())


def completeness(importance: np.ndarray, informativeness: np.ndarray, blocks: np.ndarray, kinds: np.ndarray) -> float:
    """1 - entropy of the two blocks' fractions of each factor's importance, times the factor's informativeness (R2)."""
    shares = np.stack([importance[blocks == block].sum(0) for block in (0, 1)])
    return balanced(_purity(shares) * informativeness, kinds)


def _purity(pairs: np.ndarray) -> np.ndarray:
    """(2, m) -> (m,): 1 - entropy of each pair in bits: 1 if one value is 0, 0 if both are equal (or both 0)."""
    total = pairs.sum(0)
    p = np.where(total > 1e-12, pairs / np.maximum(total, 1e-12), 0.5)
    return 1 + (p * np.log2(np.maximum(p, 1e-12))).sum(0)


def best_of_block(scores: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """(d, k) -> (2, k): the best dimension of each block for each factor; 0 for an empty block."""
    return np.stack([scores[blocks == block].max(0, initial=0.0) for block in (0, 1)])


def mutual_information(latents: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """(d, k): mutual information of binned dimensions and factors, divided by the factor's entropy."""
    z, f = _binned(latents), _binned(factors)
    entropy = np.array([mutual_info_score(column, column) for column in f.T])
    table = np.array([[mutual_info_score(a, b) for b in f.T] for a in z.T])
    return table / np.maximum(entropy, 1e-12)


def _binned(values: np.ndarray) -> np.ndarray:
    """The index of each value among BINS equal intervals of its column's range."""
    low, high = values.min(0), values.max(0)
    return np.minimum(((values - low) / np.maximum(high - low, 1e-12) * BINS).astype(int), BINS - 1)


def single_r2(latents: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """(d, k): fraction of a factor's variance that one dimension explains linearly (R2)."""
    z, f = ((values - values.mean(0)) / np.maximum(values.std(0), 1e-9) for values in (latents, factors))
    return np.square(z.T @ f / len(z))
