"""Training by likelihood, and with a critic in addition (5.3, Eq. 22, Fig. 9 and 11).

  dgn experiment adversarial --config config/adversarial_faces64.yaml --output runs/adversarial
  dgn experiment adversarial --config config/adversarial256.yaml --data portraits/ --output runs/portraits

A model is trained only by likelihood (the recipe without its critic). Two runs continue from it: one by likelihood, one
with the recipe's critic. Both are measured in the same way: reconstruction error; sharpness (gradient energy relative
to real images) and Frechet distance to real images (dgn.evaluation.sample_quality), both for reconstructions of unseen
images and for samples from the prior; variety of the samples; and on generated faces disentanglement with known
factors. Reconstructions are compared with their own images, samples with generated faces of other people, or with the
training images of a folder.

Written to --output: metrics.json, figures/ (reconstructions side by side, recombination of unseen images), and three
run folders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dgn import config as cfg
from dgn import device, recipe
from dgn.config import Config
from dgn.data.open import generated_faces
from dgn.errors import UserError
from dgn.evaluation.evaluate import evaluate
from dgn.evaluation.ratios import formatted
from dgn.evaluation.sample_quality import distance_of_halves, frechet_distance, relative_sharpness, relative_variety
from dgn.experiments.baselines import check_faces, error_rows, known_factors, model_table, score_rows
from dgn.experiments.common import (
    OTHER_PEOPLE,
    Recipe,
    deformable_recipe,
    final_inference,
    folder_name,
    held_out,
    output_folder,
    write_results,
)
from dgn.figures import pictures
from dgn.figures.draw import draw
from dgn.figures.grids import with_grid
from dgn.figures.sheet import save_sheet
from dgn.run import Run
from dgn.run_training import ensure_trained

SAMPLES = 1000  # largest numbers of samples from the prior, and of real images for comparison
SHOWN = 8
STEPS = 300  # Langevin steps for the pictures (5.3)
LIKELIHOOD, CRITIC = "likelihood", "with critic"


def adversarial(config: Recipe, output: str | Path, *, more_epochs: int = 60, learning_rate: float = 1e-3,
                faces: int = 500) -> dict[str, Any]:
    """Trains with and without the recipe's critic in run folders below `output`, measures both, and draws Fig. 9 and
    11.

    more_epochs: epochs of each continued run. learning_rate: learning rate of the continued runs; at the end 0.3 times
    as large. faces: number of unseen generated faces whose latents are measured.
    Returns "models" (by LIKELIHOOD and CRITIC: train, unseen, the measures of `picture_measures` and, on generated
    faces, of `known_factors`) and their origin, which are also written to metrics.json in `output`, and "pictures", the
    paths drawn. Complete runs are not trained again. Raises UserError for a recipe without a critic or held-out
    images.
    """
    device.start()
    config = deformable_recipe(config)
    if config.training.adversarial == "none":
        raise UserError("training.adversarial is none; the experiment needs a recipe with a critic")
    if min(config.data.held_out, config.evaluation.images) < 2:
        raise UserError(f"data.held_out is {config.data.held_out} and evaluation.images {config.evaluation.images}; at "
                        "least two images must be held out for the measures of unseen images")
    if config.data.path is None:
        check_faces(faces)
    folder = output_folder(output)
    first = without_critic(config)
    print(f"--- {LIKELIHOOD}", flush=True)
    ensure_trained(folder / "start", first)
    models: dict[str, Any] = {}
    runs: dict[str, Run] = {}
    for name, method in ((LIKELIHOOD, first), (CRITIC, config)):
        print(f"--- continued: {name}", flush=True)
        run = ensure_trained(folder / folder_name(name),
                             continued(method, folder / "start", more_epochs, learning_rate))
        errors = evaluate(run)
        draw(run)
        models[name] = {"train": errors["train"], "unseen": errors["unseen"], **picture_measures(run)}
        if config.data.path is None:
            models[name].update(known_factors(run, faces))
        runs[name] = run
    result = write_results(folder, {"models": models})
    return {**result, "pictures": unseen_pictures(folder / "figures", runs[LIKELIHOOD], runs[CRITIC])}


def without_critic(config: Config) -> Config:
    """The config of a run without the critic. The critic's settings become the defaults, so that configs that differ
    only in them share this run."""
    defaults = cfg.Training()
    unused = ("likelihood_weight", "critic_width", "r1_weight", "r1_interval")
    return cfg.changed(config, training={"adversarial": "none", **{key: getattr(defaults, key) for key in unused}})


def continued(config: Config, start: Path, epochs: int, learning_rate: float) -> Config:
    """The config of a run that is initialized from the run `start`.

    Its inference settings are those of common.final_inference, and its chains start at the prior mean, from where they
    converge within a few epochs. Adam's beta1 is lower, because earlier gradients come from a critic that has changed
    since.
    """
    schedule = ((0, learning_rate), (max(int(0.8 * epochs), 1), 0.3 * learning_rate))
    return recipe.absolute_paths(cfg.changed(
        config, inference={**final_inference(config), "chain_init": "mean"},
        training={"init_from": str(start), "reinit_appearance": (), "epochs": epochs, "adam_beta1": 0.5,
                  "learning_rate": schedule}))


def picture_measures(run: Run) -> dict[str, float | None]:
    """Sharpness and Frechet distance of reconstructions of unseen images and of samples, the distance of real images
    among themselves (see distance_of_halves), and the variety of the samples."""
    unseen, train, config = held_out(run), run.sources.train, run.config
    images = unseen.read(unseen.indices(config.evaluation.images))
    rebuilt = run.decode(*run.infer(images)).image
    if config.data.path is None:
        real = generated_faces(config.data, SAMPLES, config.data.seed + OTHER_PEOPLE).read(np.arange(SAMPLES))
    else:
        real = train.read(train.indices(SAMPLES))
    samples = run.sample(len(real), config.training.seed, "prior").image  # the critic was trained on prior samples
    return {"sharpness_reconstruction": relative_sharpness(rebuilt, images),
            "sharpness_samples": relative_sharpness(samples, real),
            "frechet_reconstruction": frechet_distance(rebuilt, images),
            "frechet_of_halves": distance_of_halves(real) if len(real) > 3 else None,
            "frechet_samples": frechet_distance(samples, real), "variety_samples": relative_variety(samples, real)}


def summary(result: dict[str, Any]) -> str:
    """The two models side by side."""
    rows = {
        **error_rows(),
        "sharpness of reconstructions (1: real)": lambda r: formatted(r["sharpness_reconstruction"]),
        "sharpness of samples": lambda r: formatted(r["sharpness_samples"]),
        "Frechet distance of reconstructions": lambda r: formatted(r["frechet_reconstruction"], ".4f"),
        "Frechet distance of samples": lambda r: formatted(r["frechet_samples"], ".4f"),
        "  of one half of the real images to the other": lambda r: formatted(r["frechet_of_halves"], ".4f"),
        "variety of samples (1: real)": lambda r: formatted(r["variety_samples"]),
    }
    if all("disentanglement" in r for r in result["models"].values()):
        rows.update(score_rows())
    return model_table(result["models"], rows)


def unseen_pictures(folder: Path, likelihood: Run, critic: Run) -> list[Path]:
    """Fig. 9 (input, both reconstructions, appearance, grids) and Fig. 11 (recombination) of unseen images."""
    source = held_out(critic)
    images = source.read(source.indices(SHOWN))
    plain = likelihood.decode(*likelihood.infer(images, STEPS))
    z_app, z_geo = critic.infer(images, STEPS)
    decoded = critic.decode(z_app, z_geo)
    appearance, displacement = decoded.warp_inputs
    rows = [list(images), list(plain.image), list(decoded.image), list(appearance),
            [with_grid(i, d) for i, d in zip(decoded.image, displacement)], [with_grid(a) for a in appearance]]
    return [
        save_sheet(folder / "reconstruction.png", rows, "Unseen images, by likelihood alone and with a critic",
                   ["input", "likelihood", "with critic", "its appearance\nbefore the warp", "its warped grid",
                    "canonical grid"]),
        pictures.recombination(folder / "recombination.png", critic.decode, images, z_app, z_geo,
                               f"Recombination of unseen images after {STEPS} Langevin steps, with a critic")]
