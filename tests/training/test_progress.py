"""The lines of a training off a terminal: of each epoch, and within a long one; and what is due after an iteration."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dgn import config as cfg
from dgn.distributed import ProcessGroup
from dgn.errors import Interrupted
from dgn.training import loop, progress
from dgn.training.progress import Progress
from dgn.training.trainer import Sums


@pytest.fixture
def now(monkeypatch):
    """A clock that the test sets."""
    clock = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.seconds)
    return clock


def record(epoch: int, seconds: float) -> dict:
    return {"epoch": epoch, "seconds": seconds, "loss": 1.0, "msre": 2.0, "images_per_second": 3.0}


def test_the_time_left_leaves_the_compilation_out(now, tmp_path):
    lines = Progress(3, 13, tmp_path / "log")  # resumed after three epochs
    for epoch, seconds in ((3, 52.0), (4, 10.0), (5, 20.0), (12, 20.0)):
        lines.epoch(record(epoch, seconds), 2)
    ends = [line.split("images/s, ")[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert ends == ["8 min left with compilation", "80 s left", "2 min left", "0 s left"]


def test_the_time_left_after_a_resume_within_an_epoch_is_of_whole_epochs(now, tmp_path):
    Progress(3, 5, tmp_path / "log").epoch(record(3, 20.0), 40, first=30)
    assert (tmp_path / "log").read_text().endswith("images/s, 80 s left with compilation\n")


def test_a_long_epoch_has_lines_every_few_minutes(now, tmp_path, capsys):
    lines = Progress(0, 10, tmp_path / "log")
    for step in range(1, 11):
        now.seconds += 60 if step > 1 else 600  # the first batch compiles
        lines.step(2, step, 40, {"loss": 5.0, "msre": 4.0})
    said = capsys.readouterr().out
    assert (tmp_path / "log").read_text() == said and said.splitlines() == [
        "epoch 3, batch 2 of 40: loss 5.0, MSRE 4.0, 38 min left of this epoch",
        "epoch 3, batch 5 of 40: loss 5.0, MSRE 4.0, 35 min left of this epoch",
        "epoch 3, batch 8 of 40: loss 5.0, MSRE 4.0, 32 min left of this epoch"]


def test_control_characters_are_escaped(tmp_path, capsys):
    Progress(0, 1, tmp_path / "log").say("resumed from a\x1b[2Jb")
    assert (tmp_path / "log").read_text() == capsys.readouterr().out == "resumed from a\\x1b[2Jb\n"


@pytest.fixture
def saved(monkeypatch, now):
    """Positions of the checkpoints of a loop whose batches, a minute each, change nothing."""
    positions = []

    def save(folder, state, position, sums):
        positions.append(position)
        return Path("run", "checkpoints", position.name)

    def iteration(*_):
        now.seconds += 60
        return None

    batch = SimpleNamespace(x=[1], mask=None)
    for name, replacement in (("prepare_epoch", lambda *_, **__: None), ("_save", save), ("_iteration", iteration),
                              ("order_of_epoch", lambda *_: np.zeros((5, 1))), ("_latent_statistics", lambda _: {}),
                              ("batches", lambda config, state, order, start: [([0], batch)] * (5 - start.step))):
        monkeypatch.setattr(loop, name, replacement)
    monkeypatch.setattr(Sums, "add", lambda self, *_: self)
    monkeypatch.setattr(Sums, "means", lambda self: {})
    return positions


def train(minutes: float, interrupt=nullcontext(SimpleNamespace(received=False)), processes=ProcessGroup(),
          start: loop.Position = loop.Position(0, 0)) -> list[tuple]:
    """Returns what Progress.epoch is given after each epoch, without the record."""
    config = cfg.changed(cfg.Config(), training={"epochs": 3, "checkpoint_minutes": minutes})
    folder = SimpleNamespace(config=config, log_metrics=lambda _: None)
    ended: list[tuple] = []
    quiet = SimpleNamespace(step=lambda *_: None, epoch=lambda record, *steps: ended.append(steps))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dgn.interrupts.Deferred", lambda: interrupt)
        loop.run_epochs(folder, SimpleNamespace(processes=processes), quiet, start)
    return ended


def test_the_steps_of_an_earlier_process_are_reported_with_their_epoch(saved):
    assert train(0, start=loop.Position(1, 3)) == [(5, 3), (5, 0)]


@pytest.mark.parametrize("minutes, expected", [
    (0, [(3, 0)]), (2, [(0, 2), (0, 4), (1, 1), (1, 3), (2, 0), (2, 2), (2, 4), (3, 0)]),
    (4.5, [(1, 0), (2, 0), (3, 0)]), (7, [(1, 2), (2, 4), (3, 0)])])
def test_checkpoints_are_written_within_an_epoch(minutes, expected, saved):
    """After so many minutes without one, at the end of an epoch, too; checkpoint_every is 10 epochs."""
    train(minutes)
    assert saved == expected


class Two(ProcessGroup):
    """The second of two processes. first: the requests of the first one; sent: numbers of values that were sent."""

    def __init__(self, first: list[list[float]]) -> None:
        self.rank, self.size, self.first, self.sent = 1, 2, iter(first), []

    def gather_values(self, values):
        values = list(values)
        self.sent.append(len(values))
        return np.array([next(self.first) if len(values) == 2 else [0.0] * len(values), values], np.float64)


def test_the_first_process_decides_in_the_collective_of_ctrl_c(saved):
    """Its own clock would be due after every batch."""
    processes = Two([[0, 0], [0, 1], [0, 0], [0, 0], [0, 0], [1, 0]])
    with pytest.raises(Interrupted):
        train(0.01, processes=processes)
    assert saved == [(0, 2), (1, 1)] and processes.sent.count(2) == 6
