"""The models of Table 1, and a Deforming Autoencoder (Table 2), trained on generated faces and compared.

  dgn experiment baselines --config config/faces_demo.yaml --output runs/baselines

The seven models are: ours; ours with a monotone field; ABP of the same size; ABP with restarted chains; VAE of the same
size; ours trained as a VAE; and the Deforming Autoencoder, which is our generator with a monotone field and an encoder,
trained without noise and prior. One recipe trains them all.

All factors of generated faces are known, so disentanglement is measured in addition to reconstruction: linear
regression from each block of latents to each group of factors, DCI, MIG and SAP for two blocks, and the error of the
displacement relative to the true motion. The plain models have no blocks of latents: each dimension is assigned to the
group of factors for which a random forest uses it more. The R2 gap is also given for axes and blocks that an oracle
selects by the factors (dgn.evaluation.oracle), which is an upper bound for each model.

Langevin dynamics returns a posterior sample, an encoder the posterior mean. Reconstructions use these without change;
measures of the latents follow 100 steps without noise. Training images are reconstructed from their chains. Options
that only Langevin dynamics or the deformable model has (training.reinit_appearance, inference.restart_every ...) are
ignored for the other models.

Written to --output: metrics.json, figures/disentanglement.png, and a run folder for each model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dgn import device
from dgn.data.face_factors import APPEARANCE, GEOMETRY
from dgn.data.open import generated_faces
from dgn.errors import UserError
from dgn.evaluation.correspondence import endpoint_errors
from dgn.evaluation.disentanglement import block_r2, disentanglement_scores, r2_gap
from dgn.evaluation.evaluate import DESCENT_STEPS, evaluate, true_correspondence
from dgn.evaluation.oracle import oracle_axes
from dgn.evaluation.ratios import formatted
from dgn.experiments.common import (
    MODELS,
    OTHER_PEOPLE,
    Recipe,
    folder_name,
    generated_recipe,
    model_config,
    output_folder,
    table,
    write_results,
)
from dgn.figures import charts
from dgn.nets.layers import parameter_count
from dgn.run import Run
from dgn.run_training import ensure_trained

FEWEST = 20  # smallest number of faces for a regression with cross-validation
PAIRS = 200  # largest number of faces whose displacements are compared, each with the next face

Cell = Callable[[dict[str, Any]], str]  # a model's result -> its cell in a row of the table


def baselines(config: Recipe, output: str | Path, *, faces: int = 1000) -> dict[str, Any]:
    """Trains the MODELS with one recipe in run folders below `output`, and measures each in the same way.

    faces: number of unseen generated faces whose latents are measured.
    Returns "models" (by name: parameters, train, unseen, disentanglement, oracle_r2_gap, correspondence; for models
    with an encoder also unseen_by_langevin), "faces", and their origin, which are also written to metrics.json in
    `output`, and "pictures", the path drawn. Complete runs are not trained again. Raises UserError for a recipe without
    generated faces.
    """
    device.start()
    config = generated_recipe(config)
    check_faces(faces)
    folder = output_folder(output)
    models: dict[str, dict[str, Any]] = {}
    for name in MODELS:
        print(f"--- {name}", flush=True)
        models[name] = measure(ensure_trained(folder / folder_name(name), model_config(name, config)), faces)
    result = write_results(folder, {"models": models, "faces": faces})
    picture = charts.disentanglement(folder / "figures" / "disentanglement.png", models)
    return {**result, "pictures": [picture]}


def measure(run: Run, faces: int) -> dict[str, Any]:
    """All measures of one model."""
    errors = evaluate(run)
    result = {"parameters": parameter_count(run.model), "train": errors["train"], "unseen": errors["unseen"],
              **known_factors(run, faces)}
    if run.encoder is not None:
        result["unseen_by_langevin"] = evaluate(run, use_encoder=False)["unseen"]
    return result


def check_faces(faces: int) -> None:
    """Raises UserError if there are too few faces for `known_factors`."""
    if faces < FEWEST:
        raise UserError(f"--faces is {faces}; a regression with cross-validation needs at least {FEWEST}")


def known_factors(run: Run, faces: int) -> dict[str, Any]:
    """Disentanglement and correspondence of a run, on generated faces of other people."""
    data = run.config.data
    source, indices = generated_faces(data, faces, data.seed + OTHER_PEOPLE), np.arange(faces)
    latents = run.infer(source.read(indices), descent_steps=DESCENT_STEPS)
    factors = source.factor_table(indices, (*APPEARANCE, *GEOMETRY))
    kinds = [0] * len(APPEARANCE) + [1] * len(GEOMETRY)
    blocks = [k for k, group in enumerate(latents) for _ in range(group.shape[1])] if len(latents) == 2 else None
    z, seed = np.concatenate(latents, 1), run.config.training.seed
    rotated, oracle_blocks = oracle_axes(z, factors, kinds)
    pairs = indices[:PAIRS]
    displacement = run.decode(*(z[pairs] for z in latents)).displacement
    if displacement is None:
        displacement = np.zeros((len(pairs), 2, data.size, data.size), np.float32)
    return {"disentanglement": disentanglement_scores(z, factors, kinds, blocks, seed),
            "oracle_r2_gap": r2_gap(block_r2(rotated, factors, oracle_blocks, seed), np.array(kinds)),
            "correspondence": endpoint_errors(displacement, *true_correspondence(source, pairs))}


def error_rows() -> dict[str, Cell]:
    """Rows of reconstruction errors."""
    return {"MSRE, training": lambda r: f"{r['train']['msre']:.1f}",
            "MSRE, unseen": lambda r: f"{r['unseen']['msre']:.1f}"}


def score_rows() -> dict[str, Cell]:
    """Rows of the measures with known factors."""
    def score(key: str) -> Cell:
        return lambda r: f"{r['disentanglement'][key]:.3f}"

    names = {"R2 gap": "r2_gap", "DCI disentanglement": "dci_disentanglement", "DCI completeness": "dci_completeness",
             "DCI informativeness": "dci_informativeness", "MIG": "mig", "SAP": "sap"}
    return {name: score(key) for name, key in names.items()}


def model_table(models: dict[str, dict[str, Any]], rows: dict[str, Cell]) -> str:
    """Results as a table with a column for each model."""
    return table("", list(models), {name: [cell(r) for r in models.values()] for name, cell in rows.items()})


def summary(result: dict[str, Any]) -> str:
    """The models side by side."""
    def r2(r: dict[str, Any], group: str, *blocks: str) -> str:
        return " / ".join(f"{r['disentanglement']['r2'][f'{group}_from_z_{block}']:.2f}" for block in blocks)

    return model_table(result["models"], {
        **error_rows(),
        "  by Langevin dynamics": lambda r: f"{(r.get('unseen_by_langevin') or r['unseen'])['msre']:.1f}",
        "geometry from Z^g / Z^a (R2)": lambda r: r2(r, "geometry", "geometry", "appearance"),
        "appearance from Z^a / Z^g (R2)": lambda r: r2(r, "appearance", "appearance", "geometry"),
        "R2 gap, oracle axes": lambda r: f"{r['oracle_r2_gap']:.3f}",
        **score_rows(),
        "end-point error (pixels)": lambda r: f"{r['correspondence']['endpoint_error']:.2f}",
        "  relative to no displacement": lambda r: formatted(r['correspondence']['endpoint_ratio']),
        "parameters of the generator": lambda r: f"{r['parameters']:,}",
    })
