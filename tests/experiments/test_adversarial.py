"""The likelihood alone and with a critic: three runs, and the measures of their images."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from dgn import config as cfg
from dgn.data.faces import FaceSource
from dgn.data.open import open_sources
from dgn.errors import UserError
from dgn.evaluation.sample_quality import frechet_distance
from dgn.experiments import adversarial
from dgn.run_folder import RunFolder
from tests.experiments.conftest import COUNT
from tests.training.tiny import write_images

pytestmark = pytest.mark.slow

SAMPLES = 2 * COUNT


@pytest.fixture(scope="module")
def critic_recipe(config):
    # without R1, whose second derivative takes long to compile
    return cfg.changed(config, training={"adversarial": "nonsaturating", "critic_width": 2, "r1_weight": 0.0})


@pytest.fixture(scope="module")
def compared(critic_recipe, fast_measures, tmp_path_factory):
    """The output folder and the result, without the runs' own pictures."""
    output = tmp_path_factory.mktemp("adversarial") / "out"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("draw", lambda run: None), ("SAMPLES", SAMPLES), ("SHOWN", COUNT), ("STEPS", 2)):
            patch.setattr(adversarial, name, value)
        return output, adversarial.adversarial(critic_recipe, output, more_epochs=2, learning_rate=0.01, faces=COUNT)


def test_two_runs_continue_from_one(compared):
    output, result = compared
    written = json.loads((output / "metrics.json").read_text())
    assert written == {key: result[key] for key in ("models", "versions", "provenance")}
    assert [p.name for p in result["pictures"] if p.is_file()] == ["reconstruction.png", "recombination.png"]
    start, likelihood, critic = (RunFolder.open(output / name) for name in ("start", "likelihood", "with_critic"))
    methods = [folder.config.training.adversarial for folder in (start, likelihood, critic)]
    assert methods == ["none", "none", "nonsaturating"]
    for folder in (likelihood, critic):
        training = folder.config.training
        assert (training.init_from, training.epochs, training.adam_beta1) == (str(output / "start"), 2, 0.5)
        assert training.learning_rate == ((0, 0.01), (1, pytest.approx(0.003)))
    assert "critic" in critic.read_metrics_log()[-1] and "critic" not in likelihood.read_metrics_log()[-1]


def test_the_table_compares_both(compared):
    _, result = compared
    rows = {line[:39].strip(): line[39:].split() for line in adversarial.summary(result).splitlines()[1:]}
    models = result["models"]
    assert list(models) == ["likelihood", "with critic"]
    assert rows["sharpness of samples"] == [f"{own['sharpness_samples']:.2f}" for own in models.values()]
    assert rows["MIG"] == [f"{own['disentanglement']['mig']:.3f}" for own in models.values()]
    real = {name: {key: own[key] for key in own if key != "disentanglement"} for name, own in models.items()}
    assert "MIG" not in adversarial.summary({"models": real})


def test_measures_compare_samples_with_real_images(run, tmp_path, monkeypatch):
    monkeypatch.setattr(adversarial, "SAMPLES", SAMPLES)
    measured = adversarial.picture_measures(run)
    samples = run.sample(SAMPLES, run.config.training.seed, "prior").image
    faces = FaceSource(SAMPLES, 16, run.config.data.seed + 100).read(np.arange(SAMPLES))

    def sharpness(x):
        return np.square(np.diff(x, axis=2)).mean() + np.square(np.diff(x, axis=3)).mean()

    def variety(x):
        return np.sqrt(x.var(0, ddof=1).sum())

    assert measured["sharpness_samples"] == pytest.approx(sharpness(samples) / sharpness(faces), rel=1e-4)
    assert measured["variety_samples"] == pytest.approx(variety(samples) / variety(faces), rel=1e-4)
    assert measured["frechet_samples"] == pytest.approx(frechet_distance(samples, faces), rel=1e-4)
    assert measured["frechet_of_halves"] == pytest.approx(frechet_distance(faces[::2], faces[1::2]), rel=1e-4)
    # of a folder the real images are those of the training
    images = write_images(tmp_path / "images", COUNT + 6)
    config = cfg.changed(run.config, data={"path": str(images), "limit": 6})  # held out: COUNT, as in the run
    folder = RunFolder.create(tmp_path / "real", config)
    real = open_sources(config.data).train.read(np.arange(6))
    other = dataclasses.replace(run, folder=folder, open_sources=lambda: open_sources(config.data))
    measured = adversarial.picture_measures(other)
    samples = run.sample(6, config.training.seed, "prior").image
    assert measured["sharpness_samples"] == pytest.approx(sharpness(samples) / sharpness(real), rel=1e-4)
    assert measured["sharpness_reconstruction"] > 0 and measured["frechet_reconstruction"] > 0


def test_the_critics_settings_do_not_change_the_run_without_it(critic_recipe):
    plain = adversarial.without_critic(critic_recipe)
    other = cfg.changed(critic_recipe, training={"adversarial": "minimax", "r1_weight": 3.0, "r1_interval": 2,
                                                 "critic_width": 4})
    assert cfg.first_difference(plain, adversarial.without_critic(other)) is None


@pytest.mark.parametrize("changes, faces, message", [
    ({"training": {"adversarial": "none"}}, COUNT, "needs a recipe with a critic"),
    ({"evaluation": {"images": 1}}, COUNT, "at least two images must be held out"),
    ({"data": {"held_out": 1}}, COUNT, "at least two images must be held out"),
    ({}, 4, "--faces is 4"),
])
def test_mistakes_show_before_the_trainings(critic_recipe, tmp_path, changes, faces, message):
    with pytest.raises(UserError, match=message):
        adversarial.adversarial(cfg.changed(critic_recipe, **changes), tmp_path / "out", faces=faces)
    assert not (tmp_path / "out").exists()
