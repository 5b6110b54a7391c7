"""Geometry learned on general faces, put to use on others (5.2, Table 1).

  dgn experiment transfer --config config/transfer_faces.yaml --output runs/transfer
  dgn experiment transfer --config config/transfer_celeba.yaml --data celeba/ --target fei/ --frontal '*-1[12].jpg' \\
      --target-crop 5,2,23,20 --output runs/transfer_fei

Ours, ABP and VAE learn general faces (the recipe), then are tuned on frontal faces of other people: ours with its geometry
frozen, so that only the appearance generator learns. Then people that nobody saw are reconstructed at five views. MSRE
per view and over all, mean and deviation over --runs independent runs. VAE reconstructs by its encoder, the other two by
Langevin dynamics; VAE's decoder with Langevin dynamics in the encoder's place is given as well.

Without --data and --target all faces are generated. --target: a folder whose labels tell views (labels.csv, or the FEI
set); --frontal: which of its files are tuned on; the subjects of the last --held-out of these are the unseen ones.
Written to --output: metrics.json, figures/transfer.png, and two run folders for each model and run. A call that was
stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from dgn import config as cfg
from dgn import runtime
from dgn.cli import positive
from dgn.errors import UserError
from dgn.experiments.models import (
    add_recipe,
    add_target,
    config_of,
    experiment_folder,
    first_config,
    folder_name,
    learned_files,
    table,
    tuning_config,
)
from dgn.experiments.views import images_by_view
from dgn.files import write_json

COMPARED = ("VAE", "ABP", "ours")
BY_LANGEVIN = "VAE, Langevin"  # the VAE's decoder, its latents found by the sampler


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser, "runs/transfer")
    add_target(parser, faces=1000, epochs=30)
    parser.add_argument("--held-out", type=positive, default=100, help="the last frontal files of --target, whose subjects stay unseen "
                        "(default %(default)s)")
    parser.add_argument("--runs", type=positive, default=3, help="independent runs (default %(default)s; the paper: 10)")
    parser.add_argument("--unseen", type=positive, default=100, help="unseen people (default %(default)s; the paper: 1000)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn.figures import experiments as figures

    general = first_config(args)
    if args.target and not args.frontal:
        raise UserError("--target needs --frontal: which of its files show frontal faces")
    images = unseen_images(general, args)  # first: a mistake in the target should not show after the trainings
    folder = experiment_folder(args.output)
    errors: Dict[str, List[Dict[float, float]]] = {name: [] for name in (*COMPARED, BY_LANGEVIN)}
    shown: Dict[str, np.ndarray] = {}
    for number in range(args.runs):
        for name in COMPARED:
            print(f"--- run {number + 1} of {args.runs}, {name}", flush=True)
            config = cfg.changed(config_of(name, general), training={"seed": general.training.seed + number})
            tuned = tune(folder / f"run_{number + 1}" / folder_name(name), config, args, device)
            for label, by_langevin in ((name, False), (BY_LANGEVIN, True)) if name == "VAE" else ((name, False),):
                found, pictures = reconstruct(tuned, images, by_langevin)
                errors[label].append(found)
                shown[label] = pictures
    result = table_of(errors)
    write_json(folder / "metrics.json", {**result, "runs": args.runs, "versions": runtime.versions()})
    print(summary(result))
    rows = {"input": np.stack([x[0] for x in images.values()]), **shown}
    print(figures.reconstructions(folder / "figures" / "transfer.png", rows, [f"{view:+g} deg" for view in images],
                                  "An unseen face at five views, reconstructed after tuning on frontal faces"))


def tune(folder: Path, config: cfg.Config, args: argparse.Namespace, device: str):
    """A model learned on general faces, then on frontal ones; the deformable model's geometry stays as it was."""
    from dgn import runs

    runs.finished(folder / "general", config, device)
    return runs.finished(folder / "frontal", tuned_config(config, folder / "general", args), device)


def tuned_config(config: cfg.Config, start: Path, args: argparse.Namespace) -> cfg.Config:
    """The config of a tuning on frontal faces."""
    return tuning_config(config, start, args, population="frontal", held_out=args.held_out if args.target else 0)


def unseen_images(general: cfg.Config, args: argparse.Namespace) -> Dict[float, np.ndarray]:
    """People that neither training sees, at every view: view -> (n, C, H, W)."""
    data = tuned_config(general, Path(args.output), args).data
    if not args.target:
        return images_by_view(data, None, args.unseen)
    from dgn import build
    from dgn.data import labels

    folder, sources = Path(data.path), build.make_sources(data)
    members = labels.read(folder)
    subject = {label.file: label.subject for label in members}
    tuned, last = ({subject.get(source.name(k)) for k in range(len(source))} for source in (sources.train, sources.held_out))
    found = labels.by_view(members, folder)
    people = [person for person in next(iter(found.values())) if person in last - tuned][:args.unseen]
    if not people:
        raise UserError(f"{folder}: none of the people in the last {args.held_out} files of --frontal is there at every view, and in no "
                        "file that is tuned on")
    known = learned_files(general) or set()
    seen = [files[person] for person in people for files in found.values() if (folder / files[person]).resolve() in known]
    if seen:
        raise UserError(f"{folder / seen[0]} is to be reconstructed unseen, but is among the images that are learned first "
                        f"({general.data.path})")
    return {view: labels.read_files(folder, [files[person] for person in people], data) for view, files in found.items()}


def reconstruct(tuned, images: Dict[float, np.ndarray], by_langevin: bool):
    """MSRE of each view, and the first face's reconstruction at each."""
    from dgn.evaluation.reconstruction import reconstruction_errors

    everything = np.concatenate(list(images.values()))
    decoded = tuned.decode(*tuned.infer(everything, by_langevin=by_langevin)).image
    bounds = np.cumsum([len(x) for x in images.values()])[:-1]
    parts = dict(zip(images, np.split(decoded, bounds)))
    errors = {view: reconstruction_errors(images[view], part)["msre"] for view, part in parts.items()}
    return errors, np.stack([part[0] for part in parts.values()])


def table_of(errors: Dict[str, List[Dict[float, float]]]) -> Dict[str, Any]:
    """Mean and standard deviation over runs, per view and over all; and our mean relative to each other model's."""
    result: Dict[str, Any] = {"msre": {}}
    for name, found in errors.items():
        per_view = {f"{view:g}": [run[view] for run in found] for view in found[0]}
        per_view["all"] = [float(np.mean(list(run.values()))) for run in found]
        result["msre"][name] = {view: {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
                                       "runs": values} for view, values in per_view.items()}
    ours = result["msre"]["ours"]["all"]["mean"]
    result["ratio"] = {name: ours / found["all"]["mean"] for name, found in result["msre"].items() if name != "ours"}
    return result


def summary(result: Dict[str, Any]) -> str:
    """Table 1."""
    models = result["msre"]
    rows = {("all views" if view == "all" else f"{float(view):+g} degrees"):
            [f"{models[name][view]['mean']:.2f} +- {models[name][view]['std']:.2f}" for name in models] for view in models["ours"]}
    ratios = ", ".join(f"{ratio:.2f} of {name}'s" for name, ratio in result["ratio"].items())
    return f"{table('MSRE', list(models), rows)}\nours over all views: {ratios}"
