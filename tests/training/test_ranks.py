"""Several processes against one: the same weights, every chain in place, resumed at another size."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from dgn import config as cfg
from dgn.data.source import epoch_order
from dgn.inference.latents import LatentBank
from dgn.nets.model import LatentGroup
from dgn.randomness import generator
from dgn.ranks import Ranks
from dgn.run_folder import RunFolder
from tests.training.tiny import SETTINGS, arguments

MSRUN = Path(sys.executable).with_name("msrun")
ROOT = Path(__file__).parents[2]
OPTIONS = ["--set", "training.shards=4"]
GROUPS = (LatentGroup("z_app", (4,)), LatentGroup("z_geo", (3,)))


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


# dgn, after whose training each process says which weights it has
WITNESS = """
import hashlib, sys
from dgn import runs
from dgn.__main__ import main
train = runs.train
def told(folder, learner, *others):
    saved = train(folder, learner, *others)
    weights = b"".join(p.asnumpy().tobytes() for cell in learner.method.cells.values() for p in cell.get_parameters())
    print("weights", hashlib.sha256(weights).hexdigest(), flush=True)
    return saved
runs.train = told
sys.exit(main())
"""


def command(count: int, logs: Path, line: list, program: Path = ROOT / "src" / "dgn" / "__main__.py") -> list:
    if count == 1:
        return [sys.executable, "-m", "dgn", *line]
    return [str(MSRUN), f"--worker_num={count}", f"--local_worker_num={count}", "--master_addr=127.0.0.1", f"--master_port={port()}",
            "--join=True", f"--log_dir={logs}", str(program), *line]


def environment() -> dict:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # msrun starts what is called python there
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "GLOG_v": "3", "DGN_THREADS": "1"}


def launch(count: int, folder: Path, line: list) -> None:
    """Trains with so many processes; all of them have the same weights and moments, to the bit, at the end."""
    (folder / "witness.py").write_text(WITNESS)
    logs = folder / f"logs{count}"
    done = subprocess.run(command(count, logs, line, folder / "witness.py"), env=environment(), cwd=folder, capture_output=True, text=True,
                          timeout=150)
    said = [file.read_text() for file in sorted(logs.glob("worker_*.log"))]
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:] + "".join(log[-2000:] for log in said)
    if count > 1:
        weights = [line for log in said for line in log.splitlines() if line.startswith("weights ")]
        assert len(weights) == count and len(set(weights)) == 1, weights


def state(output: Path):
    newest = sorted((output / "checkpoints").glob("epoch_*"))[-1]
    weights = {name: p.asnumpy() for name, p in ms.load_checkpoint(str(newest / "weights.ckpt")).items()}
    bank = LatentBank.open(newest, GROUPS)
    chains = dict(zip(("z_app", "z_geo"), bank.read(np.arange(len(bank)))))
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return newest.name, weights, chains, records


def assert_alike(found: Path, wanted: Path) -> None:
    (name, weights, chains, records), (other, wanted_weights, wanted_chains, wanted_records) = state(found), state(wanted)
    assert name == other and len(records) == len(wanted_records)
    for key in wanted_weights:
        np.testing.assert_allclose(weights[key], wanted_weights[key], atol=2e-4, err_msg=key)
    for key in wanted_chains:
        np.testing.assert_allclose(chains[key], wanted_chains[key], atol=2e-3, err_msg=key)
    for a, b in zip(records, wanted_records):
        for key in ("loss", "msre", "z_app_std", "gradient"):
            assert a[key] == pytest.approx(b[key], rel=1e-3), key


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory):
    """One process, the whole batch: 8 images in batches of 4, one of each of 4 shards; 10 epochs, 20 steps."""
    folder = tmp_path_factory.mktemp("alone")
    launch(1, folder, arguments(images, folder / "run", 10, *OPTIONS))
    return folder / "run"


@pytest.fixture(scope="module")
def of_two(images, tmp_path_factory):
    """The same by two processes."""
    folder = tmp_path_factory.mktemp("two")
    launch(2, folder, arguments(images, folder / "run", 10, *OPTIONS, measured=True))
    return folder / "run"


def test_two_processes_learn_what_one_learns_from_the_whole_batch(alone, of_two):
    assert_alike(of_two, alone)
    assert (of_two / "metrics.json").is_file() and (of_two / "figures" / "curves.png").is_file()
    for folder in (of_two / "latents", of_two / "checkpoints" / "epoch_00010"):  # each process has its own file
        assert sorted(f.name for f in folder.glob("z_app*")) == ["z_app-00000-of-00002.npy", "z_app-00001-of-00002.npy"]


def test_two_processes_teach_a_critic_what_one_does(images, tmp_path):
    critic = ["--set", "training.adversarial=nonsaturating", "--set", "training.critic_width=2", "--set", "training.r1_every=2",
              "--set", "training.r1_weight=1e-6"]  # of more weight its slope, which jumps where an activation does, parts the two
    for count in (1, 2):
        launch(count, tmp_path, arguments(images, tmp_path / f"run{count}", 3, *OPTIONS, *critic))
    assert_alike(tmp_path / "run2", tmp_path / "run1")
    for file, least in (("critic", 2e-4), ("critic_optimizer", 2e-6)):  # Adam's moments would show a sum in place of a mean
        wanted, found = (ms.load_checkpoint(str(tmp_path / f"run{count}" / "checkpoints" / "epoch_00003" / f"{file}.ckpt")) for count in (1, 2))
        for name in wanted:
            np.testing.assert_allclose(found[name].asnumpy(), wanted[name].asnumpy(), rtol=1e-2, atol=least, err_msg=name)
    for a, b in zip(*(state(tmp_path / f"run{count}")[3] for count in (2, 1))):
        for key in ("critic", "score_real", "score_made", "r1", "actor"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=1e-5), key


# msrun on a host that is not the master's: here both are the same machine, and it would start a second scheduler
OTHER_HOST = """
from mindspore.parallel.cluster.process_entity import _api
_api._is_local_ip = lambda address: False
from mindspore.parallel.cluster.run import main
main()
"""


def hosts(folder: Path) -> list:
    """Two Pythons, each with an msrun beside it as the launcher looks for it; the second's takes itself for another host."""
    (folder / "other_host.py").write_text(OTHER_HOST)
    programs = {"python": f'exec {sys.executable} "$@"'}
    for name, msrun in (("first", f'exec {MSRUN} "$@"'), ("second", f'exec {sys.executable} {folder / "other_host.py"} "$@"')):
        (folder / name).mkdir()
        for program, line in {**programs, "msrun": msrun}.items():
            path = folder / name / program
            path.write_text(f"#!/bin/sh\n{line}\n")
            path.chmod(0o755)
    return [folder / "first" / "python", folder / "second" / "python"]


