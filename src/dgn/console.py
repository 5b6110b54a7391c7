"""Output for the user that never ends a run: standard output may be closed, full, or unable to encode a character."""

from __future__ import annotations

import sys
from typing import TextIO


def prepare() -> None:
    """Characters that the terminal cannot show are printed as escapes from now on."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def say(line: str, stream: TextIO | None = None) -> bool:
    """Prints a line (default: to standard output); returns False if nobody can receive it."""
    stream = stream or sys.stdout
    if stream is None:  # closed before the program started
        return False
    try:
        print(line, file=stream, flush=True)
    except (OSError, ValueError):  # a closed pipe, a full disk, a closed file
        return False
    return True


def finish() -> None:
    """Flushes standard output; what nobody reads is dropped, so that the interpreter does not fail at its exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        sys.stdout = None  # type: ignore[assignment]
