"""The paper's experiments."""

import argparse

from dgn.cli import add_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    return 0
