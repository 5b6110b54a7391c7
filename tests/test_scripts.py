"""Runs of the launchers in scripts/, in a project and a working folder whose paths have special characters."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests.launchers import ODD, copy_project, environment, run
from tests.training.tiny import SETTINGS, write_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_project(tmp_path_factory.mktemp("projects"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    """The user's working folder, with a small recipe and images."""
    folder = tmp_path_factory.mktemp("user") / ODD
    folder.mkdir()
    sections: dict = {}
    for setting in [*SETTINGS, "training.epochs=2"]:
        key, value = setting.split("=")
        section, name = key.split(".")
        sections.setdefault(section, {})[name] = json.loads(value)
    (folder / "small.yaml").write_text(json.dumps(sections))
    write_images(folder / "images")
    return folder


DIVERGING = "--set inference.step_size=9 --set inference.sigma=0.001"


def test_train_evaluate_and_export(project, recipe, tmp_path):
    trained = run(project, "run_train.sh", "CPU", "small.yaml", "images", cwd=recipe)
    assert trained.returncode == 0, trained.stderr
    assert "epoch: 2 step: 2, loss is" in trained.stdout and "recombination.png" in trained.stdout
    assert (recipe / "runs" / "small" / "metrics.json").is_file()
    assert "epoch: 2" in (recipe / "runs" / "small" / "train.log").read_text()

    again = run(project, "run_train.sh", "CPU", "small.yaml", "images", "runs/small", cwd=recipe)
    assert again.returncode == 2 and "already holds a run" in again.stderr
    longer = run(project, "run_train.sh", "CPU", "small.yaml", "images", cwd=recipe,
                 DGN_OPTIONS="--resume --train-only --set training.epochs=3")
    assert longer.returncode == 0 and "epoch: 3" in longer.stdout and "epoch: 2 " not in longer.stdout

    measured = run(project, "run_eval.sh", "runs/small", "CPU", cwd=recipe)
    assert measured.returncode == 0 and "result: {" in measured.stdout
    assert "ckpt=runs/small/checkpoints/epoch_00003" in measured.stdout
    written = run(project, "run_export.sh", "runs/small", tmp_path / "exported", cwd=recipe, DGN_OPTIONS="--batch 2")
    assert written.returncode == 0 and (tmp_path / "exported" / "inference.mindir").is_file(), written.stderr
    other = run(project, "run_eval.sh", "runs/small", "CPU", "images", cwd=recipe)
    assert other.returncode == 0 and '"unseen": {' in other.stdout


def test_two_processes_train_and_a_failure_is_reported(project, recipe):
    done = run(project, "run_distribute_train.sh", "CPU", 2, "small.yaml", "images", "out/", cwd=recipe)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 processes" in done.stdout and "epoch: 2 step: 2, loss is" in done.stdout
    assert (recipe / "out" / "metrics.json").is_file()
    again = run(project, "run_distribute_train.sh", "CPU", 2, "small.yaml", "images", "out/", cwd=recipe)
    assert again.returncode == 2 and "already holds a run" in again.stderr
    assert "epoch: 2 step: 2" in (recipe / "out.logs" / "worker_0.log").read_text()  # of the run that is there
    failed = run(project, "run_distribute_train.sh", "CPU", 2, "small.yaml", "images", "bad", cwd=recipe,
                 DGN_OPTIONS=DIVERGING)
    assert failed.returncode == 1 and "Langevin step" in failed.stderr
    assert "the logs of all processes are in bad.logs" in failed.stderr
    assert run(project, "run_distribute_train.sh", "CPU", 2, "missing.yaml", "", "none", cwd=recipe).returncode == 2


