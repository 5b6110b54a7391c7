"""Progress: a bar on a terminal and in a notebook, after a while; elsewhere lines."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from dgn import console


@pytest.mark.parametrize(("terminal", "notebook"), [(False, False), (True, False), (False, True)])
def test_a_bar_is_shown_on_a_terminal_and_in_a_notebook(terminal, notebook, monkeypatch, capsys):
    monkeypatch.setattr(console, "DELAY", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    assert list(console.progress(range(3), unit="call", desc="inference")) == [0, 1, 2]
    assert ("inference: 100%" in capsys.readouterr().err) == (terminal or notebook)


def test_short_work_shows_no_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(console.progress(range(3), leave=False)) == [0, 1, 2] and capsys.readouterr().err.strip() == ""


@pytest.fixture
def now(monkeypatch, caplog):
    """A clock that the test sets, where there is no terminal."""
    caplog.set_level("INFO", "dgn")
    clock = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr("tqdm.std.time", lambda: clock.seconds)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    return clock


def test_off_a_terminal_a_line_a_minute_is_logged(now, caplog):
    for _ in console.progress(range(10), desc="checking", unit="file"):
        now.seconds += 25
    with console.progress(total=1000, unit="image") as bar:
        for seconds in (59, 1, 1):
            now.seconds += seconds
            bar.set_postfix_str("energy 3.5", refresh=False)
            bar.update(100)
    assert [record.getMessage() for record in caplog.records] == [
        "checking: 3 of 10 files, 02:55 left", "checking: 6 of 10 files, 01:40 left",
        "checking: 9 of 10 files, 00:25 left", "200 of 1000 images, 04:00 left, energy 3.5"]


def test_of_short_work_and_of_units_that_are_batches(now, caplog):
    assert list(console.progress(iter("ab"))) == ["a", "b"] and not caplog.records
    for _ in console.progress(iter("abc"), total=3, unit="256 images"):
        now.seconds += 30
    assert [record.getMessage() for record in caplog.records] == ["2 of 3 x 256 images, 00:30 left"]


def test_the_time_left_leaves_out_what_was_done_before(now, caplog):
    with console.progress(total=1000, initial=900, unit="image") as bar:
        now.seconds += 90
        bar.update(10)
    assert [record.getMessage() for record in caplog.records] == ["910 of 1000 images, 13:30 left"]


def test_an_array_is_iterated():
    assert list(console.progress(np.arange(3))) == [0, 1, 2]


def test_times_are_readable():
    assert [console.clock(s) for s in (3, 89, 600, 9000)] == ["3 s", "89 s", "10 min", "2.5 h"]
