"""Run one of the paper's experiments. Numbers go to metrics.json, pictures to figures/.

  dgn experiment baselines --config config/faces_demo.yaml --output runs/baselines
  dgn experiment views runs/faces_demo

An experiment that trains several models keeps each in a run folder of its own; called again, it continues where it was
stopped and trains nothing twice. `dgn experiment NAME --help` describes each.
"""

from __future__ import annotations

import argparse
from typing import Dict

from dgn import device
from dgn.cli import add_device, experiment_clips, experiment_images
from dgn.cli.experiment_types import Experiment
from dgn.errors import Interrupted

EXPERIMENTS: Dict[str, Experiment] = {**experiment_images.EXPERIMENTS, **experiment_clips.EXPERIMENTS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    named = parser.add_subparsers(dest="experiment", required=True, metavar="experiment")
    for name, experiment in EXPERIMENTS.items():
        sub = named.add_parser(name, help=experiment.help, description=experiment.description,
                               formatter_class=argparse.RawDescriptionHelpFormatter)
        experiment.add_arguments(sub)
        add_device(sub)


def run(args: argparse.Namespace) -> int:
    device.start(args.device)
    try:
        EXPERIMENTS[args.experiment].run(args)
    except Interrupted as stopped:
        print(f"stopped and saved {stopped.checkpoint}; the same command resumes from there")
        return 130
    return 0
