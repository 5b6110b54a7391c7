"""The deformable model against ABP and VAE of the same size, and against itself learned by VAE, on generated faces.

  dgn experiment baselines --config config/faces.yaml --output runs/baselines

Four models are trained by one recipe; each is then measured by the same code: reconstruction of training and unseen
faces, and, as every factor of a generated face is known: linear regression from each block of latents to each group of
factors, DCI, MIG and SAP, and how near the learned displacement comes to the true motion. The plain models have no
blocks of their own: each of their dimensions counts for the group of factors that a random forest uses it more for.
Langevin dynamics gives a sample of the latents, an encoder their mean: reconstructions are of these as they are, measures
of the latents follow 100 steps without noise. Training images are reconstructed from what their last visit left. A
recipe's renewed appearance (training.renew_appearance) acts on ours alone, its chains that begin again
(inference.restart_every) on ours and ABP. Written to --output: metrics.json, figures/, and a run folder for each model.
"""

from __future__ import annotations

import argparse
from typing import Any, Callable, Dict

import numpy as np

from dgn import runtime
from dgn.cli import positive
from dgn.errors import UserError
from dgn.experiments.models import (
    MODELS,
    OTHER_PEOPLE,
    SETTLE,
    add_recipe,
    config_of,
    experiment_folder,
    folder_name,
    generated_only,
    table,
)
from dgn.files import write_json

FEWEST = 20
PAIRS = 200  # faces whose displacement is compared with the next one's


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser, "runs/baselines")
    parser.add_argument("--faces", type=positive, default=1000, help="unseen faces whose latents are measured (default %(default)s)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import runs
    from dgn.cli import evaluate
    from dgn.figures import experiments as figures
    from dgn.nets.layers import parameter_count

    config = generated_only(args)
    enough_faces(args.faces)
    folder = experiment_folder(args.output)
    result: Dict[str, Any] = {}
    for name in MODELS:
        print(f"--- {name}")
        trained = runs.finished(folder / folder_name(name), config_of(name, config), device)
        measured = evaluate.evaluate(trained)
        result[name] = {"parameters": parameter_count(trained.model), "train": measured["train"], "unseen": measured["unseen"],
                        **known_factors(trained, args.faces)}
        if trained.encoder is not None:
            result[name]["unseen_by_langevin"] = evaluate.evaluate(trained, by_langevin=True)["unseen"]
    write_json(folder / "metrics.json", {"models": result, "faces": args.faces, "versions": runtime.versions()})
    print(summary(result))
    print(figures.disentanglement(folder / "figures" / "disentanglement.png", result))


def enough_faces(faces: int) -> None:
    """Raises UserError if so many faces are too few for `known_factors`."""
    if faces < FEWEST:
        raise UserError(f"--faces is {faces}; a regression with cross-validation needs at least {FEWEST}")


def known_factors(trained, faces: int) -> Dict[str, Any]:
    """Disentanglement and correspondence of a run on generated faces that it has not seen."""
    from dgn import build
    from dgn.data.faces import APPEARANCE, GEOMETRY, correspondence
    from dgn.evaluation.correspondence import endpoint_errors
    from dgn.evaluation.disentanglement import disentanglement_scores

    data = trained.config.data
    source, everyone = build.make_faces(data, faces, data.seed + OTHER_PEOPLE), np.arange(faces)
    latents = trained.infer(source.read(everyone), settle=SETTLE)
    names = (*APPEARANCE, *GEOMETRY)
    kinds = [0] * len(APPEARANCE) + [1] * len(GEOMETRY)
    blocks = np.repeat(np.arange(len(latents)), [z.shape[1] for z in latents]) if len(latents) == 2 else None
    measured = disentanglement_scores(np.concatenate(latents, 1), source.factor_table(everyone, names), kinds, blocks,
                                       seed=trained.config.training.seed)
    some = everyone[:PAIRS]
    decoded = trained.decode(*(z[some] for z in latents))
    field = decoded.displacement if decoded.displacement is not None else np.zeros((len(some), 2, data.size, data.size), np.float32)
    material, mask = (np.stack(parts) for parts in zip(*(correspondence(source.factors(k), data.size) for k in some)))
    return {"disentanglement": measured, "correspondence": endpoint_errors(field, material, mask)}


def error_rows() -> Dict[str, Callable[[Dict[str, Any]], str]]:
    """Rows of a table of models: what of a model's result is shown, by the row's name."""
    return {"MSRE, training": lambda r: f"{r['train']['msre']:.1f}", "MSRE, unseen": lambda r: f"{r['unseen']['msre']:.1f}"}


def score_rows() -> Dict[str, Callable[[Dict[str, Any]], str]]:
    """Rows of the measures with known factors."""
    names = {"R2 gap": "r2_gap", "DCI disentanglement": "dci_disentanglement", "DCI completeness": "dci_completeness",
             "DCI informativeness": "dci_informativeness", "MIG": "mig", "SAP": "sap"}
    return {name: lambda r, key=key: f"{r['disentanglement'][key]:.3f}" for name, key in names.items()}


def show(result: Dict[str, Any], rows: Dict[str, Callable[[Dict[str, Any]], str]]) -> str:
    """The models' results as a table, a model a column."""
    return table("", list(result), {name: [row(r) for r in result.values()] for name, row in rows.items()})


def summary(result: Dict[str, Any]) -> str:
    """The table of the README."""
    def r2(r, group: str, *blocks: str) -> str:
        return " / ".join(f"{r['disentanglement']['r2'][f'{group}_from_z_{block}']:.2f}" for block in blocks)

    rows = {
        **error_rows(),
        "geometry from Z^g / Z^a (R2)": lambda r: r2(r, "geometry", "geometry", "appearance"),
        "appearance from Z^a / Z^g (R2)": lambda r: r2(r, "appearance", "appearance", "geometry"),
        **score_rows(),
        "end-point error (pixels)": lambda r: f"{r['correspondence']['endpoint_error']:.2f}",
        "  relative to no displacement": lambda r: f"{r['correspondence']['endpoint_ratio']:.2f}",
        "parameters of the generator": lambda r: f"{r['parameters']:,}",
    }
    return show(result, rows)
