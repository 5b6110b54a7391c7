"""Output for the user that never ends a run: standard output may be closed, full, or unable to encode a character."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TextIO

log = logging.getLogger(__name__)

DELAY = 2.0  # seconds before a bar is shown
INTERVAL = 60.0  # seconds between lines of progress where there is no bar
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
    elsewhere an object with the same use that logs a line every INTERVAL seconds."""
    if not ("ipykernel" in sys.modules or sys.stderr is not None and sys.stderr.isatty()):
        return _Lines(iterable, **options)
    from tqdm.auto import tqdm  # here: the program's help does without its import

    return tqdm(iterable, delay=DELAY, dynamic_ncols=True, **options)


class _Lines:
    """Progress as lines of the log, `checking: 4000 of 200000 files, 12 min left`. Of tqdm's options it takes total,
    unit, desc and initial, the number that was done before: the time left follows from the rest."""

    def __init__(self, iterable: Iterable[Any] | None = None, total: int | None = None, unit: str = "step",
                 desc: str = "", initial: int = 0, **_: Any) -> None:
        self.iterable = iterable
        self.total = len(iterable) if total is None and isinstance(iterable, Sized) else total
        self.unit = f"x {unit}" if " " in unit else f"{unit}s"  # such as 256 images
        self.title, self.postfix = f"{desc}: " if desc else "", ""
        self.done, self.initial, self.began = initial, initial, time.monotonic()
        self.last_printed = self.began

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        for item in () if self.iterable is None else self.iterable:
            yield item
            self.update()

    def set_postfix_str(self, text: str) -> None:
        """Text for the end of the next line."""
        self.postfix = f", {text}"

    def update(self, count: int = 1) -> None:
        """Adds `count` to what is done."""
        self.done += count
        now = time.monotonic()
        if now - self.last_printed < INTERVAL:
            return
        self.last_printed = now
        left = ""
        if self.total:
            left = f", {clock((now - self.began) / (self.done - self.initial) * (self.total - self.done))} left"
        log.info("%s%d%s %s%s%s", self.title, self.done, f" of {self.total}" if self.total else "", self.unit, left,
                 self.postfix)


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
