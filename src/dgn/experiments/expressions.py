"""Expressions of greyscale faces transferred to colour faces (5.2, Fig. 8).

  dgn experiment expressions --config config/expressions.yaml --output runs/expressions
  dgn experiment expressions --config config/expressions.yaml --set data.limit=null --set data.held_out=0 \\
      --data ckplus48/ --target fei/ --frontal '*-11.jpg' --target-crop 5,2,23,20 --output runs/expressions_ck

The deformable model is trained on greyscale faces with expressions. Its appearance generator, extended to three
channels, is then fine-tuned on neutral colour faces with a frozen geometric generator. The geometric latents of the
greyscale faces then warp the colour faces. For generated faces a probe of known factors measures whether mouth and
brows follow the greyscale donor, and skin and hair the colour donor.

Written to --output: metrics.json, figures/expressions.png, and two run folders with their own figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dgn import config as cfg
from dgn import device
from dgn.data.face_factors import EXPRESSION_FACTORS
from dgn.data.open import generated_faces
from dgn.errors import UserError
from dgn.evaluation import exchange
from dgn.evaluation.evaluate import evaluate, known_faces
from dgn.experiments.common import Recipe, Target, output_folder, table, transfer_recipe, tuning_config, write_results
from dgn.figures.draw import draw
from dgn.figures.sheet import save_sheet
from dgn.run import Run
from dgn.run_training import ensure_trained

STAYING = ("skin", "hair_colour", "background_light")  # factors that should follow the appearance
DONORS = 300
PROBE_FACES = 700
COLUMNS, ROWS = 10, 4  # donors and colour faces in the picture


def expressions(config: Recipe, output: str | Path, *,
                target: Target = Target(count=300, epochs=100)) -> dict[str, Any]:
    """Trains on greyscale faces and fine-tunes on colour faces in run folders below `output`, and draws Fig. 8.

    config: a recipe with data.grey. target: the colour faces.
    Returns "transfer" (only for generated faces, see `donor_correlations`) and the origin, which are also written to
    metrics.json in `output`, and "pictures", the path drawn. Complete runs are not trained again. Raises UserError if
    the recipe and the target do not fit together.
    """
    device.start()
    config = transfer_recipe(config, target)
    if not config.data.grey:
        raise UserError("the recipe's faces are in colour; data.grey: true makes them greyscale")
    folder = output_folder(output)
    grey = ensure_trained(folder / "grey", config)
    tuned = tuning_config(config, folder / "grey", target, grey=False, population="neutral")
    colour = ensure_trained(folder / "colour", tuned)
    for run in (grey, colour):
        evaluate(run)
        draw(run)
    known = {"transfer": donor_correlations(grey, colour)} if config.data.path is None else {}
    result = write_results(folder, known)
    return {**result, "pictures": [transfer_picture(folder / "figures" / "expressions.png", grey, colour)]}


def summary(result: dict[str, Any]) -> str:
    """The correlations as a table; a dash means that the donors do not differ in this factor."""
    if "transfer" not in result:
        return "the factors of these faces are unknown: no correlations"
    columns = {"greyscale donor (geometry)": "geometry_donor", "colour donor (appearance)": "appearance_donor",
               "the probe on true faces": "probe"}
    return table("correlation with", list(columns), {
        name: [f"{own[key]:+.2f}" if key in own else "-" for key in columns.values()]
        for name, own in result["transfer"].items()})


def donor_correlations(grey: Run, colour: Run) -> dict[str, dict[str, float]]:
    """Correlations of factors that a probe predicts from colour faces, which geometric latents of greyscale faces warp.

    By factor: geometry_donor and appearance_donor, with the factors of the greyscale and of the colour face; probe, of
    the probe's predictions for faces with the truth. The colour faces have no expressions, so factors of expressions
    have no appearance_donor.
    """
    count = min(DONORS, len(grey.bank), len(colour.bank))
    faces, names = np.arange(count), (*EXPRESSION_FACTORS, *STAYING)
    expressive, neutral = (generated_faces(run.config.data, count) for run in (grey, colour))
    data = cfg.changed(colour.config, data={"population": "expressions"}).data
    predict = exchange.probe(*known_faces(data, names, PROBE_FACES, data.seed + 1))
    images, truth = known_faces(data, names, PROBE_FACES, data.seed + 2)
    probed = predict(images)
    z_app, z_geo = colour.bank.read(faces)[0], in_dimensions_of(colour, grey, grey.bank.read(faces)[1])
    appearance, geometry = neutral.factor_table(faces, names), expressive.factor_table(faces, names)
    predicted = predict(colour.decode(z_app, z_geo).image)
    pairs = {"appearance_donor": (predicted, appearance), "geometry_donor": (predicted, geometry),
             "probe": (probed, truth)}
    return {name: {key: exchange.correlation(a[:, k], b[:, k]) for key, (a, b) in pairs.items()
                   if key != "appearance_donor" or name in STAYING} for k, name in enumerate(names)}


def in_dimensions_of(run: Run, origin: Run, z_geo: np.ndarray) -> np.ndarray:
    """Converts geometric latents (n, d) of the run `origin` to the dimensions of `run`, which was fine-tuned from it.
    The geometric generators are equal, but each run has its own principal axes (dgn.inference.axes)."""
    old, new = (np.asarray(opened.bank.rotations.get("z_geo", np.eye(z_geo.shape[1])), np.float32)
                for opened in (origin, run))
    return z_geo @ old.T @ new


def transfer_picture(path: Path, grey: Run, colour: Run) -> Path:
    """Fig. 8c: greyscale donors above, colour faces with their expressions below."""
    donors = np.linspace(0, len(grey.bank) - 1, COLUMNS).astype(int)
    people = np.linspace(0, len(colour.bank) - 1, ROWS).astype(int)
    images, z_geo = grey.sources.train.read(donors), in_dimensions_of(colour, grey, grey.bank.read(donors)[1])
    faces, z_app = colour.sources.train.read(people), colour.bank.read(people)[0]
    sheet = {"donor of the\nexpression": np.concatenate([np.ones((1, *images.shape[1:]), np.float32), images])}
    for k in range(ROWS):
        warped = colour.decode(z_app[k][None].repeat(COLUMNS, 0), z_geo).image
        sheet[f"face {k + 1}"] = np.concatenate([faces[k][None], warped])
    return save_sheet(path, [list(images) for images in sheet.values()],
                      "Expressions of greyscale faces on colour faces", list(sheet), ["own image", *[""] * COLUMNS])
