"""Package a run on generated images: weights, latents and metrics, without optimizer state.

  dgn package runs/faces_demo src/dgn/models/faces

The new folder holds config.yaml, the newest checkpoint without its optimizers, the encoder if the run has one, some of
the records of the training, and metrics.json. It can be used wherever a run folder can. In src/dgn/models it is found
by its name: `dgn.load("faces")`, `dgn figures faces`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dgn.cli import add_run, user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("output", metavar="OUT", type=user_path, help="new folder")


def run(args: argparse.Namespace) -> int:
    from dgn.package_run import LIMIT, make
    from dgn.packaged import open_folder

    size = make(open_folder(Path(args.run_folder)), Path(args.output))
    above = f" (above the {LIMIT / 1e6:.0f} MB of a model in this package)" if size > LIMIT else ""
    print(f"{args.output}: {size / 1e3:.0f} kB{above}")
    return 0
