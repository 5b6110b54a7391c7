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
import shlex
from pathlib import Path

from dgn import config as cfg
from dgn import device, launcher, packaged, recipe
from dgn.cli import add_config, add_device, user_path
from dgn.errors import Interrupted, RunFailed, UserError
from dgn.run_folder import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser, "recipe; without it the defaults: the paper's, or those of the authors' code")
    parser.add_argument("--data", metavar="PATH", type=user_path,
                        help="images or clips: folder, .mindrecord file, MNIST or CIFAR-10 (data.path)")
    parser.add_argument("--output", metavar="DIR", type=user_path, help="new run folder (default: runs/ and the "
                        "recipe's name, with a number if that exists)")
    add_device(parser)
    parser.add_argument("--resume", action="store_true", help="resume the run in --output from its newest checkpoint")
    parser.add_argument("--train-only", action="store_true",
                        help="stop after the last checkpoint, without evaluation, and without pictures except data.png")
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


def check_arguments(args: argparse.Namespace) -> None:
    """Raises UserError for wrong arguments; sets args.output, args.resumed (None for a new run) and args.resolved, the
    config."""
    launcher.check_launcher()
    alone = not launcher.launched_by_msrun()
    if args.output is None:
        if args.resume or not alone:
            raise UserError("--output is needed with --resume, and in several processes: give the run folder")
        args.output = default_output(args.config)
    args.resumed = RunFolder.open(Path(args.output)) if args.resume else None
    args.resolved = resolve_config(args, args.resumed)
    if alone and not args.resumed:  # else by the first process, which creates it
        packaged.check_free(Path(args.output))


def run(args: argparse.Namespace) -> int:
    from dgn.distributed import for_processes, process_group, warn_of_few_samples

    resumed = args.resumed
    config = for_processes(args.resolved, launcher.launched_processes())  # before the processes connect
    name = device.start(args.device, config.numerics)
    from dgn.run_training import dry_run, fit_run, prepare
    from dgn.train_output import finish, pictures_while_training, show_data
    from dgn.training import checkpoint

    processes = process_group()
    warn_of_few_samples(config, processes.size, name)
    target = resumed or Path(args.output)
    if args.dry_run:
        print(dry_run(target, config))
        return 0
    folder, sources = prepare(target, config, processes)
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
