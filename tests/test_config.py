"""Recipes: what is read, what is refused, and how that is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from dgn import config as cfg
from dgn import recipe
from dgn.errors import UserError

ROOT = Path(__file__).parents[1]


def write(tmp_path, text) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def test_defaults_are_table_4_and_the_authors_constants():
    config = recipe.load()
    assert (config.model.z_app, config.model.z_geo, config.model.width, config.model.alpha) == (64, 64, 128, 0.625)
    assert config.model.max_displacement * config.data.size == 20
    assert (config.inference.step_size, config.inference.steps, config.inference.order) == (0.1, 20, "alternating")
    assert not (config.model.smooth_appearance or config.model.control_grid) and config.inference.smoothness == cfg.OFF
    assert config.inference.decorrelation == cfg.OFF


def test_a_recipe_changes_what_it_names_and_settings_come_last(tmp_path):
    path = write(tmp_path, "model: {alpha: 0.5}\ntraining: {epochs: 5, learning_rate: [[0, 1e-3], [3, 1e-4]]}\n")
    config = recipe.load(path, ["training.epochs=7", "data.grey=true"])
    assert (config.model.alpha, config.training.epochs, config.data.grey) == (0.5, 7, True)
    assert config.training.learning_rate == ((0, 1e-3), (3, 1e-4))
    assert [cfg.value_at(config.training.learning_rate, e) for e in (0, 2, 3, 99)] == [1e-3, 1e-3, 1e-4, 1e-4]


def test_what_is_saved_is_read_back_the_same(tmp_path):
    config = recipe.load(None, ["data.crop=[1, 2, 30, 40]", "inference.sigma=0.7", "data.path=some/where"])
    assert recipe.load(write(tmp_path, recipe.dump(config))) == config


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_every_recipe_of_the_project_is_valid_and_holds_only_differences(path):
    changed = recipe.to_dict(recipe.load(path))
    defaults = recipe.to_dict(cfg.Config())
    for section, values in yaml.safe_load(path.read_text()).items():
        for key in values:
            assert changed[section][key] != defaults[section][key], f"{section}.{key} is set to its default"


@pytest.mark.parametrize(
    "text, message",
    [
        ("training: {epoch: 5}", r"unknown key training.epoch; did you mean 'epochs'\?"),
        ("trainin: {epochs: 5}", r"unknown section 'trainin'; did you mean 'training'\?"),
        ("training: {epochs: many}", r"training.epochs is 'many'; it must be an integer"),
        ("training: {epochs: 2.5}", r"training.epochs is '2.5'; it must be an integer"),
        ("training: {epochs: 12:30}", r"training.epochs is '12:30'; it must be an integer"),
        ("training: {epochs: 1_0}", r"training.epochs is '1_0'; it must be an integer"),
        (
            "training:\n  epochs: 5\nmodel:\n  alpha: 1\ntraining:\n  epochs: 1000",
            r"line 5: duplicate key 'training' in a "
            r"config",
        ),
        ("training:\n  epochs: 5\n  epochs: 6", r"line 3: duplicate key 'epochs' in training"),
        ("data:\n  size: 64\n  grey: nein", r"recipe.yaml, line 3: data.grey is 'nein'"),
        ("training: {epochs: 0}", r"training.epochs is 0; it must be at least 1"),
        ("model: {alpha: 0}", r"model.alpha is 0.0; it must be above 0"),
        ("model: {alpha: true}", r"model.alpha is 'true'; it must be a number"),
        ("model: {warp: fast}", r"model.warp is 'fast'; it must be one of auto, reference"),
        ("model: {refine: 1}", r"model.refine is '1'; it must be true or false"),
        ("data: {size: 60}", r"data.size is 60; .*16, 32, 64"),
        ("data: {crop: [1, 2, 3]}", r"data.crop is \['1', '2', '3'\]; it must be a list of 4 integers"),
        ("data: {crop: [9, 0, 3, 8]}", r"left < right"),
        ("inference: {sigma: [[5, 1.0]]}", r"inference.sigma is .*\[\[0, value\]"),
        ("inference: {sigma: -1}", r"inference.sigma .* above 0"),
        ("inference: {sigma: 0}", r"inference.sigma .* above 0"),
        ("inference: {smoothness: -1}", r"inference.smoothness .* at least 0"),
        ("inference: {decorrelation: 1.1}", r"inference.decorrelation is \[\[0, 1.1\]\]; .* at most 1"),
        ("inference: {decorrelation: 0.5}\nmodel: {kind: plain}", r"inference.decorrelation needs model.kind"),
        ("evaluation: {step_factor: [[50, 1.0]]}", r"step_factor is .*\[\[0, value\], \[percent, value\]"),
        ("evaluation: {step_factor: [[0, 1.0], [100, 0.5]]}", r"begin at percents of the steps, from 0 to 99"),
        ("evaluation: {sigma_factor: [[0, 3.0], [100, 1.0]]}", r"sigma_factor .* begin at percents of the steps"),
        ("evaluation: {step_factor: 11}", r"step_factor is \[\[0, 11.0\]\]; .* above 0 and at most 10"),
        ("inference: 3", r"inference must hold keys and values"),
        ("epochs: {a: 2}", r"unknown section 'epochs'; known names: data, "),
        ("inference: {momentum: 0.5}", r"unknown key inference.momentum; did you mean evaluation.momentum\?"),
        ("training: {size: 5}", r"unknown key training.size; did you mean data.size\?"),
        ("1: {a: 2}", r"unknown section '1'"),
        ("- a\n- b", r"a config must hold keys and values"),
        ("a: b: c", r"is not valid YAML"),
        ("data: !!python/object/apply:os.system [ls]", r"data must hold keys and values"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        recipe.load(write(tmp_path, text))


def test_every_value_of_a_schedule_is_checked_however_its_type_is_written():
    """Types of fields are text in modules with `from __future__ import annotations` alone."""
    for kind in (cfg.Schedule, "Schedule"):
        section = dataclasses.make_dataclass("Section", [("sigma", kind, cfg.number(((0, 1.0),), above=0))])
        cfg._check_ranges("section", section(((0, 2.0), (5, 1.0))))
        with pytest.raises(UserError, match=r"sigma is \[\[0, 2.0\], \[5, 0.0\]\]; every value must be above 0"):
            cfg._check_ranges("section", section(((0, 2.0), (5, 0.0))))
    scheduled = [f.name for s in dataclasses.fields(cfg.Config) for f in dataclasses.fields(s.default)
                 if f.metadata.get("scheduled")]
    assert scheduled == ["sigma", "sigma_app", "smoothness", "decorrelation", "learning_rate", "step_factor",
                         "sigma_factor"]


@pytest.mark.parametrize("huge", [2 ** 31, 99999999999999999999, "9" * 5000])
def test_numbers_beyond_32_bits_are_refused_by_name(huge):
    for section in dataclasses.fields(cfg.Config):
        for field in dataclasses.fields(section.default):
            if isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
                with pytest.raises(UserError, match=f"{section.name}.{field.name} is .* must be"):
                    value = f"{huge}e30" if isinstance(field.default, float) else huge
                    recipe.load(None, [f"{section.name}.{field.name}={value}"])
    with pytest.raises(UserError, match="data.limit is .* must be"):
        recipe.load(None, [f"data.limit={huge}"])
    with pytest.raises(UserError, match="training.epochs is .* at most 2147483647"):
        cfg.changed(cfg.Config(), training={"epochs": 2 ** 31})


@pytest.mark.parametrize("text, message", [
    ("[" * 500, "nested too deeply|not valid YAML"),
    ("training:\n  learning_rate: &a [*a]", "aliases are not allowed; repeat the value, line 2"),
    ("training: {learning_rate: &a 0.1, epochs: *a}", "aliases are not allowed; repeat the value, line 1"),
    ("training: {reinit_appearance: [[[[[1]]]]]}", "line 1: a value must be")])
def test_lists_without_end_are_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        recipe.load(write(tmp_path, text))
    with pytest.raises(UserError, match="is not a YAML value"):
        recipe.load(None, ["training.learning_rate=" + "[" * 500])


def test_missing_file_and_malformed_settings(tmp_path):
    with pytest.raises(UserError, match=r"no config file .*nowhere.yaml"):
        recipe.load(tmp_path / "nowhere.yaml")
    for setting in ("epochs=3", "training.epochs", "training.epochs={"):
        with pytest.raises(UserError, match="--set"):
            recipe.load(None, [setting])


@pytest.mark.parametrize("field, grid", [("pixels", 8), ("spline", 0)])
def test_a_field_and_its_control_points_go_together(field, grid):
    with pytest.raises(UserError, match=f"model.field is {field} and model.control_grid {grid}"):
        cfg.changed(cfg.Config(), model={"field": field, "control_grid": grid})
    assert cfg.changed(cfg.Config(), model={"field": field, "control_grid": 8 - grid}).model.field == field


@pytest.mark.parametrize("settings, message", [
    ("model.control_grid=4", "it must be 0, or 8, 16, 32"),
    ("model.control_grid=24", "it must be 0, or 8, 16, 32"),
    ("model.control_grid=128", "up to data.size"),
    ("model.network=table5 model.control_grid=8", "multiples of 16"),
    ("model.network=table5 model.control_grid=80", "the grid 0, or up to data.size"),
    ("training.batch_size=8 training.shards=3", "must divide training.batch_size, 8"),
    ("training.batch_size=8 training.shards=4 training.micro_batches=4", "must divide .* / training.shards, 2"),
    ("inference.steps=10 inference.steps_per_graph=4", "must divide inference.steps, 10")])
def test_sizes_and_parts_that_do_not_fit(settings, message):
    with pytest.raises(UserError, match=message):
        recipe.load(None, settings.split())


@pytest.mark.parametrize("data", [{}, {"frames": 4, "format": "frames", "path": "clips"}])
def test_only_generated_clips_have_a_changing_light(data):
    with pytest.raises(UserError, match="data.changing_light is for generated clips"):
        cfg.changed(cfg.Config(), data={**data, "changing_light": True})


def test_the_last_values_of_schedules_are_those_of_the_last_epoch():
    """Epochs are counted from 0: of 5 epochs the last one is 4."""
    config = recipe.load(None, ["training.epochs=5", "inference.sigma=[[0, 1.0], [4, 0.5], [5, 0.1]]",
                                "inference.smoothness=[[0, 0.1], [4, 0.2], [5, 0.3]]"])
    assert (cfg.last_sigma(config), cfg.last_smoothness(config)) == (0.5, 0.2)


def test_values_are_read_by_the_type_of_their_field(tmp_path):
    """Text stands as it is, numbers are decimal: YAML 1.1 would read 010 as 8, and 2024-13-45 as a date."""
    settings = [
        "data.path=2024-13-45",
        "data.pattern=*-11.jpg",
        "training.epochs=010",
        "training.init_from=a #b: &x",
        "data.crop=[1, 2, 30, 40]",
        "inference.sigma=[[0, 1e-1], [3, .5]]",
    ]
    config = recipe.load(None, settings)
    assert (config.data.path, config.data.pattern, config.training.init_from) == ("2024-13-45", "*-11.jpg", "a #b: &x")
    assert (
        config.training.epochs == 10
        and config.inference.sigma == ((0, 0.1), (3, 0.5))
        and config.data.crop == (1, 2, 30, 40)
    )
    assert recipe.load(write(tmp_path, recipe.dump(config))) == config
    assert recipe.load(write(tmp_path, "data: {path: 2024}\ntraining: {epochs: 010}")).data.path == "2024"
    assert recipe.load(None, ["data.path=null"]).data.path is None
    with pytest.raises(UserError, match="--set data.path=: data.path is ''; it must be text, or null for none"):
        recipe.load(None, ["data.path="])


def test_keys_of_version_0_1_are_read_with_their_new_name(tmp_path, caplog):
    old = write(tmp_path, "training: {start: runs/a, start_with: all, parts: 2}\nmodel: {narrowest: 4}\n")
    config = recipe.load(old, ["training.frozen=geometry"])
    assert (config.training.init_from, config.training.micro_batches, config.model.min_channels) == ("runs/a", 2, 4)
    assert config.training.freeze == "geometry"
    assert "training.start is now called training.init_from" in caplog.text
    assert "--set training.frozen=geometry: training.frozen is now called training.freeze" in caplog.text


def test_overrides_take_python_values():
    config = recipe.with_overrides(
        cfg.Config(), {"training.epochs": 7, "inference.sigma": [[0, 1], [5, 0.5]], "data.crop": (0, 0, 8, 8)}
    )
    assert (config.training.epochs, config.inference.sigma, config.data.crop) == (7, ((0, 1.0), (5, 0.5)), (0, 0, 8, 8))
    for key, hint in (("epochs", "did you mean training.epochs"), ("training", "is a section")):
        with pytest.raises(UserError, match=f"override {key}: .*{hint}"):
            recipe.with_overrides(config, {key: {"epochs": 2}})
    with pytest.raises(UserError, match="override training.epoch: unknown key training.epoch; did you mean 'epochs'"):
        recipe.with_overrides(config, {"training.epoch": 7})


def test_options_that_others_do_not_support_are_switched_off_but_for_the_task_itself():
    config = cfg.changed(cfg.Config(), inference={"sigma_app": ((0, 2.0),)}, training={"freeze": "geometry"})
    plain = cfg.changed_as_supported(config, model={"kind": "plain"})
    assert (plain.inference.sigma_app, plain.training.freeze) == (cfg.NO_FACTOR, "none")
    mean = cfg.changed(cfg.Config(), training={"mean_displacement_weight": 0.5})
    # the critic is switched off first, so the weight stays
    kept = cfg.changed_as_supported(mean, model={"appearance": "label"}, training={"adversarial": "minimax"})
    assert (kept.training.adversarial, kept.training.mean_displacement_weight) == ("none", 0.5)
    clips = cfg.changed(cfg.Config(), data={"frames": 8})
    with pytest.raises(UserError, match="data.frames needs training.method abp; it is vae"):
        cfg.changed_as_supported(clips, training={"method": "vae"})
    labels = cfg.changed(cfg.Config(), model={"appearance": "label"})
    with pytest.raises(UserError, match="model.appearance needs model.kind deformable; it is plain"):
        cfg.changed_as_supported(labels, model={"kind": "plain"})


def test_a_resumed_run_may_change_some_settings_only():
    config = cfg.Config()
    cfg.check_resumable(config, cfg.changed(config, training={"epochs": 5}, model={"warp": "reference"}))
    with pytest.raises(UserError, match="model.z_app is 64 in this run and cannot become 9"):
        cfg.check_resumable(config, cfg.changed(config, model={"z_app": 9}))
    assert cfg.first_difference(config, cfg.changed(config, evaluation={"steps": 5}, data={"cache_mb": 1})) is None
    assert (
        cfg.first_difference(config, cfg.changed(config, inference={"steps": 5}))
        == "inference.steps is 20 there, 5 here"
    )


def test_overrides_may_be_numbers_of_numpy_and_paths(tmp_path):
    config = recipe.with_overrides(cfg.Config(), {
        "training.epochs": np.int64(2), "inference.step_size": np.float32(0.5), "data.path": tmp_path,
        "data.crop": np.array([1, 2, 3, 4])})
    assert (config.training.epochs, config.inference.step_size) == (2, 0.5)
    assert (config.data.path, config.data.crop) == (str(tmp_path), (1, 2, 3, 4))
    for overrides in (["training.epochs=2"], "training.epochs=2"):
        with pytest.raises(UserError, match="overrides are .*; they must be a dictionary"):
            recipe.with_overrides(cfg.Config(), overrides)
