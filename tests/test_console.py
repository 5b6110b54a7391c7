"""Progress bars: on a terminal and in a notebook, after a while."""

from __future__ import annotations

import sys
from types import ModuleType

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
