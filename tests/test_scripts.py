"""The launchers in scripts/, started in a project whose path has a space, an accent, parentheses and a comma."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Optional

import pytest

from tests.training.tiny import SETTINGS, write_images

ROOT = Path(__file__).parents[1]
ODD = "my dïr (1), x"
SINGLE = ("run_train.sh", "run_eval.sh", "run_export.sh", "run_experiment.sh", "run_infer_310.sh")  # one process each
STALE = {"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "1", "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": "1",
         "MS_NODE_ID": "0", "RANK_ID": "3", "RANK_SIZE": "8", "RANK_TABLE_FILE": "/hccl.json"}


def copy_project(parent: Path) -> Path:
    """A copy of the launchers, with links to the rest of the project."""
    project = parent / ODD
    shutil.copytree(ROOT / "scripts", project / "scripts")
    for name in ("src", "config", "requirements.txt"):
        (project / name).symlink_to(ROOT / name)
    (project / "ascend310_infer").mkdir()
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_project(tmp_path_factory.mktemp("projects"))


def environment(**changes: Optional[str]) -> dict:
    """The environment of the tests without PYTHONPATH, with changes; None removes a variable."""
    merged = {**os.environ, "PYTHONPATH": None, "DGN_PYTHON": sys.executable, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def run(project: Path, script: str, *args, cwd: Path, **changes: Optional[str]) -> subprocess.CompletedProcess:
    line = ["bash", str(project / "scripts" / script), *map(str, args)]
    return subprocess.run(line, cwd=cwd, text=True, capture_output=True, env=environment(**changes), timeout=200)


def source(project: Path, command: str, *args, **changes: Optional[str]) -> subprocess.CompletedProcess:
    """Runs a command with the functions of common.sh."""
    common = project / "scripts" / "common.sh"
    line = ["bash", "-c", f'set -euo pipefail; . "$0"; {command}', str(common), *map(str, args)]
    return subprocess.run(line, text=True, capture_output=True, env=environment(**changes), timeout=200)


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

    again = run(project, "run_train.sh", "CPU", "small.yaml", "images", cwd=recipe)
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
    failed = run(project, "run_distribute_train.sh", "CPU", 2, "small.yaml", "images", "bad", cwd=recipe,
                 DGN_OPTIONS=DIVERGING)
    assert failed.returncode == 1 and "Langevin step" in failed.stderr
    assert "the logs of all processes are in bad.logs" in failed.stderr
    assert run(project, "run_distribute_train.sh", "CPU", 2, "missing.yaml", "", "none", cwd=recipe).returncode == 2


def test_two_processes_save_when_they_are_interrupted(project, recipe, tmp_path):
    script = project / "scripts" / "run_distribute_train.sh"
    line = ["bash", str(script), "CPU", "2", "small.yaml", "images", str(tmp_path / "out")]
    running = subprocess.Popen(line, cwd=recipe, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=environment(DGN_OPTIONS="--train-only --set training.epochs=100000"))
    lines = iter(running.stdout.readline, "")
    assert any("epoch: 3 step" in line for line in lines)
    running.send_signal(signal.SIGTERM)
    rest = "".join(lines)
    assert running.wait(timeout=100) == 130 and "stopped and saved" in rest and "--resume" in rest
    assert list((tmp_path / "out" / "checkpoints").glob("epoch_*"))


def test_exit_codes(project, recipe, tmp_path):
    assert run(project, "run_train.sh", "CPU", "missing.yaml", cwd=recipe).returncode == 2
    assert run(project, "run_eval.sh", "nowhere", cwd=recipe).returncode == 2
    failed = run(project, "run_train.sh", "CPU", "small.yaml", "images", tmp_path / "out", cwd=recipe,
                 DGN_OPTIONS=DIVERGING)
    assert failed.returncode == 1 and "Langevin step" in failed.stderr and "Traceback" not in failed.stderr


@pytest.mark.parametrize("script, usage", [
    ("run_train.sh", "[DEVICE_TARGET] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]"),
    ("run_distribute_train.sh", "[DEVICE_TARGET] [DEVICE_NUM] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]"),
    ("run_export.sh", "RUN_DIR [OUT]"),
    ("run_infer_310.sh", "MINDIR_PATH DATA_PATH [DEVICE_TYPE] [DEVICE_ID] [OUTPUT_PATH]"),
    ("run_infer_cpp.sh", "MINDIR_PATH DATA_PATH [DEVICE_TYPE] [DEVICE_ID] [OUTPUT_PATH]"),
    ("run_eval.sh", "RUN_DIR [DEVICE_TARGET] [IMAGES]")])
def test_usage(project, script, usage, tmp_path):
    for arguments, code in ((["--help"], 0), (["-h"], 0), ("abcdef", 2)):
        shown = run(project, script, *arguments, cwd=tmp_path)
        assert shown.returncode == code and usage in shown.stdout, arguments
        assert "set -e" not in shown.stdout and "#!" not in shown.stdout


def test_experiment(project, recipe):
    assert run(project, "run_experiment.sh", "--help", cwd=recipe).returncode == 0
    assert run(project, "run_experiment.sh", cwd=recipe).returncode == 2
    wrong = run(project, "run_experiment.sh", "landmark", "runs/small", cwd=recipe)
    assert wrong.returncode == 2 and "landmarks" in wrong.stderr
    run(project, "run_train.sh", "CPU", "small.yaml", "", "runs/faces", cwd=recipe,
        DGN_OPTIONS="--train-only --set data.limit=8")
    shown = run(project, "run_experiment.sh", "views", "runs/faces", "--faces", 2, "--device", "CPU", cwd=recipe)
    assert shown.returncode == 0 and "largest R" in shown.stdout, shown.stderr


# Arguments and environment, by a Python that records them

@pytest.fixture
def recorder(tmp_path) -> Path:
    """A Python and an msrun that only append their arguments and environment to the file `calls`, as a line of JSON.
    The Python meets the requirements and executes -c."""
    folder = tmp_path / ODD / "bin"
    folder.mkdir(parents=True)
    record = ("import json, os, sys; print(json.dumps({'args': sys.argv[2:], 'env': dict(os.environ)}), "
              "file=open(sys.argv[1], 'a'))")
    for name, special in (("python3", f'case "$1" in -c) exec "{sys.executable}" "$@" ;; -) exit 0 ;; esac'),
                          ("msrun", '[ "${1:-}" != --help ] || { echo "[--bind_core BIND_CORE]"; exit 0; }')):
        line = f'exec "{sys.executable}" -c "{record}" "{tmp_path}/calls" "$@"'
        (folder / name).write_text(f"#!/bin/bash\n{special}\n{line}\n")
        (folder / name).chmod(0o755)
    return folder / "python3"


def calls(recorder: Path) -> list:
    return [json.loads(line) for line in (recorder.parents[2] / "calls").read_text().splitlines()]


QUOTED = """--set "data.path=/a b/ç (1), x" --set 'evaluation.images=1' --data "" a\\ b $HOME `id` "#1\""""
WORDS = ["--set", "data.path=/a b/ç (1), x", "--set", "evaluation.images=1", "--data", "", "a b", "$HOME", "`id`", "#1"]


