"""The sweeps of 5.7: which configs are trained, and what is compared."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dgn.evaluation.evaluate import evaluate
from dgn.experiments import balance

pytestmark = pytest.mark.slow


def evaluation(msre: float, pose: float, colour: float) -> dict:
    """An evaluation whose pose factors follow the geometry donor by `pose`, and so on; the other donor's are 0.1."""
    def donors(appearance: float, geometry: float) -> dict:
        return {"appearance_donor": appearance, "geometry_donor": geometry}

    exchange = {**{name: donors(0.1, pose) for name in balance.POSE},
                **{name: donors(colour, 0.1) for name in balance.COLOUR}}
    return {"train": {"msre": msre}, "unseen": {"msre": 2 * msre}, "exchange": exchange,
            "appearance": {"nyquist_ratio": 1.5},
            "geometry": {"displacement_rms": 0.5, "stretch_rms": 0.25, "folded": 0.0}}


@pytest.fixture
def trained(run, monkeypatch):
    """The trained configs by folder; each gives the shared run, and an evaluation that depends on its model section."""
    configs = {}

    def ensure_trained(path, config):
        configs[path.name] = config
        return run

    def evaluate_last(run):
        model = list(configs.values())[-1].model
        return evaluation(model.alpha, 0.1 + model.geometry_init / 2, 0.7)

    monkeypatch.setattr(balance, "ensure_trained", ensure_trained)
    monkeypatch.setattr(balance, "evaluate", evaluate_last)
    return configs


def test_each_value_is_trained_and_measured(config, trained, tmp_path):
    sweeps = {"alpha": balance.SWEEPS["alpha"][:2], "start": balance.SWEEPS["start"][:1]}
    result = balance.balance(config, tmp_path, sweeps=sweeps, shown=2)
    assert {name: (c.model.alpha, c.model.geometry_init) for name, c in trained.items()} == {
        "alpha_0.15": (0.15, 1.0), "alpha_0.3": (0.3, 1.0), "start_0.1": (0.625, 0.1)}
    pictures = result.pop("pictures")
    assert json.loads((tmp_path / "metrics.json").read_text()) == result
    assert [p.name for p in pictures if p.is_file()] == ["balance.png", "balance_faces.png"]
    assert result["alpha"]["0.15"] == pytest.approx({
        "msre": 0.15, "unseen_msre": 0.3, "pose_in_geometry": 0.5, "colour_in_appearance": 0.6, "nyquist_ratio": 1.5,
        "displacement_rms": 0.5, "stretch_rms": 0.25, "folded": 0.0})
    assert result["start"]["0.1"]["pose_in_geometry"] == pytest.approx(0.05)
    alpha, start = balance.summary(result).split("\n\n")
    assert alpha.splitlines()[2].split() == ["0.3", "0.30", "0.60", "0.50", "0.60", "1.50", "0.50", "0.25", "0.00"]
    assert start.startswith("start")


def test_a_sweep_changes_one_value_and_contains_the_papers():
    values = {sweep: {key for _, model in models for key in model} for sweep, models in balance.SWEEPS.items()}
    assert values == {"alpha": {"scaling", "alpha"}, "beta": {"scaling", "beta"}, "start": {"scaling", "geometry_init"}}
    for models in balance.SWEEPS.values():
        assert len({model["scaling"] for _, model in models}) == 1
        assert len({str(sorted(model.items())) for _, model in models}) == len(models)
    assert all(model["scaling"] == "he" for _, model in balance.SWEEPS["beta"])  # beta has no effect without
    assert 0.625 in [model["alpha"] for _, model in balance.SWEEPS["alpha"]]  # section 5.7
    assert 0.3 in [model["beta"] for _, model in balance.SWEEPS["beta"]]


def test_the_learning_rate_follows_the_deviation_of_the_initial_weights(config):
    rates = np.array(config.training.learning_rate)
    for scaling, factor in (("none", 1), ("he", 10)):
        found = np.array(balance.variant(config, {"scaling": scaling}).training.learning_rate)
        np.testing.assert_allclose(found, rates * [1, factor])


def test_a_runs_own_evaluation_has_what_is_compared(run, fast_measures):
    measured = evaluate(run)
    shares = balance.share_measures(measured)
    pose = [measured["exchange"][name]["geometry_donor"] - measured["exchange"][name]["appearance_donor"]
            for name in ("yaw", "pitch", "roll")]
    assert shares["pose_in_geometry"] == pytest.approx(sum(pose) / 3) and set(shares) == set(balance.COLUMNS)
    assert np.isfinite(list(shares.values())).all()
