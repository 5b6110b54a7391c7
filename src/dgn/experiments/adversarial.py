"""The likelihood alone, and with a critic beside it (5.3, Eq. 22, Fig. 9 and 11).

  dgn experiment adversarial --config config/adversarial_faces64.yaml --output runs/adversarial
  dgn experiment adversarial --config config/adversarial256.yaml --data portraits/ --output runs/portraits

A model is learned by the likelihood alone (the recipe, without its critic). From there two runs go on for as many more
epochs: one as before, one with the recipe's critic. Both are then measured by the same code: error, sharpness (gradient
energy relative to real images) of reconstructions of unseen images and of samples from the prior, the Frechet distance of
both to real images in a space of random features (dgn.evaluation.frechet says what it is good for), how much samples vary,
and, on generated faces, the measures of disentanglement with known factors. Reconstructions are compared with their own
images; samples with generated faces of other people or, with --data, with the training images. Written to --output:
metrics.json, figures/ (reconstructions side by side, recombination of unseen images after 300 Langevin steps) and three run
folders, each with its curves and bases.
"""

from __future__ import annotations

import argparse
from typing import Any, Dict

import numpy as np

from dgn import config as cfg
from dgn import runtime
from dgn.cli import above_zero, positive
from dgn.errors import UserError
from dgn.experiments.models import OTHER_PEOPLE, add_recipe, deformable_recipe, experiment_folder
from dgn.files import write_json