def in_terminal() -> None:
    """Makes the standard input the controlling terminal, with the signals that a shell gives its foreground."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGHUP):  # the tests themselves may run under nohup
        signal.signal(number, signal.SIG_DFL)


def test_two_processes_save_when_they_are_interrupted(project, recipe, tmp_path):
    """By Ctrl-C in a terminal, which goes to every process of the foreground, and by a signal to the launcher alone."""
    script = project / "scripts" / "run_distribute_train.sh"
    line = ["bash", str(script), "CPU", "2", "small.yaml", "images", str(tmp_path / "out")]
    checkpoints = 0
    for resumed, stop in (("", lambda running, terminal: os.write(terminal, b"\x03")),
                          ("--resume", lambda running, terminal: running.send_signal(signal.SIGTERM))):
        terminal, inside = pty.openpty()
        running = subprocess.Popen(
            line, cwd=recipe, text=True, stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=in_terminal,
            env=environment(DGN_OPTIONS=f"--train-only --set training.epochs=100000 {resumed}"))
        lines = iter(running.stdout.readline, "")
        epochs = (line for line in lines if line.startswith("epoch: "))
        assert len([line for line, _ in zip(epochs, range(3))]) == 3
        stop(running, terminal)
        rest = "".join(lines)
        assert running.wait(timeout=100) == 130 and "stopped and saved" in rest and "--resume" in rest, rest
        os.close(terminal), os.close(inside)
        newest = sorted((tmp_path / "out" / "checkpoints").glob("epoch_*"))[-1]
        epoch = int(newest.name.split("_")[1])
        assert epoch > checkpoints
        checkpoints = epoch


def test_an_interrupt_before_the_processes_train_ends_them(project, recipe, tmp_path):
    running = subprocess.Popen(
        ["bash", str(project / "scripts" / "run_distribute_train.sh"), "CPU", "2", "small.yaml", "images",
         str(tmp_path / "early")], cwd=recipe, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment(DGN_OPTIONS="--train-only --set training.epochs=100000"))
    while not (tmp_path / "early.logs" / "msrun.log").exists():
        assert running.poll() is None
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    said, _ = running.communicate(timeout=100)
    assert running.returncode == 130 and "interrupted before the training began" in said, said


def test_exit_codes(project, recipe, tmp_path):
    assert run(project, "run_train.sh", "CPU", "missing.yaml", cwd=recipe).returncode == 2
    assert run(project, "run_eval.sh", "nowhere", cwd=recipe).returncode == 2
    failed = run(project, "run_train.sh", "CPU", "small.yaml", "images", tmp_path / "out", cwd=recipe,
                 DGN_OPTIONS=DIVERGING)
    assert failed.returncode == 1 and "Langevin step" in failed.stderr and "Traceback" not in failed.stderr


def test_experiment(project, recipe):
    assert run(project, "run_experiment.sh", "--help", cwd=recipe).returncode == 0
    assert run(project, "run_experiment.sh", cwd=recipe).returncode == 2
    wrong = run(project, "run_experiment.sh", "landmark", "runs/small", cwd=recipe)
    assert wrong.returncode == 2 and "landmarks" in wrong.stderr
    run(project, "run_train.sh", "CPU", "small.yaml", "", "runs/faces", cwd=recipe,
        DGN_OPTIONS="--train-only --set data.limit=8")
    shown = run(project, "run_experiment.sh", "views", "runs/faces", "--faces", 2, "--device", "CPU", cwd=recipe)
    assert shown.returncode == 0 and "largest R" in shown.stdout, shown.stderr


def test_a_wrong_version_is_reported_at_start(monkeypatch, capsys):
    from importlib import metadata

    from dgn.__main__ import main
    real = metadata.version
    for name, version, said in (("mindspore", "2.6.0", "2.6.0 is installed"), ("numpy", "2.1.0", "NumPy 2.1.0")):
        monkeypatch.setattr(metadata, "version", lambda asked, n=name, v=version: v if asked == n else real(asked))
        assert main(["bench", "parts"]) == 2
        error = capsys.readouterr().err
        assert said in error and "requirements.txt" in error
