"""Origin of a result: the command, the version, the commit and the time."""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dgn import device

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
    """What is stored beside a result: versions of the software and hardware, and the provenance."""
    return {"versions": device.versions(), "provenance": provenance(seconds)}


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