@pytest.mark.parametrize("script, arguments, expected", [
    ("run_train.sh", ["CPU", "a b.yaml", "my photos", "o, (1)"],
     ["train", "--config", "a b.yaml", "--device", "CPU", "--output", "o, (1)", "--data", "my photos", *WORDS]),
    ("run_export.sh", ["a b", "ç"], ["export", "a b", "ç", *WORDS]),
    ("run_eval.sh", ["a b", "CPU", "my photos"], ["evaluate", "a b", "--device", "CPU", "--images", "my photos"]),
    ("run_experiment.sh", ["views", "a b", "--faces", "2"], ["experiment", "views", "a b", "--faces", "2"])])
def test_arguments_with_spaces_stay_whole(project, recorder, script, arguments, expected, tmp_path):
    done = run(project, script, *arguments, cwd=tmp_path, DGN_PYTHON=str(recorder), DGN_OPTIONS=QUOTED)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert calls(recorder)[-1]["args"] == ["-m", "dgn", *expected]


def test_a_resumed_run_uses_its_own_config(project, recorder, tmp_path):
    run(project, "run_train.sh", "CPU", cwd=tmp_path, DGN_PYTHON=str(recorder), DGN_OPTIONS="--train-only\n'--resume'")
    assert calls(recorder)[-1]["args"] == ["-m", "dgn", "train", "--device", "CPU", "--output", "runs/faces_demo",
                                           "--train-only", "--resume"]