def start_host(rank: int, python: Path, folder: Path, meeting: int, line: list) -> subprocess.Popen:
    (folder / "empty.yaml").write_text("{}")
    variables = {"DGN_PYTHON": str(python), "DGN_OPTIONS": " ".join(line), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(meeting),
                 "WORKER_NUM": "4", "NODE_RANK": str(rank)}
    return subprocess.Popen(["bash", str(ROOT / "scripts" / "run_distribute_train.sh"), "CPU", "2", "empty.yaml", "", str(folder / "run")],
                            env={**environment(), **variables}, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_two_hosts_of_two_processes_learn_what_one_learns(images, alone, tmp_path):
    meeting, line = port(), arguments(images, tmp_path / "run", 10, *OPTIONS)
    settings = [word for k, word in enumerate(line) if line[k] == "--set" or line[k - 1] == "--set"] + ["--data", str(images), "--train-only"]
    running = [start_host(rank, python, tmp_path, meeting, settings) for rank, python in enumerate(hosts(tmp_path))]
    for host in running:
        said, errors = host.communicate(timeout=200)
        assert host.returncode == 0, said[-2000:] + errors[-2000:]
    assert_alike(tmp_path / "run", alone)
    assert len(list((tmp_path / "run" / "latents").glob("z_geo-*-of-00004.npy"))) == 4
    assert (tmp_path / "run.logs" / "node_1" / "worker_3.log").is_file()


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
    assert running.returncode == 1 and "another host ended with an error" in errors and "node_1" in errors


def test_what_several_hosts_need_is_asked_for(tmp_path):
    line = ["bash", str(ROOT / "scripts" / "run_distribute_train.sh"), "CPU", "2"]
    unequal, third = "every host has DEVICE_NUM", {"NODE_RANK": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    for wrong, said in (({"WORKER_NUM": "4"}, "MASTER_ADDR"), ({"WORKER_NUM": "3"}, unequal), ({"WORKER_NUM": "4", **third}, unequal),
                        ({"NODE_RANK": "x"}, "NODE_RANK is x")):
        done = subprocess.run(line, env={**environment(), **wrong}, cwd=tmp_path, text=True, capture_output=True, timeout=60)
        assert done.returncode == 2 and said in done.stderr, done.stderr


def test_a_run_goes_on_with_another_number_of_processes(alone, of_two, tmp_path):
    """What two have learned in 8 epochs, one goes on with, and then four."""
    shutil.copytree(of_two, tmp_path / "run")
    for epoch in ("epoch_00009", "epoch_00010"):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / epoch)
    resume = ["train", "--device", "CPU", "--output", str(tmp_path / "run"), "--resume", "--train-only"]
    launch(1, tmp_path, [*resume, "--set", "training.epochs=9"])
    launch(4, tmp_path, [*resume, "--set", "training.epochs=10"])
    assert_alike(tmp_path / "run", alone)


def test_a_process_that_dies_ends_the_run_and_nothing_of_the_checkpoint_is_lost(images, tmp_path):
    line = arguments(images, tmp_path / "run", 100000, *OPTIONS)
    running = subprocess.Popen(command(2, tmp_path / "logs", line), env=environment(), cwd=tmp_path, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run" / "checkpoints").glob("epoch_0001*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    workers = subprocess.run(["pgrep", "-f", str(tmp_path / "run")], capture_output=True, text=True).stdout.split()
    processes = [int(p) for p in workers if int(p) != running.pid and b"__main__.py" in Path(f"/proc/{p}/cmdline").read_bytes()
                 and b"msrun" not in Path(f"/proc/{p}/cmdline").read_bytes()]
    os.kill(max(processes), signal.SIGKILL)
    assert running.wait(timeout=120) != 0
    for pid in processes:
        assert not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    name, _, chains, records = state(tmp_path / "run")
    reached = int(name.split("_")[1])
    assert reached >= 10 and {len(z) for z in chains.values()} == {8}
    launch(1, tmp_path, ["train", "--device", "CPU", "--output", str(tmp_path / "run"), "--resume", "--train-only",
                         "--set", f"training.epochs={reached + 1}"])
    later, _, moved, further = state(tmp_path / "run")
    assert later == f"epoch_{reached + 1:05d}" and further[:reached] == records[:reached] and len(further) == reached + 1
    for key, z in chains.items():  # one epoch's steps away from where they were: a chain that began anew would be further
        assert 0 < np.abs(moved[key] - z).max() < 1


def test_the_first_process_may_take_long_while_the_others_wait(images, tmp_path):
    """CPU's collectives give up after 30 s by themselves; a rank that draws pictures may take longer."""
    script = tmp_path / "slow.py"
    script.write_text("import time\nfrom dgn import runtime\nruntime.set_environment()\nruntime.start('CPU')\nranks = runtime.ranks()\n"
                      "ranks.wait()\ntime.sleep(33 if ranks.first else 0)\nranks.wait()\n"
                      "print('sums', *ranks.total([1 / 3 * (1 + ranks.rank), 1 + 2.0 ** -50, 1e-300]), ranks.any(ranks.rank == 1))\n")
    line = command(2, tmp_path / "logs", [])
    line[-1] = str(script)
    done = subprocess.run(line, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout[-2000:]
    wanted = f"sums {1 / 3 + 2 / 3} {2 + 2.0 ** -49} {2e-300} True"  # in float64, as one process would add them
    assert all(wanted in log.read_text() for log in (tmp_path / "logs").glob("worker_*.log"))


@pytest.mark.parametrize("count, size, shards", [(12, 4, 2), (10, 8, 4), (7, 4, 4), (9, 6, 3)])
def test_every_batch_has_equal_shares_of_every_shard(count, size, shards):
    def draw(*shard: int) -> np.random.Generator:
        return generator(1, "order", 0, *shard)

    order = epoch_order(count, size, draw, shards)
    assert set(order.ravel()) == set(range(count))
    for batch in order:
        assert len(batch) == size
        assert np.bincount(batch % shards, minlength=shards).tolist() == [size // shards] * shards
    for processes in (n for n in range(1, shards + 1) if shards % n == 0):  # each draws its own part alone, and it is the same
        for rank in range(processes):
            own = epoch_order(count, size, draw, shards, range(rank, shards, processes))
            for mine, batch in zip(own, order):
                np.testing.assert_array_equal(mine, batch[batch % processes == rank])


def test_one_process_owns_all_and_exchanges_nothing():
    ranks = Ranks()
    assert ranks.first and ranks.shards(3) == range(3) and ranks.total([1.5, 2]).tolist() == [1.5, 2] and ranks.any(True)
    assert ranks.reducer(None) is None and not ranks.any(False)


def test_a_batch_that_cannot_be_shared_is_refused():
    from dgn.cli.train import for_processes
    from dgn.errors import UserError

    assert for_processes(cfg.Config(), 4).training.shards == 4 and for_processes(cfg.Config(), 1).training.shards == 1
    with pytest.raises(UserError, match="multiple of the number of processes, 3"):
        for_processes(cfg.Config(), 3)


def test_a_process_that_does_not_see_the_run_folder_or_the_same_data_says_so(images, tmp_path, monkeypatch, capsys):
    from dgn import runtime
    from dgn.__main__ import main

    class Second(Ranks):
        """The second process, on another host; the first says nothing."""

        def __init__(self, others: float) -> None:
            super().__init__(1, 1)
            self.others = others

        def values(self, values) -> np.ndarray:
            own = np.array(list(values), np.float64)
            return np.stack([np.full_like(own, self.others), own])

    monkeypatch.setattr(runtime, "ranks", lambda: Second(-1.0))
    assert main(arguments(images, tmp_path / "run", 1)) == 2
    assert "process 1 does not see the run folder" in capsys.readouterr().err
    RunFolder.create(tmp_path / "run", cfg.load(None, SETTINGS))
    assert main(arguments(images, tmp_path / "run", 1)) == 2
    assert "one process finds -1 samples and another 8" in capsys.readouterr().err
