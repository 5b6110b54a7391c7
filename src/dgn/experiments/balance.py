"""Who explains what: the competition of the two generators over alpha, beta and the geometry's start (5.7).

  dgn experiment balance --config config/balance.yaml --output runs/balance

The recipe is trained once for each value: alpha, the ratio of channels (scheme 1); beta, the weights' scale at run time
(scheme 2); and the initial scale of the geometry's last layer. For each: the error, how much of the pose follows the
geometry (correlation of yaw, pitch and roll with the geometry's donor when faces exchange it, less that with the
appearance's donor), how much of colour and light follows the appearance, whether the appearance is a checkerboard (its
energy near the Nyquist frequency, relative to the images'), and how far and how raggedly geometry moves pixels.
Low error says nothing of it: a geometry that starts near nothing picks pixels of a checkerboard and reaches the least.
Written to --output: metrics.json, figures/balance.png and balance_faces.png, and a run folder for each value.
"""

from __future__ import annotations

import argparse
from typing import Any, Dict, List, Tuple

import numpy as np

from dgn import config as cfg
from dgn import runtime
from dgn.cli import positive
from dgn.experiments.models import add_recipe, experiment_folder, generated_only, table
from dgn.files import write_json

POSE = ("yaw", "pitch", "roll")
COLOUR = ("skin", "hair_colour", "background_light", "light")

SWEEPS: Dict[str, List[Tuple[str, Dict[str, Any]]]] = {
    "alpha": [(f"{alpha:g}", {"alpha": alpha}) for alpha in (0.15, 0.3, 0.625, 1.25, 2.5)],
    "beta": [(f"{beta:g}", {"scaling": "he", "beta": beta}) for beta in (0.03, 0.1, 0.3, 1.0, 3.0)],
    "start": [(f"{scale:g}", {"geometry_init": scale}) for scale in (0.1, 0.3, 1.0, 3.0)],
}
TITLES = {"alpha": "alpha: appearance / geometry channels (scheme 1)", "beta": "beta: scale of the geometry's weights (scheme 2)",
          "start": "initial scale of the geometry's last layer"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser, "runs/balance")
    parser.add_argument("--sweep", choices=list(SWEEPS), action="append", help="only this one; may be repeated (default: all)")
    parser.add_argument("--shown", type=positive, default=5, help="faces of the picture (default %(default)s)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import runs
    from dgn.cli import evaluate
    from dgn.figures import experiments as figures

    config = generated_only(args)
    folder = experiment_folder(args.output)
    chosen = [sweep for sweep in SWEEPS if not args.sweep or sweep in args.sweep]
    result: Dict[str, Dict[str, Any]] = {}
    faces: Dict[str, List[np.ndarray]] = {}
    for sweep in chosen:
        result[sweep] = {}
        for name, model in SWEEPS[sweep]:
            print(f"--- {sweep} {name}", flush=True)
            trained = runs.finished(folder / f"{sweep}_{name}", cfg.changed(config, model=model), device)
            result[sweep][name] = balance(evaluate.evaluate(trained))
            few = np.arange(min(args.shown, len(trained.bank)))
            decoded = trained.decode(*trained.bank.read(few))
            faces[f"{sweep} {name}"] = [*trained.open_sources().train.read(few), *decoded.image, *decoded.appearance]
        print(summary(sweep, result[sweep]), flush=True)
    write_json(folder / "metrics.json", {**result, "versions": runtime.versions()})
    print(figures.balance(folder / "figures" / "balance.png", {TITLES[sweep]: found for sweep, found in result.items()}))
    print(figures.balance_faces(folder / "figures" / "balance_faces.png", faces))


def balance(measured: Dict[str, Any]) -> Dict[str, float]:
    """What the sweep compares, from a run's measures."""
    def share(names, mine: str, other: str) -> float:
        return float(np.mean([measured["exchange"][name][mine] - measured["exchange"][name][other] for name in names]))

    return {"msre": measured["train"]["msre"], "unseen_msre": measured["unseen"]["msre"],
            "pose_in_geometry": share(POSE, "geometry_donor", "appearance_donor"),
            "colour_in_appearance": share(COLOUR, "appearance_donor", "geometry_donor"),
            "nyquist_ratio": measured["appearance"]["nyquist_ratio"],
            **{key: measured["geometry"][key] for key in ("displacement_rms", "stretch_rms", "folded")}}


def summary(sweep: str, found: Dict[str, Dict[str, float]]) -> str:
    """One sweep as a table."""
    columns = {"msre": "MSRE", "unseen_msre": "unseen", "pose_in_geometry": "pose in geometry", "colour_in_appearance": "colour in appearance",
               "nyquist_ratio": "checkerboard", "displacement_rms": "displacement", "stretch_rms": "stretch", "folded": "folded"}
    return table(sweep, list(columns.values()), {name: [f"{values[key]:.2f}" for key in columns] for name, values in found.items()})
