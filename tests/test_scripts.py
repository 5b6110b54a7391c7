"""The launchers, run as their user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.tiny import SETTINGS, write_images

ROOT = Path(__file__).parents[1]


def run(script: str, *args, cwd: Path, **environment) -> subprocess.CompletedProcess:
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(["bash", str(ROOT / "scripts" / script), *map(str, args)], cwd=cwd, text=True, capture_output=True,
                          env={**inherited, "DGN_PYTHON": sys.executable, **environment}, timeout=200)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """A small recipe, and the folder from which the launchers are started."""
    folder = tmp_path_factory.mktemp("user")
    sections: dict = {}
    for setting in [*SETTINGS, "training.epochs=2"]:
        key, value = setting.split("=")
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = json.loads(value)
    (folder / "small.yaml").write_text(json.dumps(sections))
    write_images(folder / "images")
    return folder


def test_train_then_evaluate(recipe):
    trained = run("run_train.sh", "CPU", "small.yaml", "images", cwd=recipe)
    assert trained.returncode == 0, trained.stderr
    assert "epoch: 2 step: 2, loss is" in trained.stdout and "recombination.png" in trained.stdout
    assert (recipe / "runs" / "small" / "metrics.json").is_file()
    assert "epoch: 2" in (recipe / "runs" / "small" / "train.log").read_text()

    again = run("run_train.sh", "CPU", "small.yaml", "images", cwd=recipe)
    assert again.returncode == 2 and "already holds a run" in again.stderr
    longer = run("run_train.sh", "CPU", "small.yaml", "images", cwd=recipe, DGN_OPTIONS="--resume --train-only --set training.epochs=3")
    assert longer.returncode == 0 and "going on from" in longer.stdout and "epoch: 3" in longer.stdout

    measured = run("run_eval.sh", "runs/small", "CPU", cwd=recipe)
    assert measured.returncode == 0 and "result: {" in measured.stdout and "ckpt=runs/small/checkpoints/epoch_00003" in measured.stdout
    written = run("run_export.sh", "runs/small", "exported", cwd=recipe, DGN_OPTIONS="--batch 2")
    assert written.returncode == 0 and (recipe / "exported" / "inference.mindir").is_file(), written.stderr
    other = run("run_eval.sh", "runs/small", "CPU", "images", cwd=recipe)
    assert other.returncode == 0 and '"unseen": {' in other.stdout


def test_two_processes_train_and_one_that_fails_is_heard(recipe, tmp_path):
    done = run("run_distribute_train.sh", "CPU", 2, "small.yaml", "images", f"{tmp_path / 'out'}/", cwd=recipe)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 processes" in done.stdout and "epoch: 2 step: 2, loss is" in done.stdout
    assert (tmp_path / "out" / "metrics.json").is_file()
    failed = run("run_distribute_train.sh", "CPU", 2, "small.yaml", "images", tmp_path / "bad", cwd=recipe,
                 DGN_OPTIONS="--set inference.step_size=9 --set inference.sigma=0.001")
    assert failed.returncode == 1 and "Langevin step" in failed.stderr and "the logs of all are in" in failed.stderr
    assert run("run_distribute_train.sh", "CPU", 2, "missing.yaml", "", tmp_path / "none", cwd=recipe).returncode == 2
    assert run("run_distribute_train.sh", "CPU", "two", cwd=recipe).returncode == 2


def test_two_processes_save_when_they_are_interrupted(recipe, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    line = ["bash", str(ROOT / "scripts" / "run_distribute_train.sh"), "CPU", "2", "small.yaml", "images", str(tmp_path / "out")]
    running = subprocess.Popen(line, cwd=recipe, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env={**environment, "DGN_PYTHON": sys.executable, "DGN_OPTIONS": "--train-only --set training.epochs=100000"})
    lines = iter(running.stdout.readline, "")
    assert any("epoch: 3 step" in line for line in lines)
    running.send_signal(signal.SIGTERM)
    said = "".join(lines)
    assert running.wait(timeout=100) == 130 and "stopped and saved" in said and "--resume" in said
    assert list((tmp_path / "out" / "checkpoints").glob("epoch_*"))


def test_the_exit_code_is_the_programs(recipe, tmp_path):
    assert run("run_train.sh", "CPU", "missing.yaml", cwd=recipe).returncode == 2
    assert run("run_eval.sh", "nowhere", cwd=recipe).returncode == 2
    failed = run("run_train.sh", "CPU", "small.yaml", "images", tmp_path / "out", cwd=recipe,
                 DGN_OPTIONS="--set inference.step_size=9 --set inference.sigma=0.001")
    assert failed.returncode == 1 and "Langevin step" in failed.stderr and "Traceback" not in failed.stderr


@pytest.mark.parametrize("script, usage", [("run_train.sh", "[DEVICE_TARGET] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]"),
                                           ("run_distribute_train.sh", "[DEVICE_TARGET] [DEVICE_NUM] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]"),
                                           ("run_export.sh", "RUN_DIR [OUT]"),
                                           ("run_infer_310.sh", "MINDIR_PATH DATA_PATH [DEVICE_TYPE] [DEVICE_ID] [OUTPUT_PATH]"),
                                           ("run_eval.sh", "RUN_DIR")])
def test_usage(script, usage, tmp_path):
    asked = run(script, "--help", cwd=tmp_path)
    assert asked.returncode == 0 and usage in asked.stdout
    wrong = run(script, *"abcdef", cwd=tmp_path)
    assert wrong.returncode == 2 and usage in wrong.stdout


def test_experiment(recipe):
    assert run("run_experiment.sh", "--help", cwd=recipe).returncode == 0
    assert run("run_experiment.sh", cwd=recipe).returncode == 2
    wrong = run("run_experiment.sh", "landmark", "runs/small", cwd=recipe)
    assert wrong.returncode == 2 and "landmarks" in wrong.stderr
    run("run_train.sh", "CPU", "small.yaml", "", "runs/faces", cwd=recipe, DGN_OPTIONS="--train-only --set data.limit=8")
    shown = run("run_experiment.sh", "views", "runs/faces", "--faces", 2, "--device", "CPU", cwd=recipe)
    assert shown.returncode == 0 and "largest R" in shown.stdout, shown.stderr


def fake_python(folder: Path, **versions: str) -> Path:
    """A Python whose installed packages have the given versions."""
    site = folder / "site"
    for name, version in versions.items():
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
    python = folder / "python3"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    return python


FITTING = {"mindspore": "2.10.1", "numpy": "1.26.4", "opencv_python": "4.9.0.80", "PyYAML": "6.0.1", "tqdm": "4.66.0",
           "matplotlib": "3.8.0", "pillow": "10.0.0", "scikit_learn": "1.4.0", "onnxruntime": "1.18.0",
           "pytest": "8.0.0", "pytest_xdist": "3.5.0"}


@pytest.mark.parametrize("changed, fits", [({}, True), ({"mindspore": "2.7.0"}, False), ({"mindspore": "2.11.0"}, False),
                                           ({"numpy": "2.1.0"}, False), ({"numpy": "1.24.4"}, False), ({"opencv_python": "4.13.0"}, False)])
def test_only_a_python_with_fitting_versions_is_used(changed, fits, tmp_path):
    python = fake_python(tmp_path, **{**FITTING, **changed})
    judged = subprocess.run(["bash", "-c", f'set -e; . "{ROOT}/scripts/common.sh"; fits "$1"', "-", str(python)])
    assert (judged.returncode == 0) == fits


def test_a_python_that_was_asked_for_and_does_not_fit_is_named(tmp_path):
    python = fake_python(tmp_path, **{**FITTING, "numpy": "2.1.0"})
    for asked, said in ((str(python), "has not what requirements.txt asks for"), ("no-such-python", "no such program")):
        refused = run("run_eval.sh", "x", cwd=tmp_path, DGN_PYTHON=asked)
        assert refused.returncode == 2 and said in refused.stderr


def test_a_wrong_version_is_said_at_start(monkeypatch, capsys):
    from importlib import metadata

    from dgn.__main__ import main
    real = metadata.version
    for name, version, said in (("mindspore", "2.6.0", "2.6.0 is installed"), ("numpy", "2.1.0", "NumPy 2.1.0")):
        monkeypatch.setattr(metadata, "version", lambda asked, n=name, v=version: v if asked == n else real(asked))
        assert main(["bench"]) == 2
        error = capsys.readouterr().err
        assert said in error and "requirements.txt" in error
