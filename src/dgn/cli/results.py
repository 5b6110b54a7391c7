"""Print the metrics of several runs as a Markdown table, read from their metrics.json.

  dgn results runs/faces_demo runs/celeba
  dgn results $(dirname runs/*/metrics.json)

One row per run: number of images, MSRE and PSNR of training and of unseen images, Nyquist ratio of the appearance,
magnitude of the displacement, fraction of pixels where the map is folded, exchange of yaw (generated faces), device and
versions. A value that a run does not have is a dash. `evaluate` writes metrics.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dgn import console
from dgn.cli import user_path
from dgn.evaluation import results_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folders", metavar="RUN", type=user_path, nargs="+",
                        help="run folder, or name of a packaged model")


def run(args: argparse.Namespace) -> int:
    print(console.escape_controls(results_table.table([Path(folder) for folder in args.run_folders])), end="")
    return 0
