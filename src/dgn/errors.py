"""The two ways in which dgn stops on purpose; each carries a message written for the person at the keyboard."""

from __future__ import annotations


class UserError(Exception):
    """The input is wrong (config, files, arguments): say what, where, and what would be right. Exit code 2."""

    exit_code = 2


class RunFailed(Exception):
    """A correct start came to a bad end (a chain diverged, the disk is full). Exit code 1."""

    exit_code = 1


class Interrupted(Exception):
    """Ctrl-C (or SIGTERM): the position is saved in `checkpoint`."""

    def __init__(self, checkpoint_path) -> None:
        super().__init__(str(checkpoint_path))
        self.checkpoint = checkpoint_path
