"""Learn a model: alternating back-propagation (Algorithm 1) on a folder of images, a MindRecord file or generated faces.

  dgn train --config config/faces_demo.yaml --output runs/demo
  dgn train --config config/celeba64.yaml --data photos/ --output runs/faces --set training.epochs=200
  dgn train --output runs/faces --resume

The run folder holds all that later commands need. Ctrl-C saves and says how to go on.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Callable, Optional

from dgn import config as cfg
from dgn import runtime
from dgn.cli import add_device
from dgn.errors import RunFailed, UserError
from dgn.files import append_line
from dgn.run_folder import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="YAML", help="recipe; without it the defaults, which are the paper's")
    parser.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], dest="settings",
                        help="change one value of the config; may be repeated")
    parser.add_argument("--data", metavar="PATH", help="folder of images or .mindrecord file (data.path)")
    parser.add_argument("--output", metavar="DIR", default="runs/default", help="run folder (default %(default)s)")
    add_device(parser)
    parser.add_argument("--resume", action="store_true", help="go on with the run in --output from its newest checkpoint")
    parser.add_argument("--dry-run", action="store_true", help="print config, sizes, memory and steps; train nothing")


def resolve_config(args: argparse.Namespace) -> cfg.Config:
    """The run's own config with --resume, else that of --config; --data and --set on top."""
    if args.resume and args.config:
        raise UserError("--resume goes on with the run's own config; leave --config out (--set may change values)")
    base = RunFolder.open(Path(args.output)).path / "config.yaml" if args.resume else args.config
    config = cfg.load(base, args.settings)
    path = args.data or config.data.path
    # whole, so that the run folder can be used from anywhere
    return config if path is None else replace(config, data=replace(config.data, path=str(Path(path).resolve())))


def run(args: argparse.Namespace) -> int:
    config = resolve_config(args)
    device = runtime.start(args.device)

    from dgn import build

    sources = build.make_sources(config.data)
    if args.dry_run:
        from dgn.training.plan import describe
        print(describe(config, build.make_model(config, device), len(sources.train), device))
        return 0

    folder = RunFolder.open(Path(args.output)) if args.resume else RunFolder.create(Path(args.output), config)
    cfg.check_resumable(folder.config, config)
    logging.getLogger().addHandler(logging.FileHandler(folder.text_log, encoding="utf-8"))
    try:
        return learn(folder, config, device, sources, args.output)
    except (RunFailed, UserError) as error:
        append_line(folder.text_log, f"dgn: {error}")
        raise


def learn(folder: RunFolder, config: cfg.Config, device: str, sources, output: str) -> int:
    """Trains from the newest whole checkpoint, or from the start; then measures and draws. Returns the exit code."""
    from dgn import build
    from dgn.training import checkpoint
    from dgn.training.loop import Interrupted, Sums, train
    from dgn.training.progress import Progress

    saved = checkpoint.newest_whole(folder.checkpoints) if checkpoint.listed(folder.checkpoints) else None
    learner = build.make_learner(config, device, folder, sources.train, saved)
    start, sums = checkpoint.Position(0, 0), Sums()
    if saved:
        state = checkpoint.read_state(saved)
        start, sums = checkpoint.Position(state["epoch"], state["step"]), Sums(**state["sums"])
    folder.change_config(config)
    folder.rewind(start.epoch)

    trained = build.Trained(folder, saved, learner.model, learner.sampler, learner.bank, lambda: sources)
    progress = Progress(start.epoch, config.training.epochs, folder.text_log)
    progress.say(f"dgn train on {device}: {len(sources.train)} images, {config.training.epochs} epochs"
                 + (f", going on from {saved}" if saved else "") + f"; run folder {output}")
    try:
        train(folder, learner, progress, start, sums, pictures_every(trained))
    except Interrupted as stopped:
        progress.say(f"stopped and saved {stopped.checkpoint}; to go on: dgn train --output {output} --resume")
        return 130
    except RunFailed as failed:
        last = next(iter(checkpoint.listed(folder.checkpoints)), None)
        if last is None:
            raise
        raise RunFailed(f"{failed}. The checkpoint {last} was written before: dgn train --output {output} --resume with such a "
                        "--set goes on from there") from None
    finally:
        progress.close()
    finish(trained._replace(checkpoint=checkpoint.newest_whole(folder.checkpoints)), progress)
    return 0


def pictures_every(trained) -> Optional[Callable[[int], None]]:
    """Draws the figures every training.figures_every epochs."""
    training = trained.folder.config.training
    if not training.figures_every:
        return None

    def draw(done: int) -> None:
        if done % training.figures_every == 0 and done < training.epochs:
            from dgn.cli import figures
            figures.draw(trained, trained.folder.figures / f"epoch_{done:05d}")
    return draw


def finish(trained, progress) -> None:
    """Evaluates and draws a finished training, and says what came of it and where it is."""
    from dgn.cli import evaluate, figures

    progress.say("measuring the run and drawing its pictures ...")
    progress.say(evaluate.summary(evaluate.evaluate(trained)))
    drawn = figures.draw(trained, trained.folder.figures)
    progress.say(f"numbers           {trained.folder.results}")
    for path in drawn:
        progress.say(f"picture           {path}")
