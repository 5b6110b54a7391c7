"""The exceptions that dgn raises on purpose; each message is written for the user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

NAMED = 5  # items that a message lists


class UserError(Exception):
    """The input is invalid (config, files, arguments); the message says what, where, and how to correct it. Exit code
    2."""

    exit_code = 2


class Unreadable(UserError):
    """A sample cannot be read: its file is damaged or has disappeared, or the disk failed. It may be raised during a
    training.

    fault: what is wrong. advice: what to do, unless a training is running; may be empty.
    """

    def __init__(self, fault: str, advice: str = "") -> None:
        super().__init__(f"{fault}; {advice}" if advice else fault)
        self.fault, self.advice = fault, advice


class RunFailed(Exception):
    """A failure with valid input (a chain diverged, the disk is full). Exit code 1."""

    exit_code = 1


def first_line(error: Exception) -> str:
    """The first line of an error's message without number and path, or its type if it has none: MindSpore's messages
    have many lines."""
    return (getattr(error, "strerror", None) or str(error).strip() or type(error).__name__).splitlines()[0]


def listed(items: Sequence[str], separator: str = ", ", last: str = " and ") -> str:
    """The first NAMED items as text, and how many more there are."""
    more = f"{last}{len(items) - NAMED} more" if len(items) > NAMED else ""
    return separator.join(items[:NAMED]) + more


def dataset_cause(error: Exception) -> str:
    """The line with the cause in an error of mindspore.dataset; its first lines only refer to it."""
    causes = [line.split("ERROR]")[-1].strip(" .") for line in str(error).splitlines() if "ERROR]" in line]
    return next(filter(None, causes), first_line(error))


class Interrupted(KeyboardInterrupt):
    """The training was stopped by SIGINT (Ctrl-C), SIGTERM or SIGHUP. checkpoint: folder of the saved state."""

    def __init__(self, checkpoint_path: Path) -> None:
        super().__init__(f"stopped and saved {checkpoint_path}; dgn.resume({str(checkpoint_path.parents[1])!r}) "
                         "continues the training")
        self.checkpoint = checkpoint_path


def check_opened(run: object) -> None:
    """Raises UserError for a path instead of a Run."""
    if isinstance(run, (str, Path)):
        raise UserError(f"this function takes a Run, not the path {str(run)!r}; dgn.load opens it")
