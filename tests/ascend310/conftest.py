"""The C++ program, built once; small runs exported for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from dgn.__main__ import main
from tests.training.tiny import arguments

HERE = Path(__file__).parents[2] / "ascend310_infer"


def run(*words, **environment) -> subprocess.CompletedProcess:
    own = {name: value for name, value in os.environ.items() if name != "GLOG_v"}  # MindSpore's, which dgn sets for itself
    return subprocess.run(list(map(str, words)), text=True, capture_output=True, timeout=600,
                          env={**own, "DGN_PYTHON": sys.executable, **environment})


def absent(what: str) -> None:
    """Skips what needs it; in continuous integration, where nobody reads of skipped tests, it fails."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(what)


@pytest.fixture(scope="session")
def tools() -> None:
    """What builds C++ is installed."""
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            absent(f"{tool} is not installed: the C++ program cannot be built")


@pytest.fixture(scope="session")
def lite(tools) -> Path:
    """The folder of MindSpore Lite; where it is not, it is fetched."""
    found = run("bash", HERE / "build.sh", "--fetch")
    if found.returncode == 3:
        absent("MindSpore Lite is not in MSLITE_HOME or the cache, and PyPI cannot be reached")
    assert found.returncode == 0, found.stderr
    return Path(found.stdout.strip())


@pytest.fixture(scope="session")
def build(lite, tmp_path_factory) -> Path:
    """The folder of the build, warnings being errors."""
    folder = tmp_path_factory.mktemp("build")
    quick = ("-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1")
    built = run("bash", HERE / "build.sh", folder, "-DDGN_WERROR=ON", *quick)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="session")
def program(build) -> Callable[..., subprocess.CompletedProcess]:
    """Calls the program on CPU (unless told otherwise) with one thread."""
    def call(*words, device: str = "CPU", **environment) -> subprocess.CompletedProcess:
        return run(build / "dgn_infer", "--device_type", device, "--threads", 1, *words, **environment)
    return call


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory) -> Path:
    """A run with all that a model can have beyond the paper, exported as MindIR 1 for two samples a call."""
    run_folder = tmp_path_factory.mktemp("runs") / "run"
    settings = ["model.smooth_appearance=true", "model.control_grid=8", "model.refine=true", "inference.smoothness=0.01"]
    assert main(arguments(images, run_folder, 1, *(word for setting in settings for word in ("--set", setting)))) == 0
    assert main(["export", str(run_folder), "--mindir-version", "1", "--batch", "2"]) == 0
    return run_folder
