"""Recipes: what is read, what is refused, and how that is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgn import config as cfg
from dgn.errors import UserError

ROOT = Path(__file__).parents[1]


def write(tmp_path, text) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_defaults_are_table_4_and_the_authors_constants():
    config = cfg.load()
    assert (config.model.z_app, config.model.z_geo, config.model.width, config.model.alpha) == (64, 64, 128, 0.625)
    assert config.model.max_displacement * config.data.size == 20
    assert (config.inference.step_size, config.inference.steps, config.inference.order) == (0.1, 20, "alternating")
    assert not (config.model.smooth_appearance or config.model.control_grid) and config.inference.smoothness == 0


def test_a_recipe_changes_what_it_names_and_settings_come_last(tmp_path):
    path = write(tmp_path, "model: {alpha: 0.5}\ntraining: {epochs: 5, learning_rate: [[0, 1e-3], [3, 1e-4]]}\n")
    config = cfg.load(path, ["training.epochs=7", "data.grey=true"])
    assert (config.model.alpha, config.training.epochs, config.data.grey) == (0.5, 7, True)
    assert config.training.learning_rate == ((0, 1e-3), (3, 1e-4))
    assert [cfg.at_epoch(config.training.learning_rate, e) for e in (0, 2, 3, 99)] == [1e-3, 1e-3, 1e-4, 1e-4]


def test_what_is_saved_is_read_back_the_same(tmp_path):
    config = cfg.load(None, ["data.crop=[1, 2, 30, 40]", "inference.sigma=0.7", "data.path=some/where"])
    assert cfg.load(write(tmp_path, cfg.dump(config))) == config


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_every_recipe_of_the_project_is_valid_and_holds_only_differences(path):
    changed = cfg.to_dict(cfg.load(path))
    defaults = cfg.to_dict(cfg.Config())
    for section, values in cfg._read_yaml(path).items():
        for key in values:
            assert changed[section][key] != defaults[section][key], f"{section}.{key} says what is the default"


@pytest.mark.parametrize("text, message", [
    ("training: {epoch: 5}", r"unknown key training.epoch; did you mean 'epochs'\?"),
    ("trainin: {epochs: 5}", r"unknown section 'trainin'; did you mean 'training'\?"),
    ("training: {epochs: many}", r"training.epochs is 'many'; it must be a whole number"),
    ("training: {epochs: 2.5}", r"training.epochs is 2.5; it must be a whole number"),
    ("training: {epochs: 0}", r"training.epochs is 0; it must be at least 1"),
    ("model: {alpha: 0}", r"model.alpha is 0.0; it must be above 0"),
    ("model: {alpha: true}", r"model.alpha is True; it must be a number"),
    ("model: {warp: fast}", r"model.warp is 'fast'; it must be one of auto, reference"),
    ("model: {refine: 1}", r"model.refine is 1; it must be true or false"),
    ("data: {size: 60}", r"data.size is 60; .*16, 32, 64"),
    ("data: {crop: [1, 2, 3]}", r"data.crop is \[1, 2, 3\]; it must be a list of 4 whole numbers"),
    ("data: {crop: [9, 0, 3, 8]}", r"left < right"),
    ("inference: {sigma: [[5, 1.0]]}", r"inference.sigma is .*\[\[0, value\]"),
    ("inference: {sigma: -1}", r"inference.sigma .* above 0"),
    ("inference: 3", r"inference must hold keys and values"),
    ("1: {a: 2}", r"unknown section 1"),
    ("- a\n- b", r"a config holds sections"),
    ("a: b: c", r"is not valid YAML"),
    ("data: !!python/object/apply:os.system [ls]", r"is not valid YAML"),
])
def test_a_mistake_is_named_with_what_would_be_right(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        cfg.load(write(tmp_path, text))


def test_missing_file_and_malformed_settings(tmp_path):
    with pytest.raises(UserError, match=r"no config file .*nowhere.yaml"):
        cfg.load(tmp_path / "nowhere.yaml")
    for setting in ("epochs=3", "training.epochs", "training.epochs={"):
        with pytest.raises(UserError, match="--set"):
            cfg.load(None, [setting])
