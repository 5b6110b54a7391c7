"""The paper's experiments, each one command. Numbers go to metrics.json, pictures to figures/."""

from __future__ import annotations

import argparse

from dgn import device
from dgn.cli import add_device
from dgn.cli.experiment_clips import EXPERIMENTS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    named = parser.add_subparsers(dest="experiment", required=True, metavar="experiment")
    for name, experiment in EXPERIMENTS.items():
        sub = named.add_parser(name, help=experiment.help, description=experiment.description,
                               formatter_class=argparse.RawDescriptionHelpFormatter)
        experiment.add_arguments(sub)
        add_device(sub)


def run(args: argparse.Namespace) -> int:
    device.start(args.device)
    EXPERIMENTS[args.experiment].run(args)
    return 0