def test_options_with_an_open_quote_are_refused(project, recorder, tmp_path):
    refused = run(project, "run_export.sh", "run", cwd=tmp_path, DGN_PYTHON=str(recorder), DGN_OPTIONS='--set "a=b')
    assert refused.returncode == 2 and "DGN_OPTIONS" in refused.stderr and "No closing quotation" in refused.stderr
    assert "Traceback" not in refused.stderr and not (tmp_path / "calls").exists()


@pytest.mark.parametrize("script", SINGLE)
def test_stale_variables_of_a_distributed_run_are_named_and_unset(project, recorder, script, tmp_path):
    (project / "ascend310_infer" / "build.sh").write_text("exit 5\n")  # ends run_infer_310.sh after its first step
    done = run(project, script, "a", "b", cwd=tmp_path, DGN_PYTHON=str(recorder), DEVICE_ID="2", **STALE)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and all(f"{name}={value}" in lines[0] for name, value in STALE.items()), done.stderr
    seen = calls(recorder)[0]["env"]
    assert not set(STALE) & set(seen) and seen["DEVICE_ID"] == "2"


def test_arguments_of_msrun(project, recorder, tmp_path):
    done = run(project, "run_distribute_train.sh", "Ascend", 4, "a b.yaml", "my photos", "o, (1)", cwd=tmp_path,
               DGN_PYTHON=str(recorder), DGN_OPTIONS=QUOTED, MASTER_PORT="5000", HCCL_CONNECT_TIMEOUT=None,
               HCCL_EXEC_TIMEOUT="99")
    assert done.returncode == 0, done.stderr
    seen = calls(recorder)[-1]
    options = seen["args"][:seen["args"].index("python3")]
    assert {"--worker_num=4", "--local_worker_num=4", "--master_port=5000", "--bind_core=True",
            "--log_dir=o, (1).logs"} <= set(options)
    assert seen["args"][len(options) + 1:] == [
        str(project / "src" / "dgn" / "__main__.py"), "train", "--config", "a b.yaml", "--device", "Ascend", "--output",
        "o, (1)", "--data", "my photos", *WORDS]
    assert seen["env"]["PATH"].startswith(f"{recorder.parent}:")
    # derived from DGN_PATIENCE, unless the user has set them
    timeouts = [seen["env"][name] for name in ("HCCL_CONNECT_TIMEOUT", "HCCL_EXEC_TIMEOUT", "DGN_PATIENCE")]
    assert timeouts == ["3600", "99", "3600"]


@pytest.mark.parametrize("patience, connect, execute", [("100", "120", "100"), ("10000", "7200", "10000"),
                                                        ("99999", "7200", "17340")])
def test_timeouts_stay_in_the_ranges_of_cann(project, recorder, patience, connect, execute, tmp_path):
    run(project, "run_distribute_train.sh", "CPU", 2, cwd=tmp_path, DGN_PYTHON=str(recorder), DGN_PATIENCE=patience,
        HCCL_CONNECT_TIMEOUT=None, HCCL_EXEC_TIMEOUT=None)
    seen = calls(recorder)[-1]
    assert (seen["env"]["HCCL_CONNECT_TIMEOUT"], seen["env"]["HCCL_EXEC_TIMEOUT"]) == (connect, execute)
    assert seen["env"]["DGN_PATIENCE"] == patience
    assert not any("bind_core" in word for word in seen["args"])  # CPU


@pytest.mark.parametrize("changes, message", [
    ({"DEVICE_NUM": "two"}, "DEVICE_NUM is two"), ({"DEVICE_NUM": "0"}, "DEVICE_NUM is 0"),
    ({"DEVICE_NUM": "08"}, "DEVICE_NUM is 08"), ({"DGN_PATIENCE": "1h"}, "DGN_PATIENCE is 1h"),
    ({"NODE_RANK": "first"}, "NODE_RANK is first"), ({"WORKER_NUM": "3"}, "WORKER_NUM is 3"),
    ({"WORKER_NUM": "4"}, "several hosts need MASTER_ADDR")])
