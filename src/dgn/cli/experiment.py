"""Run one of the paper's experiments. Numbers go to metrics.json, pictures to figures/.

  dgn experiment baselines --config config/faces_demo.yaml --output runs/baselines
  dgn experiment views runs/faces_demo

An experiment that trains several models keeps each in a run folder of its own. Called again, it continues where it was
stopped and trains nothing twice. `dgn experiment NAME --help` describes an experiment.
"""

from __future__ import annotations

import argparse
import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dgn import device, experiments, recipe
from dgn.cli import PRIOR, above_zero, add_config, add_device, add_run, crop, natural, pair, positive, user_path
from dgn.errors import Interrupted

Keywords = dict[str, Any]
Option = tuple[tuple[str, ...], Keywords]


def option(*names: str, **settings: Any) -> Option:
    """An option as `add_argument` takes it; its dest is the keyword of the experiment's function."""
    return names, settings


class Experiment(NamedTuple):
    """The command line of the function dgn.experiments.NAME.NAME; the text of that module is its help.

    options: one for each keyword argument. trains: its other arguments are a recipe and an output folder, not a run.
    data: help text of --data; empty: no such option. convert: turns option values into keyword arguments.
    """

    options: list[Option]
    trains: bool = False
    data: str = ""
    convert: Callable[[Keywords], Keywords] = dict


def tuning_options(count: int, epochs: int) -> list[Option]:
    """The images of a fine-tuning, which are an experiments.common.Target."""
    return [
        option("--target", metavar="FOLDER", type=user_path,
               help="folder of the images for the fine-tuning (default: generated faces); for transfer with labels of "
                    "the view: labels.csv, or the FEI set"),
        option("--frontal", metavar="PATTERN", help="which files of --target, such as '*-1[12].jpg'"),
        option("--target-crop", type=crop, metavar="L,T,R,B", help="crop of the images of --target"),
        option("--tune-faces", type=positive, default=count,
               help="maximum number of images for the fine-tuning (default %(default)s)"),
        option("--tune-epochs", type=positive, default=epochs, help="epochs of the fine-tuning (default %(default)s)")]


def with_target(given: Keywords) -> Keywords:
    """The options of `tuning_options`, and --held-out, as a Target."""
    from dgn.experiments.common import Target

    parts = ("target", "frontal", "target_crop", "tune_faces", "tune_epochs", "held_out")
    target = Target(*(given[part] for part in parts if part in given))
    return {"target": target, **{key: value for key, value in given.items() if key not in parts}}


def with_sweeps(given: Keywords) -> Keywords:
    """The sweeps that --sweep names."""
    from dgn.experiments.balance import SWEEPS

    return {**given, "sweeps": {name: values for name, values in SWEEPS.items() if name in (given["sweeps"] or SWEEPS)}}


STEPS = option("--steps", type=positive, help="Langevin steps (default: evaluation.steps of the run, or with "
               "an encoder evaluation.encoder_steps)")
CROP = option("--crop", type=crop, metavar="L,T,R,B", help="crop of the images of --data (default: the run's)")
MOVED = "new location of the run's images, if they were moved"

