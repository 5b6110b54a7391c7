"""Software, hardware and command, stored with each result."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from dgn import device, machine

START = time.monotonic()  # of the program: the package imports this module early
TIMEOUT = 10  # seconds for git


def provenance(seconds: float | None = None) -> dict[str, Any]:
    """The origin to record with every number and picture.

    seconds: duration of the work (default: time since the package was imported).
    Returns command, dgn (the version), seconds, and commit if the package runs from a git repository.
    """
    from dgn import __version__

    source = commit()
    return {"command": command(), "dgn": __version__, **({"commit": source} if source else {}),
            "seconds": round(time.monotonic() - START if seconds is None else seconds, 1)}


def origin(seconds: float | None = None) -> dict[str, Any]:
    """The versions with the device in use, and the provenance, to store with a result. seconds: see provenance."""
    return {"versions": {**versions(), "device": device.current()}, "provenance": provenance(seconds)}


def versions() -> dict[str, str]:
    """Versions of the software, and the processor."""
    import mindspore as ms

    from dgn import __version__

    return {"dgn": __version__, "mindspore": ms.__version__, "numpy": metadata.version("numpy"),
            "python": platform.python_version(),
            "processor": f"{machine.cpuinfo('model name') or platform.machine()} ({os.cpu_count()} cores)"}


def software() -> str:
    """The versions that must be equal in all processes of a training, as text."""
    known, cann = versions(), machine.cann() if device.current() == "Ascend" else None
    shared = {name: known[name] for name in ("dgn", "mindspore", "numpy")}
    if cann:
        shared["CANN"] = cann.version
    return ", ".join(f"{name} {version}" for name, version in shared.items())


def command() -> str:
    """The command line of this program, quoted for a shell."""
    path, *arguments = sys.argv or [""]
    program = Path(path or "python")
    words = ["python", "-m", program.parent.name] if program.name == "__main__.py" else [program.name]
    # a file name that is not UTF-8 has lone surrogates, which neither JSON nor PNG can hold
    return shlex.join([*words, *arguments]).encode("utf-8", "backslashreplace").decode("utf-8")


@functools.cache
def commit() -> str | None:
    """The git commit of this package's source, followed by -dirty if tracked files differ from it; None without one."""
    repository = Path(__file__).resolve().parents[2]  # of src/dgn/provenance.py
    if not (repository / ".git").exists():
        return None
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    line = ["git", "-C", str(repository), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(line, capture_output=True, text=True, timeout=TIMEOUT,
                                env={**environment, "GIT_OPTIONAL_LOCKS": "0"})
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