SAMPLED = 1000  # pictures from the prior, and real ones that they are compared with, at most
SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_recipe(parser, "runs/adversarial")
    parser.add_argument("--data", metavar="PATH", help="images (data.path); without it faces are generated")
    parser.add_argument("--more-epochs", type=positive, default=60, help="of both second runs (default %(default)s)")
    parser.add_argument("--rate", type=above_zero, default=1e-3, help="their learning rate, at the end a third of it (default %(default)s)")
    parser.add_argument("--faces", type=positive, default=500, help="unseen generated faces whose latents are measured (default %(default)s)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import runs
    from dgn.cli import evaluate
    from dgn.cli import figures as pictures
    from dgn.experiments.baselines import enough_faces, known_factors

    config = deformable_recipe(args)
    config = cfg.with_whole_paths(cfg.changed(config, data={"path": args.data or config.data.path}))
    if config.training.adversarial == "none":
        raise UserError(f"{args.config}: training.adversarial is none; the experiment needs a critic to compare with")
    if min(config.data.held_out, config.evaluation.images) < 2:
        raise UserError(f"data.held_out is {config.data.held_out} and evaluation.images {config.evaluation.images}; at least two images must "
                        "be held out, to be measured unseen")
    if config.data.path is None:
        enough_faces(args.faces)
    folder = experiment_folder(args.output)
    first = without_critic(config)
    print("--- likelihood")
    runs.finished(folder / "start", first, device)
    result: Dict[str, Any] = {}
    trained = {}
    for name, recipe in (("likelihood", first), ("with critic", config)):
        print(f"--- going on: {name}")
        going_on = going_on_from(recipe, str(folder / "start"), args.more_epochs, args.rate)
        trained[name] = runs.finished(folder / name.replace(" ", "_"), going_on, device)
        measured = evaluate.evaluate(trained[name])
        pictures.draw(trained[name], trained[name].folder.figures)
        result[name] = {"train": measured["train"], "unseen": measured["unseen"], **pictures_measured(trained[name])}
        if config.data.path is None:
            result[name].update(known_factors(trained[name], args.faces))
    write_json(folder / "metrics.json", {"models": result, "versions": runtime.versions()})
    print(summary(result))
    for path in draw(folder / "figures", trained):
        print(path)


def without_critic(config: cfg.Config) -> cfg.Config:
    """The config of a run by likelihood alone: another critic's settings do not make it another training."""
    unset = cfg.Training()
    return cfg.changed(config, training={"adversarial": "none", **{key: getattr(unset, key) for key in (
        "likelihood_weight", "critic_width", "r1_weight", "r1_every")}})


def going_on_from(config: cfg.Config, start: str, epochs: int, rate: float) -> cfg.Config:
    """The config of a run that begins with the weights of another. Its chains begin at the prior's mean, from where they reach
    their images within a few epochs; Adam forgets faster, as the critic that past gradients came from is no longer there."""
    return cfg.with_whole_paths(cfg.changed(
        config, inference={"sigma": ((0, cfg.last_sigma(config)),), "begin": "mean"},
        training={"start": start, "renew_appearance": (), "epochs": epochs, "adam_beta1": 0.5,
                  "learning_rate": ((0, rate), (max(int(0.8 * epochs), 1), 0.3 * rate))}))


def pictures_measured(trained) -> Dict[str, float]:
    """Sharpness and Frechet distance of reconstructions of unseen images and of samples, and the samples' variety."""
    from dgn import build
    from dgn.evaluation.frechet import frechet_distance
    from dgn.evaluation.sharpness import relative_sharpness
    from dgn.evaluation.variety import relative_variety
    from dgn.inference.langevin import draw_noise

    sources, config = trained.open_sources(), trained.config
    held_out = sources.held_out.read(np.arange(min(len(sources.held_out), config.evaluation.images)))
    rebuilt = trained.decode(*trained.infer(held_out)).image
    if config.data.path is None:
        real = build.make_faces(config.data, SAMPLED, config.data.seed + OTHER_PEOPLE).read(np.arange(SAMPLED))
    else:
        real = sources.train.read(np.arange(min(len(sources.train), SAMPLED)))
    noise = draw_noise(trained.model, 1, len(real), config.training.seed, "samples")
    made = trained.decode(*(n[0] for n in noise)).image
    return {"sharpness_reconstruction": relative_sharpness(rebuilt, held_out), "sharpness_samples": relative_sharpness(made, real),
            "frechet_reconstruction": frechet_distance(rebuilt, held_out), "frechet_samples": frechet_distance(made, real),
            "variety_samples": relative_variety(made, real)}


def summary(result: Dict[str, Any]) -> str:
    """The table of the README."""
    from dgn.experiments.baselines import error_rows, score_rows, show

    rows = {
        **error_rows(),
        "sharpness of reconstructions (1: real)": lambda r: f"{r['sharpness_reconstruction']:.2f}",
        "sharpness of samples": lambda r: f"{r['sharpness_samples']:.2f}",
        "Frechet distance of reconstructions": lambda r: f"{r['frechet_reconstruction']:.4f}",
        "Frechet distance of samples": lambda r: f"{r['frechet_samples']:.4f}",
        "variety of samples (1: real)": lambda r: f"{r['variety_samples']:.2f}",
    }
    if all("disentanglement" in r for r in result.values()):
        rows.update(score_rows())
    return show(result, rows)


def draw(folder, trained: Dict[str, Any]):
    """Fig. 9 (input, both reconstructions, appearance, grids) and Fig. 11 (recombination) of unseen images."""
    from dgn.figures import pictures
    from dgn.figures.grids import with_grid
    from dgn.figures.sheet import save_sheet

    with_critic = trained["with critic"]
    held_out = with_critic.open_sources().held_out
    images = held_out.read(np.arange(min(len(held_out), SHOWN)))
    scale = 3 if images.shape[-1] <= 64 else 1
    latents = {name: run.infer(images, 300) for name, run in trained.items()}
    decoded = {name: run.decode(*latents[name]) for name, run in trained.items()}
    critic = decoded["with critic"]
    rows = [list(images), list(decoded["likelihood"].image), list(critic.image), list(critic.appearance),
            [with_grid(i, d, scale) for i, d in zip(critic.image, critic.displacement)], [with_grid(a, None, scale) for a in critic.appearance]]
    yield save_sheet(folder / "reconstruction.png", rows, "Unseen images, by likelihood alone and with a critic",
                     ["input", "likelihood", "with critic", "its appearance\nbefore the warp", "its bent grid", "canonical grid"])
    yield pictures.recombination(folder / "recombination.png", with_critic.decode, images, *latents["with critic"],
                                 "Recombination of unseen images after 300 Langevin steps, with a critic")
