"""The measures with known factors on representations that are perfect, mixed, and empty."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation import correspondence, disentanglement, view_covariance

KINDS = [0, 0, 0, 1, 1]
BLOCKS = [0, 0, 0, 1, 1]
SCORES = ("r2_gap", "dci_disentanglement", "dci_completeness", "dci_informativeness", "mig", "sap")


@pytest.fixture
def factors(rng):
    return rng.uniform(-1, 1, (600, 5))


def test_a_perfect_representation_scores_near_one(factors):
    found = disentanglement.compute(factors, factors, KINDS, BLOCKS)
    assert all(found[score] > 0.85 for score in SCORES), found
    assert found["r2"]["geometry_from_z_geometry"] > 0.99 and found["r2"]["geometry_from_z_appearance"] < 0.05


def test_a_model_without_blocks_gets_the_best_split(factors):
    shuffled = [3, 0, 4, 1, 2]
    found = disentanglement.compute(factors[:, shuffled], factors, KINDS)
    assert all(found[score] > 0.85 for score in SCORES), found
    assert found["dimensions"] == {"appearance": 3, "geometry": 2}


def test_a_mixed_representation_scores_low_although_it_tells_everything(rng):
    factors, kinds, blocks = rng.uniform(-1, 1, (600, 4)), [0, 0, 1, 1], [0, 0, 1, 1]
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2  # every dimension is a bit of every factor
    perfect = disentanglement.compute(factors, factors, kinds, blocks)
    for given in (blocks, None):
        found = disentanglement.compute(factors @ signs, factors, kinds, given)
        assert found["dci_informativeness"] > 0.7
        for score in ("r2_gap", "dci_disentanglement", "dci_completeness", "mig", "sap"):
            assert found[score] < 0.2 * perfect[score], (score, found)


def test_exchanged_blocks_count_against_the_model(factors):
    found = disentanglement.compute(factors, factors, KINDS, [1 - block for block in BLOCKS])
    assert found["r2_gap"] < -0.9 and found["mig"] < -0.8 and found["sap"] < -0.9


@pytest.mark.parametrize("blocks", [BLOCKS, None])
def test_a_constant_and_noise_score_near_zero(factors, rng, blocks):
    for latents in (np.zeros((600, 5)), rng.standard_normal((600, 5))):
        found = disentanglement.compute(latents, factors, KINDS, blocks)
        assert all(abs(found[score]) < 0.1 for score in SCORES), found


def test_a_model_that_knows_nothing_of_geometry_has_separated_half_at_most(factors, rng):
    latents = np.concatenate([factors[:, :3], rng.standard_normal((600, 2))], 1)
    found = disentanglement.compute(latents, factors, KINDS, BLOCKS)
    assert all(found[score] < 0.6 for score in SCORES), found


def test_constant_factors_are_told_by_nobody(factors):
    still = factors.copy()
    still[:, 4] = 0.3
    found = disentanglement.compute(factors, still, KINDS, BLOCKS)
    assert np.isfinite(list(found["r2"].values())).all() and found["r2"]["geometry_from_z_geometry"] == pytest.approx(0.5, abs=0.01)


def moving_faces(shifts, size=24):
    """A plane of material points seen shifted by known amounts, and the displacement that undoes each shift."""
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    material = np.stack([np.stack([(x - dx) / size, (y - dy) / size, 0 * x], -1) for dx, dy in shifts])
    mask = ((material[..., :2] > 0.2) & (material[..., :2] < 0.8)).all(-1)
    undo = np.stack([np.stack([np.full(x.shape, -dx), np.full(x.shape, -dy)]) for dx, dy in shifts]).astype(np.float32)
    return undo, material, mask


def test_the_true_displacement_has_no_end_point_error_in_any_canonical_frame():
    undo, material, mask = moving_faces([(0, 0), (3, 1), (-2, 2.5)])
    found = correspondence.compute(undo, material, mask)
    assert found["endpoint_error"] < 0.05 and found["endpoint_ratio"] < 0.02
    # the canonical frame half as large and elsewhere: pixel p shows the point (p - shift) / 2 + 5
    y, x = np.mgrid[:24, :24]
    pixels = np.stack([x, y]).astype(np.float32)
    other = (pixels + undo) / 2 + 5 - pixels
    assert correspondence.compute(other, material, mask)["endpoint_error"] < 0.05


def test_no_displacement_is_as_wrong_as_the_motion_is_large():
    undo, material, mask = moving_faces([(0, 0), (4, 0)])
    found = correspondence.compute(np.zeros_like(undo), material, mask)
    assert found["endpoint_error"] == pytest.approx(4, abs=0.1) and found["endpoint_ratio"] == pytest.approx(1, abs=0.02)
    assert correspondence.compute(-undo, material, mask)["endpoint_error"] == pytest.approx(8, abs=1.5)


def test_covariance_with_view_follows_eq_21(rng):
    views = (-30, -15, 0, 15, 30)
    z_geo, z_app = 0.1 * rng.standard_normal((5, 400, 3)), 0.1 * rng.standard_normal((5, 400, 4))
    z_geo[:, :, 2] += 0.02 * np.array(views)[:, None]
    found = view_covariance.compute({"z_app": z_app, "z_geo": z_geo}, views)
    geometry = found["groups"]["z_geo"]
    norm = np.linalg.norm(views)
    assert geometry["dimension"] == 2 and geometry["largest"] == pytest.approx(0.02 * norm, rel=0.03)
    assert geometry["r"][0] == pytest.approx(abs(np.array(views) @ z_geo[:, :, 0].mean(1)) / norm)
    assert found["ratio"] > 20 and found["groups"]["z_app"]["largest"] < 2 * found["groups"]["z_app"]["noise"]


def test_a_mean_is_no_covariance_with_views_that_lie_on_one_side(rng):
    found = view_covariance.compute({"z_geo": 1 + 0.1 * rng.standard_normal((3, 400, 3))}, (0, 15, 30))["groups"]["z_geo"]
    assert found["largest"] < 2 * found["noise"]
