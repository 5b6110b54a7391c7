"""Do some latents tell the factors of geometry and nothing of appearance, and the others the reverse?

Measures with known factors, over two blocks of latent dimensions (appearance, geometry) and the same two groups of
factors. A model that has no blocks of its own is split: each dimension goes to the group of factors that it says more
about, by its share in a random forest's reading of each group. One split serves all measures; it need not be the best
for each.

  r2    linear regression from a block to a factor, cross-validated: near 1 for the own group, near 0 for the other
  dci   Eastwood and Williams 2018: importances of a random forest; how far a dimension serves one group alone
        (disentanglement), how far a factor is told by one block alone (completeness), how well at all (informativeness)
  mig   Chen et al. 2018: the gap in mutual information between the best dimension of the own block and that of the other
  sap   Kumar et al. 2018: the same gap in the share of variance that one dimension explains linearly

Gaps are counted with their sign: a factor that the wrong block tells better counts against the model.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Sequence

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
TOLD = 0.05


def compute(latents: np.ndarray, factors: np.ndarray, kinds: Sequence[int], blocks: Optional[Sequence[int]] = None,
            seed: int = 0) -> Dict[str, Any]:
    """All measures for latents (n, d) and factors (n, k).

    kinds: the group of each factor, blocks: the block of each dimension, as places in GROUPS; without blocks the
    forest's split is used.
    """
    latents, factors, kinds = latents.astype(np.float64), factors.astype(np.float64), np.asarray(kinds)
    importance, informed = forest_importance(latents, factors, seed)
    by_group = shares_by_group(importance * informed, kinds)
    if blocks is None:
        blocks = by_group.argmax(1)
    blocks = np.asarray(blocks)
    r2 = block_r2(latents, factors, blocks, seed)
    information, linear = mutual_information(latents, factors), single_r2(latents, factors)
    result = {
        "r2": {f"{GROUPS[group]}_from_z_{GROUPS[block]}": float(r2[block, kinds == group].mean()) for group in (0, 1) for block in (0, 1)},
        "r2_gap": balanced(own_minus_other(r2, kinds), kinds),
        "dci_disentanglement": disentanglement(by_group, np.array([informed[kinds == group].mean() for group in (0, 1)])),
        "dci_completeness": completeness(importance, informed, blocks, kinds),
        "dci_informativeness": balanced(informed, kinds),
        "mig": balanced(own_minus_other(best_of_block(information, blocks), kinds), kinds),
        "sap": balanced(own_minus_other(best_of_block(linear, blocks), kinds), kinds),
        "dimensions": {name: int((blocks == k).sum()) for k, name in enumerate(GROUPS)},
    }
    return result


def balanced(values: np.ndarray, kinds: np.ndarray) -> float:
    """The mean over the two groups of the mean over a group's factors: neither group counts more for having more."""
    return float(np.mean([values[kinds == group].mean() for group in (0, 1)]))


def own_minus_other(scores: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """(2, k) scores of the blocks for each factor -> (k,) the own block's minus the other's."""
    places = np.arange(len(kinds))
    return scores[kinds, places] - scores[1 - kinds, places]


def block_r2(latents: np.ndarray, factors: np.ndarray, blocks: np.ndarray, seed: int) -> np.ndarray:
    """(2, k): cross-validated R2 of ridge regressions from each block to each factor, 0 where worse than the mean."""
    scores = np.zeros((2, factors.shape[1]))
    for block in (0, 1):
        if (blocks == block).any():
            model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
            predicted = cross_val_predict(model, latents[:, blocks == block], factors, cv=KFold(FOLDS, shuffle=True, random_state=seed))
            scores[block] = explained(factors, predicted)
    return scores


def explained(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """R2 of each column, not below 0; 0 for a constant one."""
    variance = truth.var(0)
    return np.where(variance > 1e-12, np.clip(1 - np.square(truth - predicted).mean(0) / np.maximum(variance, 1e-12), 0, 1), 0.0)


def forest_importance(latents: np.ndarray, factors: np.ndarray, seed: int):
    """(d, k) shares of each dimension in what a random forest makes of a factor, and (k,) its R2 out of bag, at least 0."""
    importance, informed = np.zeros((latents.shape[1], factors.shape[1])), np.zeros(factors.shape[1])
    for k in range(factors.shape[1]):
        forest = RandomForestRegressor(TREES, min_samples_leaf=3, oob_score=True, random_state=seed)
        forest.fit(latents, factors[:, k])
        importance[:, k], informed[k] = forest.feature_importances_, max(forest.oob_score_, 0.0) if factors[:, k].std() > 1e-9 else 0.0
    return importance, informed


def shares_by_group(importance: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """(d, k) -> (d, 2): how much each dimension serves each group, each group's total being 1."""
    sums = np.stack([importance[:, kinds == group].sum(1) for group in (0, 1)], 1)
    return sums / np.maximum(sums.sum(0), 1e-12)


def disentanglement(by_group: np.ndarray, told: np.ndarray) -> float:
    """1 - entropy (in bits) of each dimension's two shares, averaged for each group with its shares as weights, then over
    the two groups. told: (2,) mean R2 of each group's factors: one that is not told at all (below TOLD) counts as 0, so that
    a model that knows of one group alone has separated nothing from nothing."""
    return float((_purity(by_group.T) @ by_group * (told >= TOLD)).mean())


def completeness(importance: np.ndarray, informed: np.ndarray, blocks: np.ndarray, kinds: np.ndarray) -> float:
    """1 - entropy of the two blocks' shares in each factor, times how well the factor is told at all."""
    shares = np.stack([importance[blocks == block].sum(0) for block in (0, 1)])
    return balanced(_purity(shares) * informed, kinds)


def _purity(pairs: np.ndarray) -> np.ndarray:
    """(2, m) -> (m,): 1 where one of the pair is 0, 0 where both are equal (or both 0)."""
    total = pairs.sum(0)
    p = np.where(total > 1e-12, pairs / np.maximum(total, 1e-12), 0.5)
    return 1 + (p * np.log2(np.maximum(p, 1e-12))).sum(0)


def best_of_block(scores: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """(d, k) -> (2, k): the best dimension of each block for each factor; 0 for an empty block."""
    return np.stack([scores[blocks == block].max(0, initial=0.0) for block in (0, 1)])


def mutual_information(latents: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """(d, k): mutual information of binned dimensions and factors, as a share of the factor's entropy."""
    z, f = _binned(latents), _binned(factors)
    entropy = np.array([mutual_info_score(column, column) for column in f.T])
    table = np.array([[mutual_info_score(a, b) for b in f.T] for a in z.T])
    return table / np.maximum(entropy, 1e-12)


def _binned(values: np.ndarray) -> np.ndarray:
    """Each column's place among BINS equal intervals of its range."""
    low, high = values.min(0), values.max(0)
    return np.minimum(((values - low) / np.maximum(high - low, 1e-12) * BINS).astype(int), BINS - 1)


def single_r2(latents: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """(d, k): share of a factor's variance that one dimension explains linearly."""
    z, f = ((values - values.mean(0)) / np.maximum(values.std(0), 1e-9) for values in (latents, factors))
    return np.square(z.T @ f / len(z))
