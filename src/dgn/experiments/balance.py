"""The explaining-away competition of the two generators over alpha and beta (5.7), and the geometry's initial scale.

  dgn experiment balance --config config/balance.yaml --output runs/balance

The recipe is trained once for each value of alpha, the ratio of channels (scheme 1); of beta, the scale of the
geometry's weights in the forward pass (scheme 2); and of the initial scale of the geometry's last layer (scheme 1).
Scheme 2 uses ten times the learning rate of scheme 1, because an Adam step changes a weight by about the learning rate,
and these weights have standard deviation 1 instead of 0.1. The biases, which start at 0, have the same learning rate.

The error does not show the balance: a geometry that starts near zero selects pixels from a checkerboard, with the same
small error. Therefore these are also measured: how well pose follows the geometry, and colour the appearance, when
faces exchange geometry; the appearance's energy near the Nyquist frequency relative to the images; and the size and
smoothness of the displacement.

Written to --output: metrics.json, figures/balance.png and balance_faces.png, and a run folder for each value.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgn import config as cfg
from dgn import device
from dgn.evaluation.evaluate import evaluate
from dgn.evaluation.ratios import formatted
from dgn.experiments.common import Recipe, generated_recipe, output_folder, table, write_results
from dgn.figures import charts
from dgn.nets.layers import INIT_STD
from dgn.run import Run
from dgn.run_training import ensure_trained

POSE = ("yaw", "pitch", "roll")
COLOUR = ("skin", "hair_colour", "background_light", "light")

Sweep = list[tuple[str, dict[str, Any]]]  # (name of a value, its changes of the model section)
SWEEPS: dict[str, Sweep] = {
    "alpha": [(f"{alpha:g}", {"scaling": "none", "alpha": alpha}) for alpha in (0.15, 0.3, 0.625, 1.25, 2.5)],
    "beta": [(f"{beta:g}", {"scaling": "he", "beta": beta}) for beta in (0.03, 0.1, 0.3, 1.0, 3.0)],
    "start": [(f"{scale:g}", {"scaling": "none", "geometry_init": scale}) for scale in (0.1, 0.3, 1.0, 3.0)],
}
TITLES = {"alpha": "alpha: appearance / geometry channels (scheme 1)",
          "beta": "beta: scale of the geometry's weights (scheme 2)",
          "start": "initial scale of the geometry's last layer"}
COLUMNS = {"msre": "MSRE", "unseen_msre": "unseen", "pose_in_geometry": "pose in geometry",
           "colour_in_appearance": "colour in appearance", "nyquist_ratio": "checkerboard",
           "displacement_rms": "displacement", "stretch_rms": "stretch", "folded": "folded"}


def balance(config: Recipe, output: str | Path, *, sweeps: Mapping[str, Sweep] = SWEEPS,
            shown: int = 5) -> dict[str, Any]:
    """Trains the recipe with every value of `sweeps` in run folders below `output`, and measures each run.

    shown: number of faces in the picture.
    Returns for each sweep the measures of `share_measures` by value, and their origin, which are also written to
    metrics.json in `output`, and "pictures", the paths drawn. Complete runs are not trained again. Raises UserError
    for a recipe without generated faces.
    """
    device.start()
    config = generated_recipe(config)
    folder = output_folder(output)
    measures: dict[str, dict[str, Any]] = {}
    faces: dict[str, list[np.ndarray]] = {}
    for sweep, values in sweeps.items():
        measures[sweep] = {}
        for name, model in values:
            print(f"--- {sweep} {name}", flush=True)
            run = ensure_trained(folder / f"{sweep}_{name}", variant(config, model))
            measures[sweep][name] = share_measures(evaluate(run))
            faces[f"{sweep} {name}"] = example_faces(run, shown)
    result = write_results(folder, measures)
    titled = {TITLES.get(sweep, sweep): values for sweep, values in measures.items()}
    return {**result, "pictures": [charts.balance(folder / "figures" / "balance.png", titled),
                                   charts.balance_faces(folder / "figures" / "balance_faces.png", faces)]}


def variant(config: cfg.Config, model: dict[str, Any]) -> cfg.Config:
    """The recipe with changes of its model section. If the scheme changes, the learning rate changes with the standard
    deviation of the initial weights, so that an Adam step has the same size relative to them."""
    deviation = {"none": INIT_STD, "he": 1.0}
    factor = deviation[model.get("scaling", config.model.scaling)] / deviation[config.model.scaling]
    rates = tuple((epoch, factor * rate) for epoch, rate in config.training.learning_rate)
    return cfg.changed(config, model=model, training={"learning_rate": rates})


def share_measures(evaluation: dict[str, Any]) -> dict[str, float | None]:
    """The measures that a sweep compares, from a run's evaluation.

    pose_in_geometry, colour_in_appearance: mean correlation of the factors in POSE and COLOUR with their own donor when
    faces exchange geometry, minus the correlation with the other donor; for the other measures see dgn.evaluation.
    """
    def share(names: tuple[str, ...], own: str, other: str) -> float:
        exchange = evaluation["exchange"]
        return float(np.mean([exchange[name][own] - exchange[name][other] for name in names]))

    return {"msre": evaluation["train"]["msre"], "unseen_msre": evaluation["unseen"]["msre"],
            "pose_in_geometry": share(POSE, "geometry_donor", "appearance_donor"),
            "colour_in_appearance": share(COLOUR, "appearance_donor", "geometry_donor"),
            "nyquist_ratio": evaluation["appearance"]["nyquist_ratio"],
            **{key: evaluation["geometry"][key] for key in ("displacement_rms", "stretch_rms", "folded")}}


def example_faces(run: Run, count: int) -> list[np.ndarray]:
    """The first training images, their reconstructions, and their appearances before the warp."""
    indices = np.arange(min(count, len(run.bank)))
    decoded = run.decode(*run.bank.read(indices))
    appearance, _ = decoded.warp_inputs
    return [*run.sources.train.read(indices), *decoded.image, *appearance]


def summary(result: dict[str, Any]) -> str:
    """A table for each sweep."""
    def rows(values: dict[str, dict[str, float | None]]) -> dict[str, list[str]]:
        return {name: [formatted(measures[key]) for key in COLUMNS] for name, measures in values.items()}

    return "\n\n".join(table(sweep, list(COLUMNS.values()), rows(values)) for sweep, values in result.items()
                       if sweep not in ("versions", "provenance", "pictures"))
