"""The ways in which dgn stops on purpose; each message is written for the user."""

from __future__ import annotations

from pathlib import Path


class UserError(Exception):
    """The input is wrong (config, files, arguments); the message says what, where, and what would be right. Exit code
    2."""

    exit_code = 2


class Unreadable(UserError):
    """A sample cannot be read: its file is damaged, disappeared, or the disk failed. May be raised during a
    training."""


class RunFailed(Exception):
    """A correct input led to a failure (a chain diverged, the disk is full). Exit code 1."""

    exit_code = 1


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type if it has none: MindSpore's messages have many."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Interrupted(Exception):
    """Ctrl-C (or SIGTERM): the position is saved in `checkpoint`."""

    def __init__(self, checkpoint_path: Path) -> None:
        super().__init__(str(checkpoint_path))
        self.checkpoint = checkpoint_path
