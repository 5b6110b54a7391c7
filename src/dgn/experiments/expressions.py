"""Expressions learned from grey faces and transferred to colour faces (5.2, Fig. 8).

  dgn experiment expressions --config config/expressions.yaml --output runs/expressions
  dgn experiment expressions --config config/expressions.yaml --set data.limit=null --set data.held_out=0 --data ckplus48/ \\
      --target fei/ --frontal '*-11.jpg' --target-crop 5,2,23,20 --output runs/expressions_ck

The deformable model learns grey faces with expressions; its appearance generator, given three channels, is then tuned on
neutral colour faces with the geometry frozen; and the geometric latents of the grey faces bend the colour ones. Without
--data and --target the faces are generated, and known factors tell whether mouth and brows follow the grey donor, skin and
hair the colour donor. Written to --output: metrics.json, figures/expressions.png and two run folders with their own figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict

import numpy as np

from dgn import config as cfg
from dgn import runtime
from dgn.data.face_factors import EXPRESSION_FACTORS as MOVED
from dgn.errors import UserError
from dgn.experiments.models import add_recipe, add_target, experiment_folder, first_config, table, tuning_config
from dgn.files import write_json

STAYING = ("skin", "hair_colour", "background_light")
DONORS = 300
PROBE_FACES = 700


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser, "runs/expressions")
    add_target(parser, faces=300, epochs=100)


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import runs
    from dgn.figures import experiments as figures

    config = first_config(args)
    if not config.data.grey:
        raise UserError("the recipe's faces are in colour; data.grey: true makes them grey")
    folder = experiment_folder(args.output)
    grey = runs.finished(folder / "grey", config, device)
    colour = runs.finished(folder / "colour", tuning_config(config, folder / "grey", args, grey=False, population="neutral"), device)
    from dgn.cli import evaluate
    from dgn.cli import figures as pictures
    for trained in (grey, colour):
        evaluate.evaluate(trained)
        pictures.draw(trained, trained.folder.figures)

    result: Dict[str, Any] = {"versions": runtime.versions()}
    if config.data.path is None:
        result["transfer"] = followed(grey, colour)
        print(summary(result["transfer"]))
    write_json(folder / "metrics.json", result)
    print(draw(figures, folder, grey, colour))


def summary(found: Dict[str, Dict[str, float]]) -> str:
    """Correlations as a table; neutral colour faces have no expression that could be followed."""
    return table("correlation with", ["grey donor (geometry)", "colour donor (appearance)", "the probe on true faces"], {
        name: [f"{own['geometry_donor']:+.2f}", f"{own['appearance_donor']:+.2f}" if "appearance_donor" in own else "-", f"{own['probe']:+.2f}"]
        for name, own in found.items()})


def followed(grey, colour) -> Dict[str, Dict[str, float]]:
    """Which donor's factors the colour faces show that grey faces' geometric latents bend, and how well true faces show them."""
    from dgn import build
    from dgn.cli.evaluate import known_faces
    from dgn.evaluation import exchange

    count = min(DONORS, len(grey.bank), len(colour.bank))
    faces = np.arange(count)
    expressive, neutral = build.make_faces(grey.config.data, count), build.make_faces(colour.config.data, count)
    names = (*MOVED, *STAYING)
    data = cfg.changed(colour.config, data={"population": "expressions"}).data
    predict = exchange.probe(*known_faces(data, names, PROBE_FACES, data.seed + 1))
    others, truth = known_faces(data, names, PROBE_FACES, data.seed + 2)
    read = predict(others)
    z_app, z_geo = colour.bank.read(faces)[0], grey.bank.read(faces)[1]
    found = exchange.donor_correlations(predict(colour.decode(z_app, z_geo).image), names, neutral.factor_table(faces, names),
                            expressive.factor_table(faces, names))
    for name in MOVED:  # neutral faces do not differ in these
        del found[name]["appearance_donor"]
    return {name: {**found[name], "probe": exchange.correlation(read[:, k], truth[:, k])} for k, name in enumerate(names)}


def draw(figures, folder: Path, grey, colour, columns: int = 10, rows: int = 4) -> Path:
    """Fig. 8c: grey donors above, colour faces with their expressions below."""
    donors = np.linspace(0, len(grey.bank) - 1, columns).astype(int)
    people = np.linspace(0, len(colour.bank) - 1, rows).astype(int)
    images, z_geo = grey.open_sources().train.read(donors), grey.bank.read(donors)[1]
    z_app = colour.bank.read(people)[0]
    faces = colour.open_sources().train.read(people)
    sheet = {"donor of the\nexpression": np.concatenate([np.ones((1, *images.shape[1:]), np.float32), images])}
    for k in range(rows):
        bent = colour.decode(z_app[k][None].repeat(columns, 0), z_geo).image
        sheet[f"face {k + 1}"] = np.concatenate([faces[k][None], bent])
    return figures.reconstructions(folder / "figures" / "expressions.png", sheet, ["own image", *[""] * columns],
                                   "Expressions learned from grey faces, on colour faces")
