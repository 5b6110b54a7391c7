"""The label as appearance, the geometry inferred (5.4, MNIST): does the label that is given matter, and only it?

  dgn train --config config/mnist.yaml --data mnist/ --output runs/mnist
  dgn experiment labels runs/mnist

Two measures. Analysis by synthesis: for each held-out image Z^g is inferred under every label; the label of least energy is
the guess, counted against the true one. Synthesis: pictures of each label with Z^g from the prior are shown to a
classifier that was trained on the run's real images (logistic regression); the share that it takes for their label says
whether geometry leaves the class alone. Written to the run folder: section "labels" of metrics.json; the pictures of
Fig. 13 are the run's own figures/labels_1.png and labels_2.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict

import numpy as np

from dgn.cli import positive
from dgn.errors import UserError

PER_LABEL = 100
CLASSIFIED = 5000  # real images that the classifier learns from, at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training with model.appearance=label")
    parser.add_argument("--images", type=positive, default=300, help="held-out images, at most (default %(default)s)")
    parser.add_argument("--steps", type=positive, default=100, help="Langevin steps under each label (default %(default)s)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import build

    trained = build.load_run(Path(args.run_folder), device)
    if trained.model.groups[0].sampled:
        raise UserError(f"{args.run_folder} has no labels as appearance; train with model.appearance=label")
    held_out = trained.open_sources().held_out
    if held_out is None:
        raise UserError(f"{args.run_folder} held no images out; train with data.held_out above 0")
    chosen = np.arange(min(len(held_out), args.images))
    images, labels = held_out.read(chosen), held_out.labels(chosen)
    if len(set(labels)) < 2:
        raise UserError(f"all held-out images of {args.run_folder} have the label {labels[0]}; at least two are needed")
    guessed = least_energy(trained, images, args.steps)
    result = {"images": len(chosen), "analysis_accuracy": float((guessed == labels).mean()), **synthesis(trained, images, labels)}
    trained.folder.add_results(labels=result)
    print(f"label of least energy is the true one for {100 * result['analysis_accuracy']:.1f}% of {len(chosen)} held-out images; "
          f"{100 * result['synthesis_accuracy']:.1f}% of generated images are taken for their label by a classifier that is right on "
          f"{100 * result['classifier_accuracy']:.1f}% of the held-out ones")


def least_energy(trained, images: np.ndarray, steps: int) -> np.ndarray:
    """The label under which the inferred Z^g has the least energy (Eq. 8), for each image, (n,)."""
    classes, energies = trained.model.groups[0].shape[0], []
    for label in range(classes):
        print(f"inferring {len(images)} images as {label} ...", flush=True)
        given = np.eye(classes, dtype=np.float32)[[label] * len(images)]
        latents = trained.infer(images, steps, {"z_app": given}, settle=steps, by_langevin=True)
        energies.append(trained.energy(images, latents))
    return np.argmin(energies, 0)


def synthesis(trained, images: np.ndarray, labels: np.ndarray) -> Dict[str, float]:
    """What a classifier of real images says of generated ones."""
    from sklearn.linear_model import LogisticRegression

    from dgn.randomness import generator

    source = trained.open_sources().train
    known = np.arange(min(len(source), CLASSIFIED))
    classifier = LogisticRegression(C=0.05, max_iter=200).fit(source.read(known).reshape(len(known), -1), source.labels(known))
    classes = trained.model.groups[0].shape[0]
    shown = np.repeat(np.arange(classes), PER_LABEL)
    z_geo = generator(trained.config.training.seed, "label synthesis").standard_normal((len(shown), *trained.model.groups[1].shape), np.float32)
    pictures = trained.decode(np.eye(classes, dtype=np.float32)[shown], z_geo).image
    return {"synthesis_accuracy": float((classifier.predict(pictures.reshape(len(shown), -1)) == shown).mean()),
            "classifier_accuracy": float((classifier.predict(images.reshape(len(images), -1)) == labels).mean())}