def test_wrong_numbers_of_a_distributed_run(project, recorder, changes, message, tmp_path):
    variables = {"DEVICE_NUM": "2", **changes, "DGN_PYTHON": str(recorder)}
    refused = run(project, "run_distribute_train.sh", "CPU", variables.pop("DEVICE_NUM"), cwd=tmp_path, **variables)
    assert refused.returncode == 2 and message in refused.stderr and not (tmp_path / "calls").exists()


# The choice of a Python

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


REQUIREMENTS = """# comment
mindspore>=2.7.2,<2.11   # three parts, then two
numpy >= 1.25, < 2
opencv-python-headless>=4.8,<4.12
scipy==1.10.*
tqdm[all]!=4.65; python_version < "3"
"""
FITTING = {"mindspore": "2.10.1", "numpy": "1.26.4", "opencv_python": "4.9.0.80", "scipy": "1.10"}


@pytest.mark.parametrize("changed, unmet", [
    ({}, ""), ({"mindspore": "2.7.2"}, ""), ({"mindspore": "2.7.10"}, ""), ({"mindspore": "2.8"}, ""),
    ({"mindspore": "2.10.0"}, ""), ({"mindspore": "2.7.1"}, "mindspore 2.7.1 (>=2.7.2,<2.11 is needed)"),
    ({"mindspore": "2.7"}, "mindspore 2.7 "), ({"mindspore": "2.7.2rc1"}, "mindspore 2.7.2rc1"),
    ({"mindspore": "2.11.0"}, "mindspore 2.11.0"), ({"mindspore": "2.11.0rc1"}, "mindspore 2.11.0rc1"),
    ({"mindspore": "3.0"}, "mindspore 3.0"), ({"numpy": "2.1.0"}, "numpy 2.1.0 (>=1.25,<2 is needed)"),
    ({"numpy": "1.24.4"}, "numpy 1.24.4"), ({"opencv_python": "4.13.0"}, "opencv-python-headless 4.13.0"),
    ({"opencv_python": None}, "opencv-python-headless is not installed"),
    ({"opencv_python": None, "opencv_python_headless": "4.9"}, ""),
    ({"scipy": "1.11.0"}, "scipy 1.11.0"), ({"scipy": "1.10.5"}, "")])
def test_requirements_of_a_python(changed, unmet, tmp_path):
    project = copy_project(tmp_path)
    (project / "requirements.txt").unlink()
    (project / "requirements.txt").write_text(REQUIREMENTS)
    versions = {name: version for name, version in {**FITTING, **changed}.items() if version}
    python = fake_python(tmp_path, **versions)
    checked = source(project, 'unmet_requirements "$1"', python)
    assert checked.stdout.strip().startswith(unmet) and bool(checked.stdout.strip()) == bool(unmet)
    assert checked.returncode == source(project, 'fits "$1"', python).returncode == (1 if unmet else 0)


def test_the_requirements_of_the_project_are_met_here(project):
    assert source(project, 'unmet_requirements "$1"', sys.executable).stdout.strip() == ""


def test_a_chosen_python_that_does_not_fit_is_named(project, tmp_path):
    python = fake_python(tmp_path, **{**FITTING, "numpy": "2.1.0"})
    refused = run(project, "run_eval.sh", "x", cwd=tmp_path, DGN_PYTHON=str(python))
    assert refused.returncode == 2 and f"DGN_PYTHON is {python}" in refused.stderr
    assert "numpy 2.1.0 (" in refused.stderr and "pip install -r" in refused.stderr
    refused = run(project, "run_eval.sh", "x", cwd=tmp_path, DGN_PYTHON="no-such-python")
    assert refused.returncode == 2 and "no such program" in refused.stderr


