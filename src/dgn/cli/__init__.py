"""One module a subcommand: its arguments, and the wiring of the parts that do the work."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """An argument that must be a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def natural(text: str) -> int:
    """An argument that must be a whole number of at least 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def add_device(parser: argparse.ArgumentParser) -> None:
    """The --device argument."""
    parser.add_argument("--device", default="auto", help="auto, Ascend, GPU or CPU (default %(default)s)")
