"""Output for the user that never ends a run: standard output may be closed, full, or unable to encode a character."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

log = logging.getLogger(__name__)

DELAY = 2.0  # seconds before a bar is shown
INTERVAL = 60.0  # seconds between lines of progress where there is no bar
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def prepare() -> None:
    """Characters that the terminal cannot show are printed as escapes from now on. Standard streams that are closed
    become /dev/null: a file opened later would get their number, and what is printed would be written to it."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number
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


def progress(iterable: Iterable[Any] | None = None, unit: str = "step", **options: Any) -> Any:
    """A tqdm bar on a terminal or in a notebook, shown if the work takes longer than DELAY seconds; elsewhere one that
    logs a line every INTERVAL seconds: `checking: 4000 of 200000 files, 12:30 left`. unit: of the items, whose number
    is known; options: tqdm's."""
    from tqdm.auto import tqdm  # here: the program's help does without its import

    if "ipykernel" in sys.modules or sys.stderr is not None and sys.stderr.isatty():
        return tqdm(iterable, unit=unit, delay=DELAY, dynamic_ncols=True, **options)
    units = f"x {unit}" if " " in unit else f"{unit}s"  # such as 256 images
    return tqdm(iterable, **{**options, "leave": False}, file=_Log(), position=0, miniters=1, smoothing=0,
                delay=INTERVAL, mininterval=INTERVAL, maxinterval=INTERVAL,
                bar_format=f"{{desc}}: {{n_fmt}} of {{total_fmt}} {units}, {{remaining}} left{{postfix}}")


class _Log(io.TextIOBase):
    """A file whose text goes to the log."""

    def write(self, text: str) -> int:
        if text.strip():
            log.info("%s", text.strip())
        return len(text)


def clock(seconds: float) -> str:
    """Seconds as text: 45 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def finish() -> None:
    """Flushes standard output, or drops it if the pipe is closed, so that Python exits cleanly."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        sys.stdout = None  # type: ignore[assignment]
