"""Oracle axes on latents that mix the factors linearly, on noise, and against other splits."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation.disentanglement import disentanglement_scores
from dgn.evaluation.oracle import oracle_axes

KINDS = np.array([0, 0, 0, 1, 1])


@pytest.fixture
def factors(rng):
    return rng.uniform(-1, 1, (600, 5))


def rotation(rng, size: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((size, size)))[0]


def test_a_mixture_of_the_factors_is_undone(factors):
    """Every dimension is a sum of all factors: their split scores low, the oracle's as high as that of the factors."""
    factors, kinds = factors[:, 1:], KINDS[1:]
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    latents = factors @ signs * (1, 2, 3, 4) + 5
    by_dimension = disentanglement_scores(latents, factors, kinds)
    rotated, blocks = oracle_axes(latents, factors, kinds)
    by_oracle = disentanglement_scores(rotated, factors, kinds, blocks)
    assert by_dimension["r2_gap"] < 0.2 and by_oracle["r2_gap"] > 0.95
    assert by_oracle["r2"]["geometry_from_z_appearance"] < 0.05 and by_oracle["r2"]["geometry_from_z_geometry"] > 0.95
    assert by_oracle["dimensions"] == {"appearance": 2, "geometry": 2}


def r2_gap(blocks, factors) -> float:
    """Own minus other block's share of explained variance by least squares, balanced over the groups."""
    def explained(x, y):
        x = np.concatenate([x, np.ones((len(x), 1))], 1)
        return 1 - np.square(y - x @ np.linalg.lstsq(x, y, rcond=None)[0]).mean(0) / y.var(0)

    groups = [factors[:, np.equal(KINDS, k)] for k in (0, 1)]
    gaps = [explained(blocks[k], groups[k]) - explained(blocks[1 - k], groups[k]) for k in (0, 1)]
    return float(np.mean([gap.mean() for gap in gaps]))


def test_no_other_split_has_a_larger_gap(factors, rng):
    """On latents that share directions between the groups, with dependent dimensions."""
    latents = factors @ rng.standard_normal((5, 6)) + 0.5 * rng.standard_normal((600, 6))
    rotated, blocks = oracle_axes(latents, factors, KINDS)
    np.testing.assert_allclose(np.cov(rotated.T, bias=True), np.eye(6), atol=1e-8)
    best = r2_gap([rotated[:, np.equal(blocks, k)] for k in (0, 1)], factors)
    for _ in range(200):
        other, size = rotated @ rotation(rng, 6), rng.integers(1, 6)
        assert r2_gap([other[:, :size], other[:, size:]], factors) < best
    useful = np.abs(np.corrcoef(rotated.T, factors.T)[:6, 6:]).max(1) > 1e-6
    assert useful.sum() == 5  # five factors: one of six axes is correlated with none of them
    for k in range(6):  # an axis in the other block
        moved = np.array([1 - block if axis == k else block for axis, block in enumerate(blocks)])
        gap = r2_gap([rotated[:, moved == block] for block in (0, 1)], factors)
        assert gap < best - 1e-6 if useful[k] else gap == pytest.approx(best, abs=1e-12)


def test_noise_and_constants_have_no_gap(factors, rng):
    for latents in (rng.standard_normal((600, 4)), np.zeros((600, 4))):
        rotated, blocks = oracle_axes(latents, factors, KINDS)
        assert abs(disentanglement_scores(rotated, factors, KINDS, blocks)["r2_gap"]) < 0.05
