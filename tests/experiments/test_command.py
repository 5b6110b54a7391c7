"""`dgn experiment NAME`: arguments to the library's functions, and what is printed."""

from __future__ import annotations

import argparse
import importlib
import inspect
from pathlib import Path

import pytest

from dgn import recipe
from dgn.__main__ import main
from dgn.cli.experiment import EXPERIMENTS, add_arguments
from dgn.errors import Interrupted
from dgn.experiments import balance
from dgn.experiments.common import Target

RUN = "the run"  # what load gives
TRAINING = ("baselines", "transfer", "expressions", "adversarial", "balance")


def experiment(*words) -> int:
    return main(["experiment", *map(str, words), "--device", "CPU"])


@pytest.fixture
def calls(monkeypatch):
    """The arguments with which each experiment was called, by name; none of them computes anything."""
    recorded = {}

    def stand_in(name):
        def function(*args, **kwargs):
            recorded[name] = (args, kwargs)
            return {"pictures": [Path("a.png"), Path("b.png")]}
        return function

    for name in ("views", "landmarks", "animals", "labels", *TRAINING):
        monkeypatch.setattr(f"dgn.experiments.{name}.{name}", stand_in(name))
        monkeypatch.setattr(f"dgn.experiments.{name}.summary", lambda result: "the table")
    monkeypatch.setattr("dgn.packaged.find", lambda path: path)
    monkeypatch.setattr("dgn.run.load", lambda path, device, data=None: (RUN, path, device))
    return recorded


@pytest.mark.parametrize("words, expected", [
    (["views"], {"data": None, "crop": None, "people": 100, "steps": None}),
    (["views", "--data", "fei", "--crop", "5,2,23,20", "--faces", "9", "--steps", "7"],
     {"data": "fei", "crop": (5, 2, 23, 20), "people": 9, "steps": 7}),
    (["landmarks"], {"data": None, "crop": None, "count": None, "steps": None, "chains": 1, "epochs": 200,
                       "folds": 1}),
    (["landmarks", "--data", "mtfl", "--crop", "1,2,3,4", "--faces", "9", "--steps", "7", "--chains", "2",
      "--epochs", "3"],
     {"data": "mtfl", "crop": (1, 2, 3, 4), "count": 9, "steps": 7, "chains": 2, "epochs": 3, "folds": 1}),
    (["animals"], {"images": None, "labels": None, "eyes": None, "gamma": None}),
    (["animals", "--data", "cats", "--labels", "eyes.csv", "--eyes", "0.3,0.4", "--gamma", "2.5"],
     {"images": "cats", "labels": "eyes.csv", "eyes": (0.3, 0.4), "gamma": 2.5}),
    (["labels"], {"images": 300, "steps": 100}),
    (["labels", "--images", "9", "--steps", "7"], {"images": 9, "steps": 7}),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_experiments_on_a_run(calls, capsys, words, expected):
    assert experiment(words[0], "runs/x", *words[1:]) == 0
    assert calls == {words[0]: (((RUN, "runs/x", "CPU"),), expected)}
    assert capsys.readouterr().out == "the table\na.png\nb.png\n"


@pytest.mark.parametrize("words, expected", [
    (["baselines"], {"faces": 1000}),
    (["baselines", "--faces", "30"], {"faces": 30}),
    (["adversarial"], {"more_epochs": 60, "learning_rate": 1e-3, "faces": 500}),
    (["adversarial", "--more-epochs", "2", "--rate", "0.01", "--faces", "30"],
     {"more_epochs": 2, "learning_rate": 0.01, "faces": 30}),
    (["transfer"], {"target": Target(None, None, None, 1000, 30, 100), "runs": 3, "people": 100}),
    (["transfer", "--target", "fei", "--frontal", "*-11.jpg", "--target-crop", "5,2,23,20", "--tune-faces", "4",
      "--tune-epochs", "1", "--held-out", "2", "--runs", "2", "--unseen", "3"],
     {"target": Target("fei", "*-11.jpg", (5, 2, 23, 20), 4, 1, 2), "runs": 2, "people": 3}),
    (["expressions"], {"target": Target(None, None, None, 300, 100, 0)}),
    (["expressions", "--target", "fei", "--tune-faces", "4", "--tune-epochs", "1"],
     {"target": Target("fei", None, None, 4, 1, 0)}),
    (["balance"], {"sweeps": balance.SWEEPS, "shown": 5}),
    (["balance", "--sweep", "start", "--sweep", "alpha", "--shown", "2"],
     {"sweeps": {name: balance.SWEEPS[name] for name in ("alpha", "start")}, "shown": 2}),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_experiments_that_train(calls, config, tmp_path, capsys, words, expected):
    path = tmp_path / "tiny.yaml"
    path.write_text(recipe.dump(config))
    assert experiment(*words, "--config", path, "--output", tmp_path / "out") == 0
    assert calls == {words[0]: ((config, str(tmp_path / "out")), expected)}
    assert capsys.readouterr().out == "the table\na.png\nb.png\n"


@pytest.mark.parametrize("name", ["transfer", "expressions", "adversarial"])
def test_data_and_settings_change_the_recipe(calls, config, tmp_path, name):
    path = tmp_path / "tiny.yaml"
    path.write_text(recipe.dump(config))
    assert experiment(name, "--config", path, "--data", "photos", "--set", "training.epochs=7") == 0
    (found, output), _ = calls[name]
    assert (found.data.path, found.training.epochs, output) == ("photos", 7, f"runs/{name}")


def test_an_interrupted_training_ends_with_130(calls, config, tmp_path, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise Interrupted(Path("out/ours/checkpoints/epoch_00003"))

    path = tmp_path / "tiny.yaml"
    path.write_text(recipe.dump(config))
    monkeypatch.setattr("dgn.experiments.baselines.baselines", interrupted)
    assert experiment("baselines", "--config", path) == 130
    printed = capsys.readouterr().out
    assert printed.startswith("stopped and saved out/ours/checkpoints/epoch_00003; the same command resumes")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_defaults_are_those_of_the_function(name):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args([name, *(["--config", "x"] if EXPERIMENTS[name].trains else ["runs/x"])])
    given = EXPERIMENTS[name].convert({keyword: getattr(args, keyword) for keyword in args.keywords})
    parameters = inspect.signature(getattr(importlib.import_module(f"dgn.experiments.{name}"), name)).parameters
    assert given == {key: each.default for key, each in parameters.items() if each.kind is each.KEYWORD_ONLY}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["experiment", name, "--help"])
    assert stopped.value.code == 0 and f"dgn experiment {name}" in capsys.readouterr().out
