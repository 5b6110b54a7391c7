"""How well a label, given as the appearance, explains an image (5.4, MNIST).

  dgn train --config config/mnist.yaml --data mnist/ --output runs/mnist
  dgn experiment labels runs/mnist

Analysis by synthesis: Z^g of a held-out image is inferred for every label, and the label with the smallest energy is
compared with the true label. Synthesis: a classifier, trained on the run's real images, classifies images that are
generated with each label and Z^g from the prior; its accuracy shows whether the geometry leaves the class unchanged.

Written to the run folder: section "labels" of metrics.json; `dgn train` and `dgn figures` draw Fig. 13.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from dgn.data.source import one_hot
from dgn.errors import UserError
from dgn.experiments.common import held_out
from dgn.randomness import generator
from dgn.run import Run

PER_LABEL = 100  # number of generated images of each label
CLASSIFIER_IMAGES = 5000  # largest number of real images on which the classifier is trained


def labels(run: Run, *, images: int = 300, steps: int = 100) -> dict[str, Any]:
    """Measures how well the label of a run with model.appearance=label explains images.

    images: largest number of held-out images. steps: Langevin steps for each label, followed by as many without noise.
    Returns images, analysis_accuracy, synthesis_accuracy and classifier_accuracy (on the held-out images), as
    fractions, and their origin, which are also written to section "labels" of the run's metrics.json; "pictures" is
    empty, because `dgn figures` draws Fig. 13. Raises UserError for another model, or if the held-out images have fewer
    than two labels.
    """
    folder = run.folder.path
    if run.model.groups[0].sampled:
        raise UserError(f"{folder} has no labels as appearance; train with model.appearance=label")
    source = held_out(run)
    indices = source.indices(images)
    unseen, truth = source.read(indices), source.labels(indices)
    assert truth is not None  # the run was trained with labels
    if len(set(truth)) < 2:
        raise UserError(f"all held-out images of {folder} have the label {truth[0]}; at least two are needed")
    inferred = least_energy(run, unseen, steps)
    result = {"images": len(indices), "analysis_accuracy": float((inferred == truth).mean()),
              **synthesis(run, unseen, truth), "steps": steps, "descent_steps": steps}
    return {**run.folder.add_section("labels", result), "pictures": []}


def summary(result: dict[str, Any]) -> str:
    """The accuracies as a line of text."""
    return (f"the label with the least energy is the true one for {100 * result['analysis_accuracy']:.1f}% of "
            f"{result['images']} held-out images; a classifier assigns {100 * result['synthesis_accuracy']:.1f}% of "
            "generated images to their label, and is right on "
            f"{100 * result['classifier_accuracy']:.1f}% of the held-out ones")


def least_energy(run: Run, images: np.ndarray, steps: int) -> np.ndarray:
    """The label for which the inferred Z^g has the smallest energy (Eq. 8), for each image, (n,)."""
    classes, energies = run.model.groups[0].shape[0], []
    for label in range(classes):
        print(f"inferring {len(images)} images as {label} ...", flush=True)
        given = {"z_app": one_hot(np.full(len(images), label), classes)}
        latents = run.infer_batch(images, run.chain_settings(steps, steps, use_encoder=False), given=given)
        energies.append(run.energy(images, latents))
    return np.argmin(energies, 0)


def synthesis(run: Run, images: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Accuracy of a classifier, trained on real images, on generated images, and on `images` (n, C, H, W) with labels
    `truth` (n,)."""
    source = run.sources.train
    known = source.indices(CLASSIFIER_IMAGES)
    classifier = LogisticRegression(C=0.05, max_iter=200).fit(_flat(source.read(known)), source.labels(known))
    appearance, geometry = run.model.groups
    classes = appearance.shape[0]
    given = np.repeat(np.arange(classes), PER_LABEL)
    rng = generator(run.config.training.seed, "label synthesis")
    z_geo = rng.standard_normal((len(given), *geometry.shape), np.float32)
    generated = run.decode(one_hot(given, classes), z_geo).image
    return {"synthesis_accuracy": float((classifier.predict(_flat(generated)) == given).mean()),
            "classifier_accuracy": float((classifier.predict(_flat(images)) == truth).mean())}


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)