EXPERIMENTS: dict[str, Experiment] = {
    "baselines": Experiment([
        option("--faces", type=positive, default=1000,
               help="unseen faces whose latents are measured (default %(default)s)")], trains=True),
    "views": Experiment([
        option("--data", metavar="FOLDER", type=user_path,
               help="images with labels of the view: labels.csv, or the FEI set (default: generated faces at views "
                    "from -30 to 30 degrees)"), CROP,
        option("--faces", dest="people", type=positive, default=100,
               help="maximum number of people, each at every view (default %(default)s; the paper: 100 "
                    "random images of each view)"), STEPS]),
    "transfer": Experiment([
        *tuning_options(count=1000, epochs=30),
        option("--held-out", type=positive, default=100,
               help="the last frontal files of --target, whose people stay unseen (default %(default)s)"),
        option("--runs", type=positive, default=3, help="independent runs (default %(default)s; the paper: 10)"),
        option("--unseen", dest="people", type=positive, default=100,
               help="unseen people, each at every view (default %(default)s; the paper: 1000 faces of each "
                    "view)")],
        trains=True, data="images of the first training (data.path)", convert=with_target),
    "expressions": Experiment(
        tuning_options(count=300, epochs=100),
        trains=True, data="images of the first training (data.path)", convert=with_target),
    "animals": Experiment([
        option("--data", "--images", dest="images", metavar="FOLDER", type=user_path,
               help="animal faces (default: drawn ones)"),
        option("--labels", metavar="FILE", type=user_path,
               help="table of their eyes, with the columns file, left_eye_x, left_eye_y, right_eye_x, right_eye_y "
                    "(default: labels.csv, crops.csv or index.tsv in --data)"),
        option("--eyes", type=pair, metavar="X,Y",
               help="position of the left eye in the cut image, as fractions of its side from the left and the top "
                    "(default: where generated faces have it, or 0.325,0.36)"),
        option("--gamma", type=above_zero,
               help="the traversal goes from -gamma to gamma (default: evaluation.gamma of the run)")]),
    "labels": Experiment([
        option("--images", type=positive, default=300, help="maximum number of held-out images (default %(default)s)"),
        option("--steps", type=positive, default=100, help="Langevin steps under each label (default %(default)s)")],
        data=MOVED),
    "landmarks": Experiment([
        option("--data", metavar="FOLDER", type=user_path,
               help="images with landmarks in labels.csv or MTFL's index.tsv (default: generated faces)"), CROP,
        option("--faces", dest="count", type=positive,
               help="maximum number of images (default: all, or 2500 generated ones)"),
        STEPS,
        option("--chains", type=positive, default=1,
               help="chains per image, whose displacement fields are averaged; with data.mirror, every second one is "
                    "of the mirror image (default %(default)s)"),
        option("--epochs", type=positive, default=200, help="training epochs of the regressor (default %(default)s)"),
        option("--folds", type=positive, default=1,
               help="folds of a cross-validation, for few images: each image is tested once (default: one train/test "
                    "split)")]),
    "adversarial": Experiment([
        option("--more-epochs", type=positive, default=60,
               help="epochs of each of the two continued runs (default %(default)s)"),
        option("--rate", dest="learning_rate", type=above_zero, default=1e-3,
               help="initial learning rate of the continued runs; 0.3 times as large after 80 %% of the epochs "
                    "(default %(default)s)"),
        option("--faces", type=positive, default=500,
               help="unseen generated faces whose latents are measured (default %(default)s)")],
        trains=True, data="images (data.path); without it faces are generated"),
    "balance": Experiment([
        option("--sweep", dest="sweeps", choices=["alpha", "beta", "start"], action="append",
               help="run only this sweep; may be repeated (default: all)"),
        option("--shown", type=positive, default=5, help="faces shown in the picture (default %(default)s)")],
        trains=True, convert=with_sweeps),
    "recombination": Experiment([
        option("--clips", nargs=2, metavar=("A", "B"),
               help="the two training clips by index or name (default: the first, and one of another person and "
                    "class)")], data=MOVED),
    "shape": Experiment([
        option("--clips", nargs="+", metavar="CLIP",
               help="training clips by index or name (default: the first, and one of another person and class)"),
        option("--dimension", type=natural,
               help="index of the dimension of Z_0^g (default: the one with the largest effect)"),
        option("--amount", type=above_zero, default=1.5,
               help="change of that dimension in both directions (default %(default)s)")], data=MOVED),
    "sampling": Experiment([
        option("--frames", type=positive, help="frames per new clip (default: three times those trained on)"),
        option("--count", type=positive, help="samples shown in the picture (default: 6 clips, 33 images)"),
        option("--prior", **PRIOR),
        option("--seed", type=natural, default=1,
               help="random seed of the latents (default %(default)s)")], data=MOVED),
    "recognition": Experiment([
        option("--folds", type=positive, default=10, help="folds of the cross-validation (default %(default)s)"),
        option("--epochs", type=positive, default=60, help="training epochs of the classifiers (default %(default)s)"),
        option("--absolute-features", dest="from_first", action="store_false",
               help="use the features of each frame, not their difference from the first frame; for clips that do not "
                    "start neutral"),
        option("--steps", type=positive,
               help="infer the latents again from the prior mean with this number of Langevin steps (default: continue "
                    "the chains of the training)"),
        option("--descent-steps", type=positive, default=100,
               help="further steps without noise, towards a mode (default %(default)s)")], data=MOVED),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    named = parser.add_subparsers(dest="experiment", required=True, metavar="experiment")
    for name, experiment in EXPERIMENTS.items():
        text = description(name)
        sub = named.add_parser(name, help=text.splitlines()[0], description=text,
                               formatter_class=argparse.RawDescriptionHelpFormatter)
        if experiment.trains:
            add_config(sub, "recipe of the trainings", required=True)
            sub.add_argument("--output", metavar="DIR", type=user_path, default=f"runs/{name}",
                             help="folder for the runs, metrics.json and figures (default %(default)s)")
        else:
            add_run(sub)
        if experiment.data:
            sub.add_argument("--data", metavar="PATH", type=user_path, help=experiment.data)
        keywords = [sub.add_argument(*names, **settings).dest for names, settings in experiment.options]
        add_device(sub)
        sub.set_defaults(keywords=keywords)


def description(name: str) -> str:
    """The text of an experiment's module, without its import, which takes seconds."""
    path = Path(str(experiments.__file__)).with_name(f"{name}.py")
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def check_arguments(args: argparse.Namespace) -> None:
    """Raises UserError for a wrong recipe; sets args.recipe of an experiment that trains."""
    experiment = EXPERIMENTS[args.experiment]
    if experiment.trains:
        data = {"data.path": args.data} if experiment.data and args.data else {}
        args.recipe = recipe.with_overrides(recipe.load(args.config, args.settings), data)


def run(args: argparse.Namespace) -> int:
    device.start(args.device)
    experiment, module = EXPERIMENTS[args.experiment], importlib.import_module(f"dgn.experiments.{args.experiment}")
    subject: tuple[Any, ...]
    if experiment.trains:
        subject = args.recipe, args.output
    else:
        from dgn.run import load

        subject = (load(args.run_folder, args.device, args.data if experiment.data else None),)
    keywords = experiment.convert({keyword: getattr(args, keyword) for keyword in args.keywords})
    try:
        result = getattr(module, args.experiment)(*subject, **keywords)
    except Interrupted as stopped:
        print(f"stopped and saved {stopped.checkpoint}; the same command resumes from there")
        return 130
    print(module.summary(result))
    for path in result["pictures"]:
        print(path)
    return 0
