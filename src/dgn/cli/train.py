"""Train a model by alternating back-propagation (Algorithms 1, 2), or as a VAE or autoencoder (training.method).

Data: a folder of images or clips, a MindRecord file, MNIST, CIFAR-10, or generated faces.

  dgn train --config config/faces_demo.yaml --output runs/demo
  dgn train --config config/photos.yaml --data cuts/ --output runs/mine --set training.epochs=200
  dgn train --output runs/mine --resume

The run folder holds all that later commands need. Ctrl-C saves the state and prints how to resume.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import shlex
from collections.abc import Callable
from pathlib import Path

from dgn import config as cfg
from dgn import device, recipe
from dgn.cli import add_config, add_device, user_path
from dgn.errors import Interrupted, RunFailed, UserError
from dgn.run_folder import RunFolder, recorded_files

log = logging.getLogger(__name__)

# Samples per process below which a warning is logged. Chosen, not measured: on accelerators operator launches probably
# dominate the time, and their number does not depend on the batch size.
MIN_SAMPLES_PER_PROCESS = {"CPU": 8, "GPU": 64, "Ascend": 64}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser, "recipe; without it the defaults, which are the paper's")
    parser.add_argument("--data", metavar="PATH", type=user_path,
                        help="images or clips: folder, .mindrecord file, MNIST or CIFAR-10 (data.path)")
    parser.add_argument("--output", metavar="DIR", type=user_path, help="new run folder (default: runs/ and the "
                        "recipe's name, with a number if that exists)")
    add_device(parser)
    parser.add_argument("--resume", action="store_true", help="resume the run in --output from its newest checkpoint")
    parser.add_argument("--train-only", action="store_true",
                        help="stop after the last checkpoint, without evaluation and pictures")
    parser.add_argument("--dry-run", action="store_true", help="print config, sizes, memory and steps; train nothing")


def resolve_config(args: argparse.Namespace, resumed: RunFolder | None) -> cfg.Config:
    """The config of the resumed run, else that of --config; --data and --set on top."""
    if resumed and args.config:
        raise UserError("--resume uses the run's own config; leave --config out (--set may change values)")
    if resumed:
        config = recipe.with_overrides(recipe.relocated(resumed.config, args.data), {}, args.settings)
    else:
        config = recipe.load(args.config, args.settings)
        if args.data is not None:
            config = cfg.changed(config, data={"path": args.data})
    return recipe.absolute_paths(config)


def default_output(recipe_path: str | None) -> str:
    """runs/<recipe's name>, or with -2, -3 ... the first of these that does not exist."""
    first = Path("runs") / (Path(recipe_path).stem if recipe_path else "default")
    names = itertools.chain([first], (first.with_name(f"{first.name}-{k}") for k in itertools.count(2)))
    return str(next(path for path in names if not path.exists()))


def run(args: argparse.Namespace) -> int:
    device.check_launcher()
    if args.output is None:
        if args.resume or device.launched_by_msrun():
            raise UserError("--output is needed with --resume, and in several processes: give the run folder")
        args.output = default_output(args.config)
    resumed = RunFolder.open(Path(args.output)) if args.resume else None
    config = for_processes(resolve_config(args, resumed), device.launched_processes())  # before they wait for others
    name = device.start(args.device, config.numerics)
    from dgn.data.open import described, open_sources
    from dgn.distributed import process_group
    from dgn.run_training import checked_sources, fit_run, new_run, sources_to_resume
    from dgn.training import checkpoint

    processes = process_group()
    warn_of_few_samples(config, processes.size, name)
    if args.dry_run:
        if not resumed:
            RunFolder.check_free(Path(args.output))
        sources = (open_sources(config.data, *recorded_files(resumed.path)) if resumed
                   else checked_sources(Path(args.output), config))
        print(dry_run(config, len(sources.train)), f"\ndata         {described(config.data, sources)}", sep="")
        return 0
    if resumed:
        folder, sources = resumed, sources_to_resume(resumed, config)
    else:
        folder, sources = new_run(Path(args.output), config, processes)
    if processes.is_first and not resumed:
        show_data(folder, sources)
    try:
        trained = fit_run(folder, config, sources, pictures_while_training(config, args.train_only), processes)
    except Interrupted as stopped:
        if processes.is_first:
            folder.say(f"stopped and saved {stopped.checkpoint}; to resume: {resume_command(args)}")
        processes.barrier()  # the launcher kills the others when one exits with an error
        return 130
    except RunFailed as failed:
        last = next(iter(checkpoint.all_checkpoints(folder.checkpoints)), None)
        if last is None:
            raise
        raise RunFailed(f"{failed}. The checkpoint {last} was written before: {resume_command(args)} continues from "
                        "there when the cause is removed") from None
    if processes.is_first and not args.train_only:
        finish(trained)
    processes.barrier()
    return 0


