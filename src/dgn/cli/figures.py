"""Draw a run's pictures into its figures folder.

  dgn figures runs/demo

For images: reconstructions with their grids (Fig. 2), bases of appearance and geometry (Fig. 3 to 5), recombination
(Fig. 11), samples and training curves. For clips: grids over time (Fig. 19) and bases of the first frame (Fig. 17). For
a model with given labels: every label, warped by a geometric basis (Fig. 13).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dgn.cli import above_zero, add_data, add_device, add_run, user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--gamma", type=above_zero, help="bases go from -gamma to gamma (default: evaluation.gamma)")
    parser.add_argument("--output", metavar="DIR", type=user_path,
                        help="folder for the pictures (default: figures in the run folder)")
    add_data(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    from dgn.figures.draw import draw
    from dgn.run import load

    trained = load(args.run_folder, args.device, args.data)
    for path in draw(trained, Path(args.output) if args.output else None, args.gamma):
        print(path)
    return 0