def write_wheel(folder: Path, name: str) -> None:
    """A package without modules."""
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        info = f"{name}-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def offline(tmp_path) -> dict:
    """A project that requires a package of a local folder; variables with which its launchers find that package and the
    Python of the tests alone."""
    project = copy_project(tmp_path)
    (project / "requirements.txt").unlink()
    (project / "requirements.txt").write_text("dgnprobe>=1.0,<2\n")
    write_wheel(tmp_path, "dgnprobe")
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "python3").symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}")
    return {"project": project, "PATH": f"{tmp_path / 'path'}:/usr/bin:/bin", "DGN_PYTHON": None,
            "ASCEND_HOME_PATH": None, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path),
            "PIP_CONFIG_FILE": os.devnull}


def half_made_venv(project: Path) -> Path:
    """A .venv as it is left by an interruption before pip was installed."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", project / ".venv"], check=True)
    return project / ".venv"


def test_a_venv_whose_python_is_gone_is_replaced(offline):
    venv = half_made_venv(offline["project"])
    for link in (venv / "bin").glob("python*"):
        link.unlink()
    (venv / "bin" / "python").symlink_to("/no/such/python")
    command = 'find_cann() { return 1; }; setup_python; "$PYTHON" -c "import sys; print(sys.prefix)"'
    made = source(command=command, **offline)
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1] == str(venv) and "requirements.txt" in made.stdout
    assert source(command='setup_python; echo "$PYTHON"', **offline).stdout.strip() == str(venv / "bin" / "python")


PACKAGES = "attrs cython decorator cffi pathlib2 requests absl-py"


@pytest.mark.parametrize("place", ["ASCEND_HOME_PATH", "cann", "ascend-toolkit/latest"])
def test_with_cann_a_venv_is_made_on_request_only(offline, place, tmp_path):
    if place == "ASCEND_HOME_PATH":
        cann, offline["ASCEND_HOME_PATH"] = tmp_path / "cann 8.5", str(tmp_path / "cann 8.5")
    else:
        cann = tmp_path / "Ascend" / place
    cann.mkdir(parents=True)
    found = source(offline["project"], 'find_cann "$1"', tmp_path / "Ascend",
                   ASCEND_HOME_PATH=offline["ASCEND_HOME_PATH"])
    assert found.stdout.strip() == str(cann)

    venv = offline["project"] / ".venv"
    offline["ASCEND_HOME_PATH"] = str(cann)
    refused = run(script="run_train.sh", cwd=tmp_path, LC_ALL="C", **offline)
    assert refused.returncode == 2 and not venv.exists() and str(cann) in refused.stderr
    commands = [line.strip() for line in refused.stderr.splitlines() if line.startswith("  ")]
    python, requirements = venv / "bin" / "python", offline["project"] / "requirements.txt"
    assert [shlex.split(command) for command in commands] == [
        ["python3", "-m", "venv", "--system-site-packages", str(venv)],
        [str(python), "-m", "pip", "install", "-r", str(requirements), *PACKAGES.split()]]


def test_with_cann_an_interrupted_venv_is_completed_on_request(offline, tmp_path):
    venv = half_made_venv(offline["project"])
    for package in PACKAGES.split():
        write_wheel(tmp_path, package.replace("-", "_"))
    offline["ASCEND_HOME_PATH"] = str(tmp_path)
    made = source(command='setup_python; echo "$PYTHON"', DGN_MAKE_VENV="1", **offline)
    assert made.returncode == 0, made.stderr
    assert made.stdout.splitlines()[-1] == str(venv / "bin" / "python")
    assert "include-system-site-packages = true" in (venv / "pyvenv.cfg").read_text()
    assert source(command='setup_python; echo "$PYTHON"', **offline).stdout.strip() == str(venv / "bin" / "python")


def test_a_wrong_version_is_said_at_start(monkeypatch, capsys):
    from importlib import metadata

    from dgn.__main__ import main
    real = metadata.version
    for name, version, said in (("mindspore", "2.6.0", "2.6.0 is installed"), ("numpy", "2.1.0", "NumPy 2.1.0")):
        monkeypatch.setattr(metadata, "version", lambda asked, n=name, v=version: v if asked == n else real(asked))
        assert main(["bench"]) == 2
        error = capsys.readouterr().err
        assert said in error and "requirements.txt" in error
