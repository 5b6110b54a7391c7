"""What the experiments share: recipes, targets, fine-tuning, the files of a training, tables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from dgn import config as cfg
from dgn import recipe
from dgn.errors import UserError
from dgn.experiments import animals, common, landmarks, views
from dgn.experiments.adversarial import continued
from dgn.experiments.common import Target
from dgn.nets.build import make_model
from dgn.run_folder import HELD_OUT, TRAINED, RunFolder
from dgn.training.restore import training_files


def test_a_recipe_is_a_file_or_a_config(config, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(recipe.dump(config))
    for given in (path, str(path), config):
        assert common.deformable_recipe(given) == config
    relative = common.deformable_recipe(cfg.changed(config, data={"path": "photos"}))
    assert relative.data.path == str(Path("photos").resolve())


@pytest.mark.parametrize("changes, message", [
    ({"model": {"kind": "plain"}}, "must be one of the deformable model"),
    ({"model": {"appearance": "label"}}, "must be one of the deformable model"),
    ({"data": {"frames": 5}}, "the recipe is for clips"),
    ({"data": {"path": "photos"}}, "factors of these images are unknown"),
    ({"data": {"held_out": 0}}, "some faces must be held out"),
    ({"data": {"population": "neutral"}}, "it must be random, where every factor varies"),
])
def test_recipes_that_do_not_fit_are_refused(config, changes, message):
    with pytest.raises(UserError, match=message):
        common.generated_recipe(cfg.changed(config, **changes))


@pytest.mark.parametrize("path, target, message", [
    (None, Target(path="fei"), "--data and --target go together"),
    ("photos", Target(), "--data and --target go together"),
    (None, Target(pattern="*"), "give --target too"),
    (None, Target(crop=(0, 0, 9, 9)), "give --target too"),
])
def test_targets_that_do_not_fit_the_recipe_are_refused(config, path, target, message):
    with pytest.raises(UserError, match=message):
        common.transfer_recipe(cfg.changed(config, data={"path": path}), target)


def test_runs_that_continue_another_one_have_its_last_sigma_and_smoothness_for_all_groups(config, tmp_path):
    inference = {"sigma": ((0, 1.0), (5, 0.4)), "sigma_app": ((0, 3.0),), "smoothness": ((0, 0.1), (4, 0.02)),
                 "decorrelation": ((0, 0.5),)}
    first = cfg.changed(config, inference=inference, training={"epochs": 10})
    for later in (common.tuning_config(first, tmp_path, Target()), continued(first, tmp_path, 4, 1e-3)):
        assert (later.inference.sigma, later.inference.sigma_app) == (((0, 0.4),), cfg.NO_FACTOR)
        assert (later.inference.smoothness, later.inference.decorrelation) == (((0, 0.02),), cfg.OFF)


def test_the_compared_models_differ_in_kind_and_method(config):
    ours = cfg.changed(config, training={"reinit_appearance": (3,), "mean_displacement_weight": 0.5},
                       inference={"sigma_app": ((0, 2.0),), "preconditioner": "gauss_newton", "step_size": 0.7,
                                  "sigma": ((0, 0.5),), "decorrelation": ((0, 0.3),)},
                       evaluation={"step_factor": ((0, 1.3),), "momentum": 0.5})
    compared = {name: common.model_config(name, ours) for name in common.MODELS}
    assert {name: (c.model.kind, c.training.method) for name, c in compared.items()} == {
        "ours": ("deformable", "abp"), "ours, monotone field": ("deformable", "abp"), "ABP": ("plain", "abp"),
        "ABP, restarted chains": ("plain", "abp"), "VAE": ("plain", "vae"), "deformable VAE": ("deformable", "vae"),
        "Deforming AE": ("deformable", "autoencoder")}
    assert [c.model.field for c in compared.values()] == ["auto", "monotone", *4 * ["auto"], "monotone"]
    assert [c.training.reinit_appearance for c in compared.values()] == [(3,), (3,), *5 * [()]]
    assert [c.training.mean_displacement_weight for c in compared.values()] == [0.5, 0.5, *5 * [0]]
    assert [c.inference.sigma_app[0][1] for c in compared.values()] == [2, 2, *5 * [1]]
    assert [c.inference.decorrelation[0][1] for c in compared.values()] == [0.3, 0.3, *5 * [0]]
    assert [c.inference.restart_every for c in compared.values()][2:4] == [0, 20]
    assert [c.inference.preconditioner for c in compared.values()] == [*4 * ["gauss_newton"], *3 * ["none"]]
    critic = cfg.changed(config, training={"adversarial": "minimax"})
    assert [c.inference.step_size for c in compared.values()] == [*4 * [0.7], *3 * [0.05]]  # 0.1 times sigma
    assert [c.evaluation.step_factor[0][1] for c in compared.values()] == [*4 * [1.3], *3 * [1]]
    assert [c.evaluation.momentum for c in compared.values()] == [*4 * [0.5], *3 * [0]]
    assert {common.model_config(name, critic).training.adversarial for name in common.MODELS} == {"none"}
    assert common.folder_name("ABP, restarted chains") == "abp_restarted_chains"


def test_fine_tuning_freezes_the_geometry_and_uses_the_targets_images(config, tmp_path):
    training = {"epochs": 9, "reinit_appearance": (3,), "learning_rate": ((0, 0.01), (5, 0.001))}
    config = cfg.changed(config, training=training, inference={"sigma": ((0, 2.0), (4, 0.5))})
    tuned = common.tuning_config(config, tmp_path / "start", Target(count=7, epochs=10), population="frontal")
    data, training = tuned.data, tuned.training
    assert (data.limit, data.held_out, data.seed) == (7, 0, config.data.seed + 1)
    assert (data.path, data.population) == (None, "frontal")
    assert (training.init_from, training.freeze) == (str(tmp_path / "start"), "geometry")
    assert training.reinit_appearance == ()
    assert (training.epochs, training.checkpoint_every) == (10, 10)
    assert training.learning_rate == ((0, 0.01), (7, 0.003)) and tuned.inference.sigma == ((0, 0.5),)
    plain = common.tuning_config(common.model_config("VAE", config), tmp_path / "start", Target())
    assert plain.training.freeze == "none"
    digits = cfg.changed(config, data={"format": "mnist", "split": "test", "path": "mnist", "crop": (1, 1, 5, 5)})
    folder = Target(path="fei", pattern="*-11.jpg", crop=(5, 2, 23, 20))
    data = common.tuning_config(digits, tmp_path / "start", folder, held_out=3).data
    assert (data.path, data.pattern, data.crop) == (str(Path("fei").resolve()), "*-11.jpg", (5, 2, 23, 20))
    assert (data.format, data.split, data.held_out) == ("images", "all", 3)


def test_the_files_of_a_training_and_of_those_before_it(config, images, tmp_path):
    first = cfg.changed(config, data={"path": str(images), "limit": None, "held_out": 4})
    files = training_files(first)
    assert files == {str((images / f"{k:03d}.png").resolve()) for k in range(6)}
    start = RunFolder.create(tmp_path / "run", first).path
    later = cfg.changed(first, data={"pattern": "*[89].png", "held_out": 0},
                        training={"init_from": str(start)})
    assert training_files(later) == files | {str((images / f"{k:03d}.png").resolve()) for k in (8, 9)}
    assert training_files(config) == set()  # generated
    # a run records which files it held out, whatever is in the folder now
    (start / HELD_OUT).write_text(json.dumps(["000.png", "003.png"]))
    held_out = {str((images / f"{k:03d}.png").resolve()) for k in (0, 3)}
    assert training_files(first, start) == {str((images / f"{k:03d}.png").resolve()) for k in range(10)} - held_out
    assert not training_files(later) & held_out
    (start / TRAINED).write_text(json.dumps(["001.png", "gone.png"]))  # also of files that are gone
    assert training_files(first, start) == {str((images / name).resolve()) for name in ("001.png", "gone.png")}
    for gone in ({"data": {"path": str(tmp_path / "gone")}}, {"training": {"init_from": str(tmp_path / "gone")}}):
        assert training_files(cfg.changed(config, **gone)) is None


@pytest.mark.parametrize("experiment", [views.views, landmarks.landmarks, animals.animals])
def test_runs_of_other_models_are_refused(run, experiment):
    for model in ({"kind": "plain"}, {"appearance": "label"}):
        other = dataclasses.replace(run, model=make_model(cfg.changed(run.config, model=model)))
        with pytest.raises(UserError, match="does not infer both Z.a and Z.g; give a run of the deformable model"):
            experiment(other)
    clips = SimpleNamespace(path=run.folder.path, config=cfg.changed(run.config, data={"frames": 5}))
    with pytest.raises(UserError, match="is a run on clips"):
        experiment(dataclasses.replace(run, folder=clips))


def test_a_table_is_aligned():
    assert common.table("model", ["MSRE", "R2"], {"ours": ["1.25", "0.9"], "ABP": ["10.00", "-"]}) == (
        "model   MSRE   R2\n"
        "ours    1.25  0.9\n"
        "ABP    10.00    -")


def test_output_folders(run, tmp_path):
    assert common.output_folder(str(tmp_path / "a" / "b")).is_dir()
    assert common.output_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"  # again
    with pytest.raises(UserError, match="holds a single run"):
        common.output_folder(run.folder.path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot create the output folder"):
        common.output_folder(tmp_path / "file" / "out")
