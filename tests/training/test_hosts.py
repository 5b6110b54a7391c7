"""Two hosts against one process, with network addresses of one machine; resumed with another number of processes; a
host that fails ends the others."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.processes import MSRUN, OPTIONS, ROOT, assert_alike, environment, launch, port
from tests.training.tiny import arguments

pytestmark = pytest.mark.slow

# msrun on a host that is not the master's: here both are the same machine, and it would start a second scheduler
OTHER_HOST = """
from mindspore.parallel.cluster.process_entity import _api
_api._is_local_ip = lambda address: False
from mindspore.parallel.cluster.run import main
main()
"""


def hosts(folder: Path) -> list:
    """Two Pythons, each with an msrun beside it as the launcher looks for it; the second's takes itself for another
    host."""
    (folder / "other_host.py").write_text(OTHER_HOST)
    programs = {"python": f'exec {sys.executable} "$@"'}
    msruns = {"first": f'exec {MSRUN} "$@"', "second": f'exec {sys.executable} {folder / "other_host.py"} "$@"'}
    for name, msrun in msruns.items():
        (folder / name).mkdir()
        for program, line in {**programs, "msrun": msrun}.items():
            path = folder / name / program
            path.write_text(f"#!/bin/sh\n{line}\n")
            path.chmod(0o755)
    return [folder / "first" / "python", folder / "second" / "python"]


def start_host(rank: int, python: Path, folder: Path, meeting: int, line: list) -> subprocess.Popen:
    (folder / "empty.yaml").write_text("{}")
    variables = {"DGN_PYTHON": str(python), "DGN_OPTIONS": " ".join(line), "MASTER_ADDR": "127.0.0.1",
                 "MASTER_PORT": str(meeting), "WORKER_NUM": "4", "NODE_RANK": str(rank)}
    script = ROOT / "scripts" / "run_distribute_train.sh"
    return subprocess.Popen(["bash", str(script), "CPU", "2", "empty.yaml", "", str(folder / "run")], cwd=folder,
                            env={**environment(), **variables}, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory):
    """One process, the whole batch: 8 images in batches of 4, one of each of 4 shards; 10 epochs, 20 steps."""
    folder = tmp_path_factory.mktemp("alone")
    launch(1, folder, arguments(images, folder / "run", 10, *OPTIONS))
    return folder / "run"


@pytest.fixture(scope="module")
def four(images, tmp_path_factory) -> Path:
    """The run of four processes, two on each of two hosts."""
    folder = tmp_path_factory.mktemp("four")
    meeting, line = port(), arguments(images, folder / "run", 10, *OPTIONS)
    settings = [word for k, word in enumerate(line) if line[k] == "--set" or line[k - 1] == "--set"]
    settings += ["--data", str(images), "--train-only"]
    running = [start_host(rank, python, folder, meeting, settings) for rank, python in enumerate(hosts(folder))]
    for host in running:
        output, errors = host.communicate(timeout=200)
        assert host.returncode == 0, output[-2000:] + errors[-2000:]
    return folder / "run"


def test_two_hosts_of_two_processes_train_as_one_process(alone, four):
    assert_alike(four, alone)
    assert len(list((four / "latents").glob("z_geo-*-of-00004.npy"))) == 4
    assert (four.with_name("run.logs") / "node_1" / "worker_3.log").is_file()


def test_a_run_is_resumed_with_another_number_of_processes(alone, four, tmp_path):
    """Four processes train 8 epochs, one the next, two the last."""
    shutil.copytree(four, tmp_path / "run")
    for epoch in ("epoch_00009", "epoch_00010"):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / epoch)
    resume = ["train", "--device", "CPU", "--output", str(tmp_path / "run"), "--resume", "--train-only"]
    launch(1, tmp_path, [*resume, "--set", "training.epochs=9"])
    launch(2, tmp_path, [*resume, "--set", "training.epochs=10"])
    assert_alike(tmp_path / "run", alone)


def test_a_host_does_not_wait_for_one_that_has_failed(images, tmp_path):
    running = start_host(0, hosts(tmp_path)[0], tmp_path, port(), [])  # its processes wait for the second host's
    logs = tmp_path / "run.logs"
    deadline = time.monotonic() + 60
    while not (logs / "node_0" / "worker_1.log").is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(0.1)
    (logs / "node_1").mkdir()
    (logs / "node_1" / "failed").touch()  # what the second host's launcher leaves when one of its processes dies
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1 and "a process of another host failed" in errors and "node_1" in errors


def test_missing_settings_of_several_hosts_are_named(tmp_path):
    line = ["bash", str(ROOT / "scripts" / "run_distribute_train.sh"), "CPU", "2"]
    unequal, third = "each host runs DEVICE_NUM", {"NODE_RANK": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    for wrong, message in (({"WORKER_NUM": "4"}, "MASTER_ADDR"), ({"WORKER_NUM": "3"}, unequal),
                           ({"WORKER_NUM": "4", **third}, unequal), ({"NODE_RANK": "x"}, "NODE_RANK is x")):
        done = subprocess.run(line, env={**environment(), **wrong}, cwd=tmp_path, text=True, capture_output=True,
                              timeout=60)
        assert done.returncode == 2 and message in done.stderr, done.stderr
