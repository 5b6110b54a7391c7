"""The measures with known factors on representations that are perfect, mixed or uninformative."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation import disentanglement
from dgn.evaluation.correspondence import endpoint_errors
from dgn.evaluation.disentanglement import block_r2, disentanglement_scores
from dgn.evaluation.view_covariance import view_covariance

KINDS = [0, 0, 0, 1, 1]
BLOCKS = [0, 0, 0, 1, 1]
SCORES = ("r2_gap", "dci_disentanglement", "dci_completeness", "dci_informativeness", "mig", "sap")


@pytest.fixture(scope="module")
def forests():
    """Random forests of this module by their data: tests share them."""
    fit, fitted = disentanglement.forest_importance, {}

    def importance(latents, factors, seed):
        key = latents.tobytes(), factors.tobytes(), seed
        if key not in fitted:
            fitted[key] = fit(latents, factors, seed)
        return fitted[key]
    return importance


@pytest.fixture(autouse=True)
def shared_forests(forests, monkeypatch):
    monkeypatch.setattr(disentanglement, "forest_importance", forests)


@pytest.fixture
def factors(rng):
    return rng.uniform(-1, 1, (600, 5))


def test_a_perfect_representation_scores_near_one(factors):
    scores = disentanglement_scores(factors, factors, KINDS, BLOCKS)
    assert all(scores[score] > 0.85 for score in SCORES), scores
    assert scores["r2"]["geometry_from_z_geometry"] > 0.99 and scores["r2"]["geometry_from_z_appearance"] < 0.05


def test_a_model_without_blocks_gets_the_best_split(factors):
    shuffled = [3, 0, 4, 1, 2]
    scores = disentanglement_scores(factors[:, shuffled], factors, KINDS)
    assert all(scores[score] > 0.85 for score in SCORES), scores
    assert scores["dimensions"] == {"appearance": 3, "geometry": 2}


def test_a_mixed_representation_scores_low_although_it_is_informative(rng):
    factors, kinds, blocks = rng.uniform(-1, 1, (600, 4)), [0, 0, 1, 1], [0, 0, 1, 1]
    # every dimension is a mixture of all factors
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    perfect = disentanglement_scores(factors, factors, kinds, blocks)
    for given in (blocks, None):
        scores = disentanglement_scores(factors @ signs, factors, kinds, given)
        assert scores["dci_informativeness"] > 0.7
        for score in ("r2_gap", "dci_disentanglement", "dci_completeness", "mig", "sap"):
            assert scores[score] < 0.2 * perfect[score], (score, scores)


def test_r2_does_not_depend_on_the_units_of_a_factor(factors, rng):
    """Yaw in degrees beside colours in [0, 1]: a block without yaw still predicts the colours."""
    latents, blocks = factors + 0.3 * rng.standard_normal(factors.shape), np.array(BLOCKS)
    r2 = block_r2(latents, factors, blocks, 0)
    scaled = block_r2(latents, factors * (0.1, 1, 1, 1000, 1), blocks, 0)
    np.testing.assert_allclose(scaled, r2, atol=1e-3)
    assert r2[0, :3].min() > 0.7 and r2[1, 3:].min() > 0.7


def test_exchanged_blocks_count_against_the_model(factors):
    scores = disentanglement_scores(factors, factors, KINDS, [1 - block for block in BLOCKS])
    assert scores["r2_gap"] < -0.9 and scores["mig"] < -0.8 and scores["sap"] < -0.9


@pytest.mark.parametrize("blocks", [BLOCKS, None])
def test_a_constant_and_noise_score_near_zero(factors, rng, blocks):
    for latents in (np.zeros((600, 5)), rng.standard_normal((600, 5))):
        scores = disentanglement_scores(latents, factors, KINDS, blocks)
        assert all(abs(scores[score]) < 0.1 for score in SCORES), scores


def test_a_model_without_information_on_geometry_scores_low(factors, rng):
    latents = np.concatenate([factors[:, :3], rng.standard_normal((600, 2))], 1)
    scores = disentanglement_scores(latents, factors, KINDS, BLOCKS)
    assert all(scores[score] < 0.6 for score in SCORES), scores


def test_dimensions_are_not_judged_by_a_factor_that_no_latent_predicts(factors, rng):
    """Whose importances are those of a forest that fits noise, spread over all dimensions."""
    latents = np.concatenate([factors[:, :4], rng.standard_normal((600, 1))], 1)
    assert disentanglement_scores(latents, factors, KINDS, BLOCKS)["dci_disentanglement"] > 0.9


def test_constant_factors_are_not_predicted(factors):
    still = factors.copy()
    still[:, 4] = 0.3
    scores = disentanglement_scores(factors, still, KINDS, BLOCKS)
    assert np.isfinite(list(scores["r2"].values())).all()
    assert scores["r2"]["geometry_from_z_geometry"] == pytest.approx(0.5, abs=0.01)


def moving_faces(shifts, size=24):
    """A plane of material points, shifted by known amounts, and the displacement that undoes each shift."""
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    material = np.stack([np.stack([(x - dx) / size, (y - dy) / size, 0 * x], -1) for dx, dy in shifts])
    mask = ((material[..., :2] > 0.2) & (material[..., :2] < 0.8)).all(-1)
    undo = np.stack([np.stack([np.full(x.shape, -dx), np.full(x.shape, -dy)]) for dx, dy in shifts]).astype(np.float32)
    return undo, material, mask


def test_the_true_displacement_has_no_end_point_error_in_any_canonical_frame():
    undo, material, mask = moving_faces([(0, 0), (3, 1), (-2, 2.5)])
    errors = endpoint_errors(undo, material, mask)
    assert errors["endpoint_error"] < 0.05 and errors["endpoint_ratio"] < 0.02
    # the canonical frame half as large and elsewhere: pixel p shows the point (p - shift) / 2 + 5
    y, x = np.mgrid[:24, :24]
    pixels = np.stack([x, y]).astype(np.float32)
    other = (pixels + undo) / 2 + 5 - pixels
    assert endpoint_errors(other, material, mask)["endpoint_error"] < 0.05


def test_without_displacement_the_error_is_the_size_of_the_motion():
    undo, material, mask = moving_faces([(0, 0), (4, 0)])
    errors = endpoint_errors(np.zeros_like(undo), material, mask)
    assert errors["endpoint_error"] == pytest.approx(4, abs=0.1)
    assert errors["endpoint_ratio"] == pytest.approx(1, abs=0.02)
    assert endpoint_errors(-undo, material, mask)["endpoint_error"] == pytest.approx(8, abs=1.5)
    still = endpoint_errors(*moving_faces([(0, 0), (0, 0)]))
    assert still["without_displacement"] == pytest.approx(0, abs=1e-9) and still["endpoint_ratio"] is None


@pytest.mark.parametrize("tolerance, columns", [(1.5, 5), (3.5, 6)])
def test_points_that_are_hidden_in_the_other_image_are_not_counted(tolerance, columns):
    """The same plane twice, of which the second image shows columns 4 to 11 alone: every second column from 4 to 18 is
    looked for there, and 12 and 14 are 1 and 3 pixels from the last one."""
    y, x = np.mgrid[:24, :24]
    material = np.stack([np.stack([x, y, 0 * x], -1) * 2 / 24] * 2)
    mask = np.stack([(x >= 4) & (x < end) for end in (20, 12)])
    errors = endpoint_errors(np.zeros((2, 2, 24, 24), np.float32), material, mask, tolerance)
    assert errors["counted"] == pytest.approx((columns / 8 + 1) / 2)


def test_covariance_with_view_follows_eq_21(rng):
    views = (-30, -15, 0, 15, 30)
    z_geo, z_app = 0.1 * rng.standard_normal((5, 400, 3)), 0.1 * rng.standard_normal((5, 400, 4))
    z_geo[:, :, 2] += 0.02 * np.array(views)[:, None]
    result = view_covariance({"z_app": z_app, "z_geo": z_geo}, views)
    geometry = result["groups"]["z_geo"]
    norm = np.linalg.norm(views)
    assert geometry["dimension"] == 2 and geometry["largest"] == pytest.approx(0.02 * norm, rel=0.03)
    assert geometry["r"][0] == pytest.approx(abs(np.array(views) @ z_geo[:, :, 0].mean(1)) / norm)
    assert 0 < result["ratio_stderr"] < 0.5 * result["ratio"]
    noise = 0.1 / np.sqrt(400) * np.sqrt(2 * np.log([3, 4]))  # of 400 people, the largest of 3 and of 4 dimensions
    assert [result["groups"][name]["noise"] for name in ("z_geo", "z_app")] == pytest.approx(list(noise), rel=0.1)
    assert result["ratio"] > 20 and result["groups"]["z_app"]["largest"] < 2 * result["groups"]["z_app"]["noise"]


def test_a_constant_mean_does_not_covary_with_views_on_one_side(rng):
    result = view_covariance({"z_geo": 1 + 0.1 * rng.standard_normal((3, 400, 3))}, (0, 15, 30))["groups"]["z_geo"]
    assert result["largest"] < 2 * result["noise"]
