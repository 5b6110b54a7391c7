"""The parts of an experiment's command, shared by the modules that define them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any, Callable, Mapping, NamedTuple


class Experiment(NamedTuple):
    """One experiment of `dgn experiment`."""

    help: str  # one line in the list of experiments
    description: str  # of `dgn experiment NAME --help`
    add_arguments: Callable[[ArgumentParser], None]  # its options; --device is added for all
    run: Callable[[Namespace], None]  # called after dgn.device.start; imports the library inside


def report(summary: str, result: Mapping[str, Any]) -> None:
    """Prints the summary of an experiment's result and the paths of its pictures."""
    print(summary)
    for path in result["pictures"]:
        print(path)
