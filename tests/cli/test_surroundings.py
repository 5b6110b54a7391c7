"""Closed outputs, terminals without Unicode, variables of other launchers, interrupted imports."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dgn import console, recipe
from dgn.__main__ import main
from dgn.cli.train import default_output
from dgn.errors import UserError
from dgn.run_folder import RunFolder
from dgn.training.progress import Progress
from tests.training.tiny import SETTINGS, arguments

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def dgn(line: list, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "dgn", *map(str, line)], text=True, stderr=subprocess.PIPE,
                            **{"env": ENVIRONMENT, "stdout": subprocess.PIPE, **options})


@pytest.mark.parametrize("kind", ["closed pipe", "full disk"])
def test_a_training_goes_on_when_nobody_reads_its_output(kind, images, tmp_path):
    """`train | head -1`, and standard output on a full disk: the training ends, and train.log has every line."""
    line = arguments(images, tmp_path / "run", 3, "--set", "model.kind=plain")  # of the models that compile fastest
    if kind == "full disk":
        with open("/dev/full", "w") as full:
            process = dgn(line, stdout=full)
            _, errors = process.communicate(timeout=200)
    else:
        process = dgn(line)
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(timeout=200)
    assert process.returncode == 0 and "Traceback" not in errors, errors
    assert "epoch: 3 step: 2" in (tmp_path / "run" / "train.log").read_text()
    assert (tmp_path / "run" / "checkpoints" / "epoch_00003").is_dir()


def test_closed_standard_streams_become_dev_null():
    """A file that is opened later must not get the number of one, or what MindSpore prints is written to it."""
    program = ("import os, sys; from dgn import console, device; console.prepare(); file = open(sys.argv[1], 'w');"
               "file.write(' '.join(os.readlink(f'/proc/self/fd/{k}') for k in range(3)))\n"
               "with device.silenced(): os.write(1, b'lost')")
    read, write = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", program, f"/proc/self/fd/{write}"], env=ENVIRONMENT,
                               pass_fds=[write], preexec_fn=lambda: [os.close(k) for k in range(3)])
    os.close(write)
    with open(read) as told:
        assert told.read() == "/dev/null /dev/null /dev/null"
    assert process.wait(timeout=60) == 0


def test_a_command_whose_reader_has_gone_ends_with_141(monkeypatch):
    """Such as `dgn results faces | true`: with the code of a program that SIGPIPE ends."""
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    assert main(["results", "faces"]) == 141


def test_progress_without_a_standard_output(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdout", None)
    progress = Progress(0, 1, tmp_path / "log")
    progress.say("a line")
    progress.close()
    assert (tmp_path / "log").read_text() == "a line\n"


def test_characters_that_a_terminal_lacks_are_escaped(tmp_path, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["evaluate", str(tmp_path / "caf\u00e9")]) == 2
    terminal.flush()
    assert b"caf\\xe9 holds no run" in terminal.buffer.getvalue()


def test_control_characters_of_a_name_are_escaped(tmp_path, capsys):
    """In messages, what is printed and what is logged: tabs and line breaks alone remain."""
    name = "a\x1b[31m\x9b\r\x7f\té"
    shown = "a\\x1b[31m\\x9b\\x0d\\x7f\té"
    assert main(["evaluate", str(tmp_path / name)]) == 2
    console.say(name)
    said = capsys.readouterr()
    assert f"{shown} holds no run" in said.err and said.out == f"{shown}\n"
    record = logging.LogRecord("dgn", logging.WARNING, "", 0, "%s\n", (name,), None)
    assert console.Formatter("%(levelname)s: %(message)s").format(record) == f"WARNING: {shown}\n"


def test_variables_of_another_launcher_are_named_within_seconds(images, tmp_path):
    """A stale MS_ROLE: what is waited for is printed, and Ctrl-C ends it."""
    stale = {**ENVIRONMENT, "MS_ROLE": "MS_WORKER"}
    process = dgn(arguments(images, tmp_path / "run", 1), env=stale)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and "MS_ROLE is MS_WORKER" in errors and "MS_SCHED_HOST" in errors
    stale.update(MS_WORKER_NUM="1", MS_SCHED_HOST="127.0.0.1", MS_SCHED_PORT="59999", MS_NODE_ID="0")
    process = dgn(arguments(images, tmp_path / "run", 1), env=stale)
    for line in process.stderr:
        if line.startswith("dgn: "):
            break
    assert "waiting for the scheduler" in line and "MS_SCHED_PORT=59999" in line
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode in (130, -signal.SIGINT)


@pytest.mark.parametrize("module", ["dgn.machine", "dgn.config", "mindspore.common.dtype"])
def test_ctrl_c_while_the_program_starts_ends_cleanly(module):
    """Interrupted at once after a module was imported: the first is one of the package's own.
    (Python's own start, before the package is imported, is not covered.)"""
    process = subprocess.Popen([sys.executable, "-X", "importtime", "-m", "dgn", "evaluate", "faces"],
                               text=True, stderr=subprocess.PIPE, env=ENVIRONMENT,  # a job in the background ignores it
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    for line in process.stderr:
        if line.rpartition("|")[2].strip() == module:
            break
    process.send_signal(signal.SIGINT)
    errors = "".join(line for line in process.stderr.readlines() if not line.startswith("import time:"))
    assert process.wait(timeout=60) == 130 and errors == "dgn: interrupted\n", errors


def test_the_default_output_is_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_output("config/faces_demo.yaml") == "runs/faces_demo" and default_output(None) == "runs/default"
    for name in ("faces_demo", "faces_demo-2"):
        (Path("runs") / name).mkdir(parents=True)
    assert default_output("config/faces_demo.yaml") == "runs/faces_demo-3"


def test_of_two_processes_one_creates_a_run(tmp_path):
    """The other one is refused, before it writes anything into the folder."""
    config, both = recipe.load(None, SETTINGS), threading.Barrier(2)

    def create(path: Path) -> bool:
        both.wait()
        try:
            return bool(RunFolder.create(path, config))
        except UserError as refused:
            assert re.search("another process is creating a run|already holds a run|is not empty", str(refused))
            return False

    with ThreadPoolExecutor(2) as threads:
        for k in range(20):
            assert sorted(threads.map(create, [tmp_path / f"run{k}"] * 2)) == [False, True]


def test_results_of_two_processes_are_kept(tmp_path):
    run = RunFolder.create(tmp_path / "run", recipe.load(None, SETTINGS))
    program = ("import sys; from pathlib import Path; from dgn.run_folder import RunFolder\n"
               "run = RunFolder.open(Path(sys.argv[1]))\n"
               "for k in range(40): run.add_results(**{f'{sys.argv[2]}{k}': k})")
    processes = [subprocess.Popen([sys.executable, "-c", program, str(run.path), name], env=ENVIRONMENT)
                 for name in "ab"]
    assert [process.wait(timeout=100) for process in processes] == [0, 0]
    assert run.read_results() == {f"{name}{k}": k for name in "ab" for k in range(40)}


def test_a_run_with_an_empty_or_newer_config_is_refused(tmp_path, capsys):
    config = RunFolder.create(tmp_path / "run", recipe.load(None, SETTINGS)).path / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("training:", "training:\n  warm_up: 3"))
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert "unknown key training.warm_up" in message and "another version of dgn" in message
    config.write_text("")
    assert main(["evaluate", str(tmp_path / "run")]) == 2 and "config.yaml is empty" in capsys.readouterr().err


def test_the_locale_is_named_when_it_lacks_a_name(tmp_path, images):
    ascii_only = {**ENVIRONMENT, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = dgn(arguments(images, tmp_path / "é", 1), env=ascii_only)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 2 and "LC_ALL=C.UTF-8" in errors and "Traceback" not in errors


def test_an_allocation_that_fails_is_one_line(monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("\n- Memory not enough:\nMemory isn't enough and alloc failed, alloc size: 16B.")

    for line, advice in ((["results", "nowhere"], ""), (["train"], "; a smaller training.batch_size")):
        monkeypatch.setattr(f"dgn.cli.{line[0]}.run", fail)
        assert main(line) == 1
        assert capsys.readouterr().err.startswith(f"dgn: not enough memory{advice or chr(10)}")
