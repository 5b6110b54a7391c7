"""Runs `dgn` in other processes: in several by MindSpore's msrun, or in one; their output goes to files."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dgn import machine
from dgn.errors import RunFailed

LIMIT, GRACE = 3600.0, 20.0  # seconds for several processes, as a device may hang; for their end after an interrupt


def msrun(count: int, words: Sequence[str], logs: Path | None = None) -> None:
    """Runs `dgn` with these arguments in `count` processes of one thread each.

    logs: folder for the output of msrun, the scheduler and every process (default: it is not kept). Raises RunFailed
    with the first message of a process that failed, or if they take longer than LIMIT seconds.
    """
    launcher = machine.msrun()
    if launcher is None:
        raise RunFailed("several processes need MindSpore's msrun, which is neither next to this Python nor on PATH")
    with tempfile.TemporaryDirectory() as scratch, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        python = Path(scratch) / "python"  # msrun starts the program of this name on PATH
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        python.chmod(0o755)
        output = logs or Path(scratch)
        code = run_logged([str(launcher), f"--worker_num={count}", f"--local_worker_num={count}",
                           "--master_addr=127.0.0.1", f"--master_port={port}", "--join=True", f"--log_dir={output}",
                           str(Path(__file__).parents[1] / "__main__.py"), *words], output / "msrun.log",
                          PATH=f"{scratch}{os.pathsep}{os.environ['PATH']}", DGN_THREADS="1")
        if code:
            lines = [line for log in sorted(output.glob("worker_*.log")) for line in read_log(log)]
            messages = ([line for line in lines if line.startswith("dgn: ")]
                        or read_log(output / "msrun.log")[-1:] or ["no message"])
            raise RunFailed(f"{count} processes failed: {messages[0].removeprefix('dgn: ')}"
                            + (f"; their output is in {logs}" if logs else ""))


def run_logged(command: Sequence[str], log: Path, **variables: str) -> int:
    """Runs a command with this process's modules and its output in a file; returns its exit code. If it takes longer
    than LIMIT seconds it is interrupted, by which msrun ends its processes, and RunFailed is raised."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **variables}
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT,
                                   start_new_session=True)  # with a group of its own, which can be killed
    try:
        return process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"no end of {Path(command[0]).name} within {LIMIT:g} s; its output is in {log}") from None
    finally:
        _end(process)


def read_log(path: Path) -> list[str]:
    """The lines of a log, which may hold bytes of other programs that are no UTF-8."""
    return path.read_text(encoding="utf-8", errors="replace").strip().splitlines()


def _end(process: subprocess.Popen) -> None:
    """Interrupts a process that still runs, and kills it with those that it started if that does not help."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
