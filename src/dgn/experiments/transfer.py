"""Transfer of geometry from general faces to frontal faces of other people (5.2, Table 1).

  dgn experiment transfer --config config/transfer_faces.yaml --output runs/transfer
  dgn experiment transfer --config config/transfer_celeba.yaml --data celeba/ --target fei/ --frontal '*-1[12].jpg' \\
      --target-crop 5,2,23,20 --output runs/transfer_fei

Ours, ABP and VAE are trained on general faces, then fine-tuned on frontal faces of other people; ours with a frozen
geometric generator, so that only the appearance generator is updated. People who are in neither training are then
reconstructed at five views. The result is the MSRE for each view and over all views, with mean and standard deviation
over runs, which have different training seeds and the same images. VAE reconstructs with its encoder, the other two
with Langevin dynamics; the decoder of VAE with Langevin dynamics is also measured.

The unseen people of a folder --target are those in the last --held-out files of --frontal. Written to --output:
metrics.json, figures/transfer.png, and two run folders for each model and run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dgn import config as cfg
from dgn import device
from dgn.config import Config
from dgn.data import labels
from dgn.data.open import open_sources
from dgn.errors import UserError
from dgn.evaluation.reconstruction import reconstruction_errors
from dgn.evaluation.uncertainty import plus_minus
from dgn.experiments.common import (
    Recipe,
    Target,
    folder_name,
    model_config,
    output_folder,
    table,
    transfer_recipe,
    tuning_config,
    write_results,
)
from dgn.experiments.views import images_by_view
from dgn.figures.sheet import save_sheet
from dgn.run import Run
from dgn.run_training import ensure_trained
from dgn.training.restore import training_files

COMPARED = ("VAE", "ABP", "ours")
BY_LANGEVIN = "VAE, Langevin"  # the VAE's decoder, with latents inferred by Langevin dynamics

Errors = dict[str, list[dict[float, float]]]  # model -> for each run: view -> MSRE


def transfer(config: Recipe, output: str | Path, *, target: Target = Target(held_out=100), runs: int = 3,
             people: int = 100) -> dict[str, Any]:
    """Trains and fine-tunes COMPARED `runs` times in run folders below `output`, and reconstructs unseen people.

    target: the frontal faces. people: largest number of unseen people.
    Returns the dictionary of `error_table`, "runs", and the origin, which are also written to metrics.json in `output`,
    and "pictures", the path drawn. Complete runs are not trained again. Raises UserError if the recipe and the target
    do not fit together, or nobody is unseen.
    """
    device.start()
    general = transfer_recipe(config, target)
    if target.path and not target.pattern:
        raise UserError("--target needs --frontal: which of its files show frontal faces")
    images = unseen_images(general, target, people)  # checked before hours of training
    folder = output_folder(output)
    errors: Errors = {name: [] for name in (*COMPARED, BY_LANGEVIN)}
    shown: dict[str, np.ndarray] = {}
    for number in range(runs):
        for name in COMPARED:
            print(f"--- run {number + 1} of {runs}, {name}", flush=True)
            seeded = cfg.changed(model_config(name, general), training={"seed": general.training.seed + number})
            run = train_and_tune(folder / f"run_{number + 1}" / folder_name(name), seeded, target)
            for label in (name, BY_LANGEVIN) if name == "VAE" else (name,):
                msre, shown[label] = reconstruct(run, images, use_encoder=label != BY_LANGEVIN)
                errors[label].append(msre)
    result = write_results(folder, {**error_table(errors), "runs": runs})
    rows = {"input": np.stack([x[0] for x in images.values()]), **shown}
    return {**result, "pictures": [save_sheet(
        folder / "figures" / "transfer.png", [list(row) for row in rows.values()],
        "An unseen face at five views, reconstructed after tuning on frontal faces", list(rows),
        [f"{view:+g} deg" for view in images])]}


def train_and_tune(folder: Path, config: Config, target: Target) -> Run:
    """A model trained on general faces, then on frontal faces."""
    ensure_trained(folder / "general", config)
    return ensure_trained(folder / "frontal", frontal_config(config, folder / "general", target))


def frontal_config(config: Config, start: Path, target: Target) -> Config:
    """The config of the fine-tuning."""
    return tuning_config(config, start, target, population="frontal", held_out=target.held_out if target.path else 0)


def unseen_images(general: Config, target: Target, people: int) -> dict[float, np.ndarray]:
    """People who are in neither training, at every view: view in degrees -> (n, C, H, W)."""
    data = frontal_config(general, Path("general"), target).data
    if data.path is None:
        return images_by_view(data, None, people)
    folder, sources = Path(data.path), open_sources(data)
    members = labels.read(folder)
    subjects = {label.file: label.subject for label in members}
    tuned_on, last = (set() if source is None else {subjects.get(source.name(k)) for k in range(len(source))}
                      for source in sources)
    by_view = labels.by_view(members, folder)
    unseen = [person for person in next(iter(by_view.values())) if person in last - tuned_on][:people]
    if not unseen:
        raise UserError(f"{folder}: none of the people in the last {target.held_out} files of --frontal is there at "
                        "every view and in no file that is tuned on")
    files = {view: [by_person[person] for person in unseen] for view, by_person in by_view.items()}
    known = training_files(general) or set()
    for file in (file for row in zip(*files.values()) for file in row):
        if str((folder / file).resolve()) in known:
            raise UserError(f"{folder / file} is to be reconstructed unseen, but is among the images of the first "
                            f"training ({general.data.path})")
    return {view: labels.read_files(folder, of_view, data) for view, of_view in files.items()}


def reconstruct(run: Run, images: dict[float, np.ndarray],
                use_encoder: bool = True) -> tuple[dict[float, float], np.ndarray]:
    """MSRE of each view, and the first person's reconstruction at each view, (V, C, H, W)."""
    everything = np.concatenate(list(images.values()))
    rebuilt = run.decode(*run.infer(everything, use_encoder=use_encoder)).image
    by_view = np.split(rebuilt, np.cumsum([len(x) for x in images.values()])[:-1])
    errors = {view: reconstruction_errors(x, y)["msre"] for (view, x), y in zip(images.items(), by_view)}
    return errors, np.stack([y[0] for y in by_view])


def error_table(errors: Errors) -> dict[str, Any]:
    """Errors over runs, in the form of Table 1.

    msre: {model: {view, or "all": {mean, std, runs}}}, std with n - 1. ratio: {model: mean over all views of ours,
    divided by the mean of that model}.
    """
    msre: dict[str, dict[str, Any]] = {}
    for name, runs in errors.items():
        per_view = {f"{view:g}": [run[view] for run in runs] for view in runs[0]}
        per_view["all"] = [float(np.mean(list(run.values()))) for run in runs]
        msre[name] = {view: {"mean": float(np.mean(values)), "std": deviation(values), "runs": values}
                      for view, values in per_view.items()}
    ours = msre["ours"]["all"]["mean"]
    return {"msre": msre,
            "ratio": {name: ours / views["all"]["mean"] for name, views in msre.items() if name != "ours"}}


def deviation(values: list[float]) -> float | None:
    """Standard deviation with n - 1; None for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def summary(result: dict[str, Any]) -> str:
    """Table 1."""
    models = result["msre"]
    rows = {("all views" if view == "all" else f"{float(view):+g} degrees"):
            [plus_minus(msre[view]["mean"], msre[view]["std"]) for msre in models.values()]
            for view in models["ours"]}
    ratios = ", ".join(f"{ratio:.2f} of {name}'s" for name, ratio in result["ratio"].items())
    return f"{table('MSRE', list(models), rows)}\nours over all views: {ratios}"
