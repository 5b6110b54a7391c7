"""Ctrl-C (SIGINT, during a training also SIGTERM and SIGHUP).

While the program starts, it exits at once: a KeyboardInterrupt would print a traceback, and one while MindSpore's
libraries are imported would abort the process with a dump. During a training it sets a flag, so that the training saves
a checkpoint after the present batch. Otherwise it raises KeyboardInterrupt, also while MindSpore compiles.

Imported before everything else, so it imports only what Python itself has loaded.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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


@contextmanager
def raising() -> Iterator[None]:
    """Ctrl-C within the block and after it raises KeyboardInterrupt, also if the block compiles a graph.

    MindSpore replaces the handler of SIGINT when it compiles, and does not put it back: its own one sends SIGTERM to
    the process, which ends it. Within the block SIGTERM therefore raises KeyboardInterrupt, unless it is ignored or
    handled otherwise; after it, Python's handler of SIGINT is set again. MindSpore's threads may set theirs once more,
    shortly after the first graph of a process has run; the next block replaces it.
    """
    received = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal received
        received = True
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # the only one that receives signals
        yield
        return
    free = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if free:
        signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except Exception:
        if not received:
            raise
    finally:
        if free:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if (handler := signal.getsignal(signal.SIGINT)) is not None:
            signal.signal(signal.SIGINT, handler)
    if received:  # MindSpore has turned the exception into another one
        raise KeyboardInterrupt


class Deferred:
    """Within the block the first SIGINT, SIGTERM or SIGHUP only sets `received`; a second one acts at once.

    SIGHUP stays ignored if the parent process ignored it (nohup).
    """

    def __init__(self) -> None:
        self.received = False
        signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        if signals[signal.SIGHUP] is signal.SIG_IGN:
            del signals[signal.SIGHUP]
        self._previous = signals

    def __enter__(self) -> Deferred:
        with suppress(ValueError):  # not the main thread, which is the only one that receives signals
            for number in self._previous:
                signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ValueError):
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: object) -> None:
        self.received = True
        self.__exit__()
