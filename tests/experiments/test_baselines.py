"""The models of the table, trained once by one recipe."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from dgn import config as cfg
from dgn.data.face_factors import APPEARANCE, GEOMETRY
from dgn.data.open import generated_faces
from dgn.errors import UserError
from dgn.evaluation.disentanglement import block_r2
from dgn.evaluation.oracle import oracle_axes
from dgn.experiments import baselines
from dgn.experiments.common import MODELS, OTHER_PEOPLE, folder_name
from dgn.run import open_run
from tests.experiments.conftest import COUNT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compared(config, fast_measures, tmp_path_factory):
    """The output folder and the result."""
    output = tmp_path_factory.mktemp("baselines") / "out"
    return output, baselines.baselines(config, output, faces=COUNT)


def test_the_models_are_measured_by_the_same_code(compared):
    output, result = compared
    models = result["models"]
    written = json.loads((output / "metrics.json").read_text())
    assert written == {key: result[key] for key in ("models", "faces", "versions", "provenance")}
    assert list(models) == list(MODELS) and result["pictures"][0].is_file()
    # reconstruction of the training images, from the chains in the run folder
    for name in ("ours", "VAE"):
        run = open_run(output / folder_name(name))
        images, everyone = run.sources.train.read(np.arange(COUNT)), np.arange(COUNT)
        errors = np.square(images - run.decode(*run.bank.read(everyone)).image).sum((1, 2, 3))
        assert models[name]["train"]["msre"] == pytest.approx(errors.mean(), rel=1e-5)
    # only an encoder is an alternative to Langevin dynamics
    encoders = ["VAE", "deformable VAE", "Deforming AE"]
    assert [name for name, own in models.items() if "unseen_by_langevin" in own] == encoders
    for name in encoders:
        assert models[name]["unseen_by_langevin"]["msre"] != models[name]["unseen"]["msre"]
    # without a displacement the end-point error is the true motion
    for name in ("ABP", "VAE"):
        own = models[name]["correspondence"]
        assert own["endpoint_ratio"] == pytest.approx(1, abs=0.02)
        assert own["without_displacement"] == models["ours"]["correspondence"]["without_displacement"]
        # a plain model is as large, and each of its dimensions belongs to one block
        assert models[name]["parameters"] == pytest.approx(models["ours"]["parameters"], rel=0.05)
        assert sum(models[name]["disentanglement"]["dimensions"].values()) == 7
    # the oracle's gap is that of the latents after noiseless steps
    run = open_run(output / folder_name("VAE"))
    source = generated_faces(run.config.data, COUNT, run.config.data.seed + OTHER_PEOPLE)
    factors = source.factor_table(source.indices(), (*APPEARANCE, *GEOMETRY))
    kinds = np.repeat([0, 1], [len(APPEARANCE), len(GEOMETRY)])
    latents = np.concatenate(run.infer(source.read(source.indices()), descent_steps=baselines.DESCENT_STEPS), 1)
    axes, blocks = oracle_axes(latents, factors, kinds)
    r2 = block_r2(axes, factors, blocks, run.config.training.seed)
    gaps = [(r2[g] - r2[1 - g])[kinds == g].mean() for g in (0, 1)]
    assert models["VAE"]["oracle_r2_gap"] == pytest.approx(np.mean(gaps), abs=1e-3)
    assert models["ours"]["disentanglement"]["dimensions"] == {"appearance": 4, "geometry": 3}


def test_the_table_has_a_column_for_each_model(compared):
    _, result = compared
    header, *lines = baselines.summary(result).splitlines()
    assert re.split(r"\s{2,}", header.strip()) == [
        "ours", "ours, monotone field", "ABP", "ABP, restarted chains", "VAE", "deformable VAE", "Deforming AE"]
    rows = {line[:30].strip(): line[30:].split() for line in lines}
    models = list(result["models"].values())
    assert rows["MSRE, unseen"] == [f"{own['unseen']['msre']:.1f}" for own in models]
    assert rows["by Langevin dynamics"] == [f"{own.get('unseen_by_langevin', own['unseen'])['msre']:.1f}"
                                            for own in models]
    assert rows["DCI disentanglement"] == [f"{own['disentanglement']['dci_disentanglement']:.3f}" for own in models]
    assert rows["R2 gap, oracle axes"] == [f"{own['oracle_r2_gap']:.3f}" for own in models]
    r2 = [own["disentanglement"]["r2"] for own in models]
    pairs = [f"{own['geometry_from_z_geometry']:.2f} / {own['geometry_from_z_appearance']:.2f}" for own in r2]
    assert " ".join(rows["geometry from Z^g / Z^a (R2)"]) == " ".join(pairs)


def test_complete_runs_are_not_trained_again(compared, config, capsys, monkeypatch):
    output, result = compared
    names = {folder_name(name): name for name in MODELS}
    monkeypatch.setattr(baselines, "measure", lambda run, faces: result["models"][names[run.folder.path.name]])
    capsys.readouterr()
    other_gamma = cfg.changed(config, evaluation={"gamma": 2})  # no setting of the training
    again = baselines.baselines(other_gamma, output, faces=COUNT)
    assert "epoch:" not in capsys.readouterr().out and again["models"] == result["models"]
    with pytest.raises(UserError, match=r"holds a run with other settings \(training.epochs is 1 there, 3 here\)"):
        baselines.baselines(cfg.changed(config, training={"epochs": 3}), output, faces=COUNT)


def test_too_few_faces_are_refused_before_the_training(config, tmp_path):
    with pytest.raises(UserError, match="--faces is 19; .* at least 20"):
        baselines.baselines(config, tmp_path / "out", faces=19)
    assert not (tmp_path / "out").exists()
