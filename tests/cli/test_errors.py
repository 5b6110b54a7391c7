"""What `dgn` prints of an error: one line, and the traceback only on request."""

from __future__ import annotations

import argparse
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


@pytest.mark.parametrize("line, said", [
    ("train --config missing.yaml", "missing.yaml"), ("train --set model.z_ap=3", "did you mean 'z_app'"),
    ("train --resume --output nowhere", "nowhere holds no run"), ("train --output full", "full is not empty"),
    ("train --output faces", "faces is the name of a packaged model"), ("train --resume", "--output is needed"),
    ("experiment baselines --config missing.yaml", "missing.yaml"), ("evaluate nowhere", "packaged models: clips, f"),
    ("experiment views nowhere", "nowhere holds no run"), (f"infer {'x' * 300} --images x", "holds no run"),
    ("export nowhere/run", "nowhere/run holds no run")])
def test_wrong_arguments_are_found_before_mindspore_is_imported(line, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("a file of the user")
    monkeypatch.setattr("dgn.device.import_mindspore", fails(AssertionError("MindSpore would be imported")))
    assert program.main(line.split()) == 2 and said in capsys.readouterr().err


@pytest.mark.parametrize("command", program.COMMANDS)
def test_no_option_of_a_command_hides_its_functions(command):
    """argparse stores options and functions of the command in one namespace."""
    parsers = [program.parser(command)]
    for parser in parsers:
        for action in parser._actions:
            assert action.dest not in ("run", "check_arguments")
            if isinstance(action, argparse._SubParsersAction):
                parsers += [sub for name, sub in action.choices.items() if parser is not parsers[0] or name == command]