def resume_command(args: argparse.Namespace) -> str:
    """The command that resumes a training as it was started."""
    words = ["python", "-m", "dgn", "train", "--output", str(args.output), "--resume"]
    words += ["--train-only"] if args.train_only else []
    return shlex.join(words + (["--device", args.device] if args.device != "auto" else []))


def for_processes(config: cfg.Config, size: int) -> cfg.Config:
    """The config with training.shards set for `size` processes. Raises UserError if training.batch_size is not
    divisible."""
    batch = config.training.batch_size
    if config.training.shards % size == 0:
        return config
    if batch % size:
        unit = size * config.training.micro_batches
        below = batch // unit * unit
        near = f"{below} or {below + unit}" if below else str(unit)
        raise UserError(f"training.batch_size is {batch}; it must be a multiple of the number of processes, {size}: "
                        f"set it to {near} with --set (for a launcher: in DGN_OPTIONS)")
    return cfg.changed(config, training={"shards": size})


def warn_of_few_samples(config: cfg.Config, size: int, name: str) -> None:
    """Logs a warning if each of several processes has too few samples of a batch for the device `name`."""
    samples, least = config.training.batch_size // size, MIN_SAMPLES_PER_PROCESS[name]
    if size > 1 and samples < least:
        log.warning("training.batch_size is %d, so each of %d processes computes %d samples, too few for %s; use fewer "
                    "processes or a larger batch, such as %d",
                    config.training.batch_size, size, samples, name, least * size)


def dry_run(config: cfg.Config, count: int) -> str:
    """Size, memory and steps of the training as text."""
    from dgn.nets.build import make_model
    from dgn.training.build import make_trainer
    from dgn.training.dry_run import describe

    return describe(config, make_trainer(config, make_model(config)), count, device.current())


def show_data(folder: RunFolder, sources) -> None:
    """Prints what was found, and draws the first images."""
    from dgn.data.open import described
    from dgn.figures.draw import draw_data

    folder.say(f"data              {described(folder.config.data, sources)}")
    folder.say(f"picture           {draw_data(sources.train, folder.figures)}")


def pictures_while_training(config: cfg.Config, train_only: bool) -> Callable | None:
    """A callback that draws pictures and updates the page: all figures every training.figures_every epochs, or by
    default a few after epochs 1, 3, 10, 30, 100 ...; None by default with --train-only."""
    every, epochs = config.training.figures_every, config.training.epochs
    if train_only and not every:
        return None
    from dgn.figures.draw import draw, draw_progress
    from dgn.page.write import has_page, write_page

    powers = (base * 10 ** k for k in itertools.count() for base in (1, 3))
    due = set(range(every, epochs, every)) if every else set(itertools.takewhile(lambda done: done < epochs, powers))

    def callback(trained, done: int) -> None:
        if done in due:
            (draw if every else draw_progress)(trained, trained.folder.figures / f"epoch_{done:05d}")
            if has_page(trained):
                write_page(trained, finished=False)
    return callback


def finish(trained) -> None:
    """Evaluates and draws a finished training, writes its page, and prints the results and where they are."""
    from dgn.evaluation.evaluate import evaluate, summary
    from dgn.figures.draw import draw
    from dgn.page.write import has_page, write_page

    folder = trained.folder
    folder.say("evaluating the run and drawing its pictures ...")
    folder.say(summary(evaluate(trained)))
    drawn = draw(trained)
    folder.say(f"numbers           {folder.results_path}")
    for path in drawn:
        folder.say(f"picture           {path}")
    if has_page(trained):
        folder.say(f"page              {write_page(trained)} (open it in a browser: sliders, exchange, views)")
