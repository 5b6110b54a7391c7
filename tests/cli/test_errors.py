"""What `dgn` prints of an error: one line, and the traceback only on request."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from dgn import __main__ as program
from dgn.errors import RunFailed, UserError


def broken() -> None:
    try:
        try:
            {}["the first cause"]
        except KeyError:
            raise ValueError("the second cause") from None
    except ValueError:
        raise UserError("wrong input") from None


def fails(error: Exception):
    def command(*_) -> None:
        raise error
    return command


@pytest.mark.parametrize("value", ["", "0", "1"])
def test_causes_are_printed_on_request(monkeypatch, capsys, value):
    monkeypatch.setattr(program, "check_inputs", lambda args: broken())
    monkeypatch.setenv("DGN_DEBUG", value)
    assert program.main(["results", "x"]) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == "dgn: wrong input"
    if value == "1":
        assert "KeyError: 'the first cause'" in said and "ValueError: the second cause" in said
        assert "in broken" in said and "dgn.errors.UserError: wrong input" in said
    else:
        assert len(said.splitlines()) == 1


def test_the_exit_code_stays_with_a_traceback(monkeypatch, capsys):
    monkeypatch.setenv("DGN_DEBUG", "1")
    for error, code in ((RunFailed("x"), 1), (UserError("x"), 2), (ImportError("x"), 2), (MemoryError(), 1)):
        monkeypatch.setattr(program, "check_inputs", fails(error))
        assert program.main(["results", "x"]) == code
        assert "Traceback" in capsys.readouterr().err


OTHER_VERSION = "dgn does not support the installed version of other: "


@pytest.mark.parametrize("line, said", [
    ("import absent", "a required package cannot be imported: No module named 'absent'; dgn doctor shows"),
    ("raise ImportError('lib.so.1: cannot open')", "cannot be imported: lib.so.1: cannot open; dgn doctor shows"),
    ("from other import name", f"{OTHER_VERSION}cannot import name 'name'"),
    ("import other.part", f"{OTHER_VERSION}No module named 'other.part'")])
def test_a_package_of_another_version_differs_from_a_missing_one(line, said, monkeypatch):
    monkeypatch.setitem(sys.modules, "other", ModuleType("other"))
    with pytest.raises(ImportError) as raised:
        exec(line)
    assert said in program.import_failure(raised.value)
