"""Checks that this device computes what NumPy and CPU compute.

  dgn check --device Ascend
  dgn check --device Ascend --devices 2 --output check_2
  dgn check --device CPU --quick

Operators at the shapes of a recipe, forward and gradient, against NumPy in float64; the decoder; Langevin dynamics
against a posterior in closed form; R1 against finite differences; 16-bit layers; exported files; iterations
of three trainings (images, clips, with a critic) against CPU, with --devices also on several devices; then times,
operators of graphs and a trace. Writes report.md and report.json to the output folder; attach both when you report on a
device. The exit code is 0 if all checks passed, 1 if one failed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dgn import device, recipe
from dgn.cli import add_config, add_device, positive, user_path
from dgn.config import Config
from dgn.errors import UserError
from dgn.files import new_folder

QUICK = ["data.size=16", "model.width=16", "inference.steps=1"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", metavar="DIR", type=user_path, default="device_check",
                        help="new folder for the report (default %(default)s)")
    parser.add_argument("--devices", type=positive, default=1, metavar="N",
                        help="also train on this number of devices of this host")
    parser.add_argument("--quick", action="store_true", help="small shapes: a test of the command itself")
    add_config(parser, "recipe of images whose shapes are used; without it the paper's model (Table 4)")
    parser.add_argument("--batch", type=positive, help="samples (default: training.batch_size; with --quick 4)")
    add_device(parser)
    for words, files in (("--record", 1), ("--repeat", 2)):  # only trainings, for the one that started this process
        parser.add_argument(words, nargs=files, metavar="NPZ", type=user_path, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    config = recipe.load(args.config, [*(QUICK if args.quick else []), *args.settings])
    check_config(config)
    device.start(args.device, config.numerics)
    from dgn.checks import report, suite, trainings
    from dgn.checks.check import Setup
    from dgn.distributed import process_group

    setup = Setup(config, args.batch or (4 if args.quick else config.training.batch_size), args.devices, args.quick,
                  Path(args.output) / "logs")
    if args.record:
        trainings.write_record(setup, *map(Path, args.record))
        return 0
    if args.repeat:
        trainings.write_repeated(setup, process_group(), *map(Path, args.repeat))
        return 0
    if trainings.BATCH % args.devices:
        raise UserError(f"--devices is {args.devices}; it must divide the batch of the trainings, {trainings.BATCH}")
    folder = new_folder(Path(args.output))
    results = suite.run(setup, folder, lambda line: print(line, flush=True))
    path = report.write(results, setup, folder)
    count = sum(map(len, results.checks.values()))
    print(f"{len(results.failed)} of {count} checks failed; {path}" if results.failed else
          f"all {count} checks passed on {device.current()}; {path}")
    return 1 if results.failed else 0


def check_config(config: Config) -> None:
    """Raises UserError for a recipe whose shapes are not those of the checks."""
    if config.data.frames or config.model.kind != "deformable" or config.model.appearance != "sampled":
        raise UserError("check needs a recipe of images with model.kind deformable and model.appearance sampled; clips "
                        "are checked with shapes of their own")
