"""Learn a model: alternating back-propagation (Algorithm 1) on a folder of images, a MindRecord file or generated faces.

  dgn train --config config/faces_demo.yaml --output runs/demo
  dgn train --config config/celeba64.yaml --data photos/ --output runs/faces --set training.epochs=200
  dgn train --output runs/faces --resume

The run folder holds all that later commands need. Ctrl-C saves and says how to go on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dgn import config as cfg
from dgn import runtime
from dgn.errors import UserError
from dgn.run_folder import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="YAML", help="recipe; without it the defaults, which are the paper's")
    parser.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], dest="settings",
                        help="change one value of the config; may be repeated")
    parser.add_argument("--data", metavar="PATH", help="folder of images or .mindrecord file (data.path)")
    parser.add_argument("--output", metavar="DIR", default="runs/default", help="run folder (default %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, Ascend, GPU or CPU (default %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output from its newest checkpoint")
    parser.add_argument("--dry-run", action="store_true", help="print config, sizes, memory and steps; train nothing")


def resolve_config(args: argparse.Namespace) -> cfg.Config:
    """The run's own config with --resume, else that of --config; --data and --set on top."""
    base = args.config
    if args.resume:
        if args.config:
            raise UserError("--resume goes on with the run's own config; leave --config out (--set may change values)")
        base = RunFolder.open(Path(args.output)).path / "config.yaml"
    settings = ([f"data.path={args.data}"] if args.data else []) + args.settings
    return cfg.load(base, settings)


def run(args: argparse.Namespace) -> int:
    config = resolve_config(args)
    device = runtime.start(args.device)

    from dgn import build
    from dgn.training import checkpoint
    from dgn.training.loop import Interrupted, Sums, train
    from dgn.training.progress import Progress

    sources = build.make_sources(config.data)
    if args.dry_run:
        from dgn.training.plan import describe
        print(describe(config, build.make_model(config, device), len(sources.train), device))
        return 0

    if args.resume:
        folder = RunFolder.open(Path(args.output))
        folder.change_config(config)
        saved = checkpoint.newest_whole(folder.checkpoints) if checkpoint.listed(folder.checkpoints) else None
    else:
        folder, saved = RunFolder.create(Path(args.output), config), None

    learner = build.make_learner(config, device, folder, len(sources.train), saved)
    start, sums = checkpoint.Position(0, 0), Sums()
    if saved:
        state = checkpoint.read_state(saved)
        start, sums = checkpoint.Position(state["epoch"], state["step"]), Sums(**state["sums"])
        print(f"going on from {saved}", flush=True)
    folder.rewind(start.epoch)

    progress = Progress(start.epoch, config.training.epochs)
    try:
        train(folder, learner, sources.train, progress, start, sums)
    except Interrupted as stopped:
        print(f"\nstopped and saved {stopped.checkpoint}; to go on: dgn train --output {args.output} --resume", file=sys.stderr)
        return 130
    finally:
        progress.close()
    return 0
