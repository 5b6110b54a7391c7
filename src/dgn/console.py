"""Output for the user that never ends a run: standard output may be closed, full, or unable to encode a character."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any, TextIO

DELAY = 2.0  # seconds
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def prepare() -> None:
    """Characters that the terminal cannot show are printed as escapes from now on."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def escape_controls(text: str) -> str:
    """A text with control characters, which a name of a file may have, as escapes; not line breaks and tabs."""
    return text.translate(_ESCAPES)


class Formatter(logging.Formatter):
    """Formats log messages with control characters as escapes."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_controls(super().format(record))


def say(line: str, stream: TextIO | None = None) -> bool:
    """Prints a line, control characters as escapes (default: to standard output); returns False if it cannot."""
    stream = stream or sys.stdout
    if stream is None:  # closed before the program started
        return False
    try:
        print(escape_controls(line), file=stream, flush=True)
    except (OSError, ValueError):  # a closed pipe, a full disk, a closed file
        return False
    return True


def progress(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """A tqdm bar (options: its own) on a terminal or in a notebook, shown if the work takes longer than DELAY seconds;
    elsewhere only the iteration."""
    from tqdm.auto import tqdm  # here: the program's help does without its import

    visible = "ipykernel" in sys.modules or sys.stderr is not None and sys.stderr.isatty()
    return tqdm(iterable, disable=not visible, delay=DELAY, dynamic_ncols=True, **options)


def finish() -> None:
    """Flushes standard output, or drops it if the pipe is closed, so that Python exits cleanly."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        sys.stdout = None  # type: ignore[assignment]
