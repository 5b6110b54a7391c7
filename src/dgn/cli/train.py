"""Learn a model: alternating back-propagation (Algorithm 1) on a folder of images, a MindRecord file or generated faces.

  dgn train --config config/faces_demo.yaml --output runs/demo
  dgn train --config config/celeba64.yaml --data photos/ --output runs/faces --set training.epochs=200
  dgn train --output runs/faces --resume

The run folder holds all that later commands need. Ctrl-C saves and says how to go on.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Callable, Optional

from dgn import config as cfg
from dgn import runtime
from dgn.cli import add_device
from dgn.errors import Interrupted, RunFailed, UserError
from dgn.run_folder import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="YAML", help="recipe; without it the defaults, which are the paper's")
    parser.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], dest="settings",
                        help="change one value of the config; may be repeated")
    parser.add_argument("--data", metavar="PATH", help="folder of images or .mindrecord file (data.path)")
    parser.add_argument("--output", metavar="DIR", default="runs/default", help="run folder (default %(default)s)")
    add_device(parser)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output from its newest checkpoint")
    parser.add_argument("--train-only", action="store_true",
                        help="end with the last checkpoint; numbers and pictures are left to dgn evaluate and dgn figures")
    parser.add_argument("--dry-run", action="store_true", help="print config, sizes, memory and steps; train nothing")


def resolve_config(args: argparse.Namespace) -> cfg.Config:
    """The run's own config with --resume, else that of --config; --data and --set on top."""
    if args.resume and args.config:
        raise UserError("--resume goes on with the run's own config; leave --config out (--set may change values)")
    base = RunFolder.open(Path(args.output)).path / "config.yaml" if args.resume else args.config
    config = cfg.load(base, args.settings)
    if args.data:
        config = replace(config, data=replace(config.data, path=args.data))
    return cfg.with_whole_paths(config)


def run(args: argparse.Namespace) -> int:
    config = resolve_config(args)
    device = runtime.start(args.device)
    ranks = runtime.ranks()
    config = for_processes(config, ranks.count)

    from dgn import build, runs

    sources = build.make_sources(config.data)
    if args.dry_run:
        from dgn.training.plan import describe
        print(describe(config, build.make_method(config, build.make_model(config, device), device), len(sources.train), device))
        return 0

    if ranks.first and not args.resume:
        if config.training.start:
            build.start_of(config)  # a mistake in it must not leave a run folder behind
        RunFolder.create(Path(args.output), config)
    ranks.wait()
    if not (ranks.first or (Path(args.output) / "config.yaml").is_file()):
        raise UserError(f"process {ranks.rank} does not see the run folder {args.output} that the first one made; it must be on a file "
                        "system that all hosts share")
    folder = RunFolder.open(Path(args.output))
    cfg.check_resumable(folder.config, config)
    try:
        trained = runs.learn(folder, config, device, sources, pictures_every(config.training.figures_every), ranks)
    except Interrupted as stopped:
        if ranks.first:
            folder.say(f"stopped and saved {stopped.checkpoint}; to go on: dgn train --output {args.output} --resume")
        ranks.wait()  # the launcher ends the others when one ends with an error
        return 130
    except RunFailed as failed:
        last = next(iter(sorted(folder.checkpoints.glob("epoch_*"), reverse=True)), None)
        if last is None:
            raise
        raise RunFailed(f"{failed}. The checkpoint {last} was written before: dgn train --output {args.output} --resume with such a "
                        "--set goes on from there") from None
    if ranks.first and not args.train_only:
        finish(trained)
    ranks.wait()
    return 0


def for_processes(config: cfg.Config, count: int) -> cfg.Config:
    """The config with batches that so many processes can share. Raises UserError if the batch cannot be divided so."""
    if config.training.shards % count == 0:
        return config
    if config.training.batch_size % count:
        raise UserError(f"training.batch_size is {config.training.batch_size}; it must be a multiple of the number of processes, {count}")
    return cfg.changed(config, training={"shards": count})


def pictures_every(epochs: int) -> Optional[Callable]:
    """Draws the figures every so many epochs; 0: never."""
    def draw(trained, done: int) -> None:
        if done % epochs == 0 and done < trained.config.training.epochs:
            from dgn.cli import figures
            figures.draw(trained, trained.folder.figures / f"epoch_{done:05d}")
    return draw if epochs else None


def finish(trained) -> None:
    """Evaluates and draws a finished training, and says what came of it and where it is."""
    from dgn.cli import evaluate, figures

    folder = trained.folder
    folder.say("measuring the run and drawing its pictures ...")
    folder.say(evaluate.summary(evaluate.evaluate(trained)))
    drawn = figures.draw(trained, folder.figures)
    folder.say(f"numbers           {folder.results}")
    for path in drawn:
        folder.say(f"picture           {path}")
