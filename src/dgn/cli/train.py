"""Train a model: alternating back-propagation (Algorithm 1) on a folder of images, a MindRecord file or generated
faces.

  dgn train --config config/faces_demo.yaml --output runs/demo
  dgn train --config config/celeba64.yaml --data photos/ --output runs/faces --set training.epochs=200
  dgn train --output runs/faces --resume

The run folder holds all that later commands need. Ctrl-C saves the state and prints how to resume.
"""

from __future__ import annotations

import argparse
import itertools
import logging
from pathlib import Path
from typing import Callable, Optional

from dgn import config as cfg
from dgn import device, recipe
from dgn.cli import add_device, user_path
from dgn.errors import Interrupted, RunFailed, UserError
from dgn.run_folder import RunFolder, held_out_files

log = logging.getLogger(__name__)

FEW_SAMPLES = 8  # of a batch in each process; a choice, not measured on a device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="YAML", type=user_path,
                        help="recipe; without it the defaults, which are the paper's")
    parser.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], dest="settings",
                        help="change one value of the config; may be repeated")
    parser.add_argument("--data", metavar="PATH", type=user_path,
                        help="folder of images or .mindrecord file (data.path)")
    parser.add_argument("--output", metavar="DIR", type=user_path, help="run folder, new (default: runs/ and the "
                        "recipe's name; a number is added if that exists)")
    add_device(parser)
    parser.add_argument("--resume", action="store_true", help="resume the run in --output from its newest checkpoint")
    parser.add_argument("--train-only", action="store_true",
                        help="stop after the last checkpoint, without evaluation and pictures")
    parser.add_argument("--dry-run", action="store_true", help="print config, sizes, memory and steps; train nothing")


def resolve_config(args: argparse.Namespace) -> cfg.Config:
    """The run's own config with --resume, else that of --config; --data and --set on top."""
    if args.resume and args.config:
        raise UserError("--resume uses the run's own config; leave --config out (--set may change values)")
    if args.data == "":
        raise UserError("--data is empty; give a folder of images, or leave it out")
    base = RunFolder.open(Path(args.output)).path / "config.yaml" if args.resume else args.config
    config = recipe.load(base, args.settings)
    if args.data is not None:
        config = cfg.changed(config, data={"path": args.data})
    return recipe.absolute_paths(config)


def default_output(recipe_path: Optional[str]) -> str:
    """runs/<recipe's name>, or with -2, -3 ... the first of these that does not exist."""
    first = Path("runs") / (Path(recipe_path).stem if recipe_path else "default")
    names = itertools.chain([first], (first.with_name(f"{first.name}-{k}") for k in itertools.count(2)))
    return str(next(path for path in names if not path.exists()))


def run(args: argparse.Namespace) -> int:
    if args.output is None:
        if args.resume or device.launched_by_msrun():
            raise UserError("--output is needed with --resume, and in several processes: give the run folder")
        args.output = default_output(args.config)
    config = resolve_config(args)
    device.start(args.device, config.numerics)
    from dgn.data.open import check_output, check_sources, open_sources
    from dgn.distributed import process_group
    from dgn.run import fit_run
    from dgn.training import checkpoint
    from dgn.training.build import initial_run

    group = process_group()
    config = for_processes(config, group.size)
    if not args.resume:
        check_output(Path(args.output), config.data)
    sources = open_sources(config.data, held_out_files(Path(args.output)) if args.resume else None)
    if args.dry_run:
        print(dry_run(config, len(sources.train)))
        return 0
    check_sources(sources)
    if group.is_first and not args.resume:
        if config.training.init_from:
            initial_run(config)  # an error in it must not leave a run folder behind
        RunFolder.create(Path(args.output), config)
    group.barrier()
    if not (group.is_first or (Path(args.output) / "config.yaml").is_file()):
        raise UserError(f"process {group.rank} does not see the run folder {args.output} that the first one made; "
                        "it must be on a file system that all hosts share")
    folder = RunFolder.open(Path(args.output))
    cfg.check_resumable(folder.config, config)
    try:
        trained = fit_run(folder, config, sources, figures_every(config.training.figures_every), group)
    except Interrupted as stopped:
        if group.is_first:
            folder.say(f"stopped and saved {stopped.checkpoint}; to resume: dgn train --output {args.output} --resume")
        group.barrier()  # the launcher kills the others when one exits with an error
        return 130
    except RunFailed as failed:
        last = next(iter(checkpoint.listed(folder.checkpoints)), None)
        if last is None:
            raise
        raise RunFailed(f"{failed}. The checkpoint {last} was written before: dgn train --output {args.output} "
                        "--resume continues from there when the cause is removed") from None
    if group.is_first and not args.train_only:
        finish(trained)
    group.barrier()
    return 0


def for_processes(config: cfg.Config, size: int) -> cfg.Config:
    """The config with batches that so many processes can share; with a warning if each has few samples of a batch.
    Raises UserError if the batch cannot be divided."""
    share = config.training.batch_size // size
    if size > 1 and share < FEW_SAMPLES:
        log.warning("training.batch_size is %d, so each of %d processes computes %d samples, too few for a device; use "
                    "fewer processes or a larger batch",
                    config.training.batch_size, size, share)
    if config.training.shards % size == 0:
        return config
    if config.training.batch_size % size:
        raise UserError(f"training.batch_size is {config.training.batch_size}; it must be a multiple of the number of "
                        f"processes, {size}")
    return cfg.changed(config, training={"shards": size})


def dry_run(config: cfg.Config, count: int) -> str:
    """Size, memory and steps of the training as text."""
    from dgn.nets.build import make_model
    from dgn.training.build import make_trainer
    from dgn.training.dry_run import describe

    return describe(config, make_trainer(config, make_model(config)), count, device.current())


def figures_every(epochs: int) -> Optional[Callable]:
    """A callback that draws the figures and updates the page every so many epochs; None for 0."""
    from dgn.figures.draw import draw
    from dgn.page.write import write_page

    def callback(trained, done: int) -> None:
        if done % epochs == 0 and done < trained.config.training.epochs:
            draw(trained, trained.folder.figures / f"epoch_{done:05d}")
            write_page(trained, finished=False)
    return callback if epochs else None


def finish(trained) -> None:
    """Evaluates and draws a finished training, writes its page, and prints the results and where they are."""
    from dgn.evaluation.evaluate import evaluate, summary
    from dgn.figures.draw import draw
    from dgn.page.write import write_page

    folder = trained.folder
    folder.say("evaluating the run and drawing its pictures ...")
    folder.say(summary(evaluate(trained)))
    drawn = draw(trained)
    folder.say(f"numbers           {folder.results}")
    for path in drawn:
        folder.say(f"picture           {path}")
    folder.say(f"page              {write_page(trained)} (open it in a browser: sliders, exchange, views)")
