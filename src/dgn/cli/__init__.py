"""The subcommands of `python -m dgn`, one module each."""

from __future__ import annotations

import argparse
import os
from typing import Any

from dgn.config import LARGEST, Data
from dgn.errors import UserError

# settings of the argument --prior of commands that draw samples: Run.sample's, "fitted" without it
PRIOR: dict[str, Any] = {
    "action": "store_const", "const": "prior", "default": "fitted",
    "help": "draw samples from the prior (default: from a Gaussian fitted to the latents of the training)"}


def positive(text: str) -> int:
    """An argument that must be an integer of at least 1."""
    return _integer(text, 1)


def natural(text: str) -> int:
    """An argument that must be an integer of at least 0."""
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    if not (text.isdecimal() and len(text) < 19 and least <= int(text) <= LARGEST):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from {least} to {LARGEST}")
    return int(text)


def user_path(text: str) -> str:
    """An argument that is a path; its ~ is expanded."""
    return os.path.expanduser(text)


def above_zero(text: str) -> float:
    """An argument such as the range of a traversal: a number above 0 and below 1000."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and below 1000")
    return value


def pair(text: str) -> tuple[float, float]:
    """An argument of two numbers, such as 0.3,0.4."""
    try:
        first, second = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not two numbers with a comma between, such as 0.3,0.4") from None
    return first, second


def crop(text: str) -> tuple[int, int, int, int] | None:
    """An argument left,top,right,bottom in pixels."""
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not left,top,right,bottom in whole pixels, such as 17,36,72,91")
    left, top, right, bottom = map(int, parts)
    try:
        return Data(crop=(left, top, right, bottom)).crop  # checked here, before MindSpore is imported
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_run(parser: argparse.ArgumentParser, packaged: bool = True) -> None:
    """The run folder of commands on a finished training; packaged: whether they also take packaged models."""
    parser.add_argument("run_folder", metavar="RUN", type=user_path,
                        help="run folder of a training" + packaged * ", or a packaged model: faces, clips")


def add_config(parser: argparse.ArgumentParser, help: str, required: bool = False) -> None:
    """--config and --set; help: of --config."""
    parser.add_argument("--config", metavar="YAML", type=user_path, required=required, help=help)
    parser.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], dest="settings",
                        help="change one value of the config; may be repeated (all keys: src/dgn/config.py)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """The --device argument."""
    parser.add_argument("--device", default="auto", help="auto, Ascend, GPU or CPU (default %(default)s)")


def add_corrupt(parser: argparse.ArgumentParser) -> None:
    """The --corrupt argument of commands that read new images."""
    parser.add_argument("--corrupt", choices=["error", "skip"], default="error",
                        help="skip: leave out files of --images that cannot be read (default %(default)s)")


def add_data(parser: argparse.ArgumentParser) -> None:
    """The --data argument of commands that read a run's images."""
    parser.add_argument("--data", metavar="PATH", type=user_path,
                        help="new location of the run's images, if they were moved")
