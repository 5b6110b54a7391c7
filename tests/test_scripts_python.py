"""The Python that the launchers in scripts/ choose or install."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.launchers import copy_project, run, source

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_project(tmp_path_factory.mktemp("projects"))


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


PACKAGES = "attrs cython decorator sympy cffi pathlib2 requests absl-py"


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
