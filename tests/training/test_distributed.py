"""Several processes against one: the same weights, every chain in its place, and a process that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from dgn import config as cfg
from dgn import device, distributed, machine, provenance, recipe, run_folder
from dgn.__main__ import main
from dgn.data.open import open_sources
from dgn.data.source import Source
from dgn.distributed import ProcessGroup, for_processes, warn_of_few_samples
from dgn.errors import UserError
from dgn.randomness import generator
from dgn.run_folder import RunFolder
from dgn.training import build
from dgn.training.batches import epoch_order
from tests.training.processes import OPTIONS, assert_alike, command, environment, launch, state
from tests.training.tiny import SETTINGS, arguments, resume

pytestmark = pytest.mark.slow


# R1 of more weight: its gradient, which jumps where an activation does, parts the two
CRITIC = {"training.adversarial": "nonsaturating", "training.critic_width": 2, "training.r1_interval": 2,
          "training.r1_weight": 1e-6}


def test_two_processes_train_a_critic_as_one_does(images, tmp_path):
    critic = [word for key, value in CRITIC.items() for word in ("--set", f"{key}={value}")]
    one, two = tmp_path / "run1", tmp_path / "run2"
    for count, run in ((1, one), (2, two)):
        launch(count, tmp_path, arguments(images, run, 3, *OPTIONS, *critic))
    assert_alike(two, one)
    last = Path("checkpoints") / "epoch_00003"
    for folder in (two / "latents", two / last):  # each process has its own file
        assert sorted(f.name for f in folder.glob("z_app*")) == ["z_app-00000-of-00002.npy", "z_app-00001-of-00002.npy"]
    # Adam's moments would show a sum in place of a mean
    for file, least in (("critic", 2e-4), ("critic_optimizer", 2e-6)):
        wanted, found = (ms.load_checkpoint(str(run / last / f"{file}.ckpt")) for run in (one, two))
        for name in wanted:
            np.testing.assert_allclose(found[name].asnumpy(), wanted[name].asnumpy(), rtol=1e-2, atol=least,
                                       err_msg=name)
    for a, b in zip(state(two)[3], state(one)[3]):
        for key in ("critic", "score_real", "score_fake", "r1", "actor"):
            assert a[key] == pytest.approx(b[key], rel=1e-3, abs=1e-5), key


def workers(of: subprocess.Popen, run: Path) -> list:
    """The processes that train a run, without msrun's."""
    found = subprocess.run(["pgrep", "-f", str(run)], capture_output=True, text=True).stdout.split()
    lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in found if int(pid) != of.pid}
    return [pid for pid, line in lines.items() if b"__main__.py" in line and b"msrun" not in line]


