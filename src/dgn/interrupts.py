"""Ctrl-C while the program starts: it exits at once. A KeyboardInterrupt would print a traceback, and one while
MindSpore's libraries are imported would abort the process with a dump.

Imported before everything else, so it imports only what Python itself has loaded.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def is_program() -> bool:
    """Whether the package is imported by `python -m dgn` or by the installed command dgn."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # argv has the module's name only after its package is imported
        words = sys.orig_argv
        return "-mdgn" in words or ("-m" in words and words[words.index("-m") + 1] == "dgn")
    return os.path.basename(program) == "dgn"


def exit_at_once() -> None:
    """Ctrl-C exits with code 130 from now on, unless it is ignored or handled otherwise."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _exit)


@contextmanager
def exiting() -> Iterator[None]:
    """Ctrl-C within the block exits at once; after it, Ctrl-C raises KeyboardInterrupt."""
    try:
        exit_at_once()
    except ValueError:  # not the main thread, which is the only one that receives signals
        yield
        return
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _exit:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _exit(number: int, frame: object) -> None:
    os.write(2, b"dgn: interrupted\n")
    os._exit(130)
