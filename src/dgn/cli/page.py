"""Write the interactive page of a run: one HTML file in which the model runs in the browser, without a network.

  dgn page runs/demo
  dgn page runs/demo demo.html

The page has sliders along the principal axes of appearance and geometry, the exchange of two images (for clips also of
their motion), the image before the warp, the grid, the displacement, and random samples. Below them are curves, numbers
and pictures of the run. The plain model of clips has no page.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dgn.cli import PRIOR, add_data, add_device, add_run, user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("output", metavar="OUT.html", type=user_path, nargs="?",
                        help="file to write (default: page.html in the run folder)")
    parser.add_argument("--prior", **PRIOR)
    add_data(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    from dgn.page.write import write_page
    from dgn.run import load

    trained = load(args.run_folder, args.device, args.data)
    print(write_page(trained, Path(args.output) if args.output else None, prior=args.prior))
    return 0