def test_a_process_that_dies_ends_the_run_and_nothing_of_the_checkpoint_is_lost(images, tmp_path):
    run = tmp_path / "run"
    line = command(2, tmp_path / "logs", arguments(images, run, 100000, *OPTIONS))
    running = subprocess.Popen(line, env=environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + 120
    while not list((run / "checkpoints").glob("epoch_0001*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    processes = workers(running, run)
    os.kill(max(processes), signal.SIGKILL)
    assert running.wait(timeout=120) != 0
    for pid in processes:
        assert not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    name, _, chains, records = state(run)
    reached = int(name.split("_")[1])
    assert reached >= 10 and {len(z) for z in chains.values()} == {8}
    assert resume(run, f"training.epochs={reached + 1}") == 0
    later, _, moved, further = state(run)
    assert later == f"epoch_{reached + 1:05d}"
    assert further[:reached] == records[:reached] and len(further) == reached + 1
    for key, z in chains.items():  # one epoch's steps away from where they were: a new chain would be further
        assert 0 < np.abs(moved[key] - z).max() < 1


SLOW = """
import time
from dgn import device, recipe
from dgn.data.open import open_sources
from dgn.distributed import process_group
from dgn.errors import UserError
from dgn.training.build import check_alike
device.start("CPU")
processes = process_group()
processes.barrier()
time.sleep(33 if processes.is_first else 0)
processes.barrier()
config = recipe.load(None, [f"training.seed={processes.rank}"])
try:
    check_alike(config, open_sources(config.data).train, "", processes)
except UserError as error:
    print(error)
rank = processes.rank
print("sums", *processes.all_sum([1 / 3 * (1 + rank), 1 + 2.0 ** -50, 1e-300]), processes.any(rank == 1))
"""


def test_the_first_process_may_be_slow_while_the_others_wait_and_all_know_who_differs(images, tmp_path):
    """CPU collectives time out after 30 s by default; a rank that draws pictures may take longer."""
    (tmp_path / "slow.py").write_text(SLOW)
    line = command(2, tmp_path / "logs", [], tmp_path / "slow.py")
    process = subprocess.run(line, env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=150)
    assert process.returncode == 0, process.stdout[-2000:]
    expected = f"sums {1 / 3 + 2 / 3} {2 + 2.0**-49} {2e-300} True"  # in float64, as one process would add them
    logs = [(tmp_path / "logs" / f"worker_{rank}.log").read_text() for rank in (0, 1)]
    assert all(expected in log for log in logs)
    for rank, log in enumerate(logs):  # their seeds differ
        assert f": different config in process 1. This is process {rank}, with 1000 samples (" in log


@pytest.mark.parametrize("count, size, shards", [(12, 4, 2), (10, 8, 4), (7, 4, 4), (9, 6, 3)])
def test_every_batch_has_equal_shares_of_every_shard(count, size, shards):
    def draw(*shard: int) -> np.random.Generator:
        return generator(1, "order", 0, *shard)

    order = epoch_order(count, size, draw, shards)
    assert set(order.ravel()) == set(range(count))
    for batch in order:
        assert len(batch) == size
        assert np.bincount(batch % shards, minlength=shards).tolist() == [size // shards] * shards
    # each process draws its own part alone, and it is the same
    for processes in (n for n in range(1, shards + 1) if shards % n == 0):
        for rank in range(processes):
            own = epoch_order(count, size, draw, shards, range(rank, shards, processes))
            for mine, batch in zip(own, order):
                np.testing.assert_array_equal(mine, batch[batch % processes == rank])


def test_a_single_process_owns_all_samples_and_exchanges_nothing():
    processes = ProcessGroup()
    assert processes.is_first and processes.shards(3) == range(3) and processes.all_sum([1.5, 2]).tolist() == [1.5, 2]
    assert processes.any(True) and not processes.any(False) and processes.gradient_reducer() is None


def test_a_batch_that_cannot_be_shared_is_refused():
    assert for_processes(cfg.Config(), 4).training.shards == 4 and for_processes(cfg.Config(), 1).training.shards == 1
    with pytest.raises(UserError, match="multiple of the number of processes, 3: set it to 99 or 102 with --set"):
        for_processes(cfg.Config(), 3)
    with pytest.raises(UserError, match="set it to 128 with --set"):
        for_processes(cfg.Config(), 128)


@pytest.mark.parametrize("role", ["MS_WORKER", "MS_SCHED"])
def test_a_batch_that_cannot_be_shared_is_refused_before_the_processes_connect(monkeypatch, capsys, images, role,
                                                                              tmp_path):
    monkeypatch.setenv("MS_ROLE", role)
    monkeypatch.setenv("MS_WORKER_NUM", "3")
    monkeypatch.setattr(device, "start", lambda *_: pytest.fail("it would wait for the others"))
    assert main(arguments(images, tmp_path / "run", 1)) == 2
    assert "training.batch_size is 4" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_more_processes_than_a_batch_feeds_are_warned_of(caplog):
    """8 samples a process on CPU, 64 on the others."""
    for size, name, warned in ((1, "Ascend", False), (10, "CPU", False), (20, "CPU", True), (2, "Ascend", True)):
        caplog.clear()
        warn_of_few_samples(cfg.Config(), size, name)
        assert (f"each of {size} processes computes {100 // size} samples, too few for {name}" in caplog.text) == warned
    assert "such as 128" in caplog.text


class Second(ProcessGroup):
    """The second of two processes; the first one sends what `first` makes of the second's data."""

    def __init__(self, first: Callable[[bytes], bytes] = bytes) -> None:
        super().__init__(1, 1)
        self.size, self.first = 2, first

    def all_gather(self, data: bytes) -> list:
        return [self.first(data), data]


def test_a_process_that_does_not_see_the_run_folder_is_refused(images, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(distributed, "process_group", Second)
    monkeypatch.setattr(run_folder, "APPEARS_WITHIN", 0.1)
    assert main(arguments(images, tmp_path / "run", 1)) == 2
    message = capsys.readouterr().err
    assert "process 1 does not see the run folder" in message and "created, after 0 s" in message


def test_a_run_folder_may_appear_late_on_another_host(tmp_path, monkeypatch):
    """As where a client of NFS has remembered that the folder is not there, until it reads the folder above."""
    def appears(folder):
        read.append(folder)
        if folder == tmp_path and read.count(folder) == 2:
            RunFolder.create(tmp_path / "run", cfg.Config())
        return real(folder)

    real, read = os.scandir, []
    monkeypatch.setattr(run_folder, "APPEARS_WITHIN", 0.5)
    monkeypatch.setattr(os, "scandir", appears)
    RunFolder.await_new(tmp_path / "run", 1)
    assert read.count(tmp_path) == 2
    began = time.monotonic()
    with pytest.raises(UserError, match="process 3 does not see the run folder .*/none, which the first"):
        RunFolder.await_new(tmp_path / "none", 3)
    assert time.monotonic() - began >= 0.5


class Described(Source):
    """Samples of which only their number and identity are known."""

    def __init__(self, count: int, identity: str) -> None:
        self.count, self.text = count, identity

    def __len__(self) -> int:
        return self.count

    def identity(self) -> str:
        return self.text


def test_processes_that_differ_are_refused_by_name(monkeypatch):
    """By rank, and by which of config, data and versions differs."""
    sent = []

    def send(data: bytes) -> bytes:  # of the first process
        sent.append(data)
        return sent[0]

    processes, config = Second(send), recipe.load(None, ["data.path=/first/images"])
    given = {"config": config, "source": Described(8, "a"), "initial": ""}
    build.check_alike(**given, processes=processes)
    elsewhere = recipe.load(None, ["data.path=/second/images"])  # the same files at another place
    build.check_alike(**{**given, "config": elsewhere}, processes=processes)
    other, more = recipe.load(None, ["training.seed=5"]), Described(9, "a")
    this = "in process 1. This is process 1, with"
    for changes, message in (({"config": other}, f"process 0: different config {this} 8 samples (a), dgn "),
                             ({"initial": "5f"}, f"process 0: different config {this} 8 samples (a), dgn "),
                             ({"source": Described(8, "b")}, f"process 0: different data {this} 8 samples (b)"),
                             ({"source": more}, f"process 0: different data {this} 9 samples (a)"),
                             ({"config": other, "source": more}, f"config in process 1; different data {this}")):
        with pytest.raises(UserError) as refused:
            build.check_alike(**{**given, **changes}, processes=processes)
        assert message in str(refused.value)
    monkeypatch.setattr(provenance, "software", lambda: "dgn 9")
    with pytest.raises(UserError, match=r"process 0: different versions in process 1\. .*, dgn 9\. All hosts need"):
        build.check_alike(**given, processes=processes)


def test_the_versions_that_processes_share_have_that_of_cann_on_ascend(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "cann", lambda: machine.Cann("8.5.0", tmp_path))
    assert "CANN" not in provenance.software() and f"mindspore {ms.__version__}" in provenance.software()
    monkeypatch.setattr(device, "current", lambda: "Ascend")
    assert provenance.software().endswith(", CANN 8.5.0")


def test_a_training_compares_its_processes_before_it_makes_chains(images, tmp_path):
    config = recipe.load(None, [*SETTINGS, f"data.path={images}"])
    folder = RunFolder.create(tmp_path / "run", config)
    everything = "different config in process 1; different data in process 1; different versions in"
    with pytest.raises(UserError, match=everything):
        build.make_state(config, folder, open_sources(config.data).train, None, Second(lambda data: bytes(len(data))))
    assert not folder.latents.exists()
