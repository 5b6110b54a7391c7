"""The C++ program, built once, and small exported runs for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dgn.__main__ import main
from tests.training.saved import saved_run

HERE = Path(__file__).parents[2] / "ascend310_infer"
ODD = "my dïr (1), x"


def run(*words, **environment) -> subprocess.CompletedProcess:
    merged = {**os.environ, "GLOG_v": None, "DGN_PYTHON": sys.executable, **environment}  # dgn sets it for MindSpore
    return subprocess.run(list(map(str, words)), text=True, capture_output=True, timeout=600,
                          env={name: value for name, value in merged.items() if value is not None})


def skip(reason: str) -> None:
    """Skips a test, or fails it in continuous integration, where skipped tests would go unnoticed."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="session")
def tools() -> None:
    """The tools that build C++."""
    for tool in ("cmake", "c++"):
        if shutil.which(tool) is None:
            skip(f"{tool} is not installed: the C++ program cannot be built")


@pytest.fixture(scope="session")
def lite(tools) -> Path:
    """The folder of MindSpore Lite; downloaded if it is not in the cache."""
    found = run("bash", HERE / "build.sh", "--fetch")
    if found.returncode == 3:
        skip("MindSpore Lite is neither in MSLITE_HOME nor in the cache, and PyPI cannot be reached")
    assert found.returncode == 0, found.stderr
    return Path(found.stdout.strip())


@pytest.fixture(scope="session")
def package(lite, tmp_path_factory) -> Path:
    """MindSpore Lite in the layout of a package of mindspore.cn, in a folder with special characters in its name."""
    folder = tmp_path_factory.mktemp("lite") / ODD
    (folder / "tools" / "converter" / "lib").mkdir(parents=True)
    (folder / "runtime").symlink_to(lite)
    return folder


@pytest.fixture(scope="session")
def build(package, tmp_path_factory) -> Path:
    """The build folder. Warnings are errors."""
    folder = tmp_path_factory.mktemp("build") / ODD
    fast = ("-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1")
    built = run("bash", HERE / "build.sh", folder, "-DDGN_WERROR=ON", *fast, MSLITE_HOME=str(package))
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="session")
def program(build) -> Callable[..., subprocess.CompletedProcess]:
    """Runs the program with one thread, by default on CPU; after a line of bash, if there is one."""
    def call(*words, device: str = "CPU", before: str = "", **environment) -> subprocess.CompletedProcess:
        environment = {"GLOG_v": "4", **environment}  # without, it starts itself again, which takes as long as the rest
        return run("bash", "-c", f'{before}\nexec "$@"', "bash", build / "dgn_infer", "--device_type", device,
                   "--threads", 1, *words, **environment)
    return call


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory) -> Path:
    """A run with all options of the model beyond the paper and an encoder, exported as MindIR 1 with a batch of 2."""
    run_folder = saved_run(tmp_path_factory.mktemp("runs") / "run", "model.smooth_appearance=true",
                           "model.control_grid=8", "model.refine=true", "inference.smoothness=0.01",
                           "inference.steps_per_graph=2", images=images)
    assert main(["encoder", str(run_folder), "--steps", "4", "--device", "CPU"]) == 0
    assert main(["export", str(run_folder), "--mindir-version", "1", "--batch", "2"]) == 0
    return run_folder
