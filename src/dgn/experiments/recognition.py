"""Recognition of expressions from the latents and displacements of a video model (5.6, Table 3).

  dgn experiment recognition runs/clips
  dgn experiment recognition runs/ckplus --absolute-features

A recurrent network (dgn.training.recogniser) classifies features of clips over time, in person-independent
cross-validation. The features are Dglf, the geometric latents Z_t^g; Ddf, the displacement fields; and two controls,
the appearance latents Z_t^a and the raw pixels. For a plain model (MoCoGAN's generator) they are its motion h_t, its
content and the pixels. The network gets the difference of each frame from the clip's first frame, along the 50
principal axes of its training clips. The latents are the chains of the training after steps without noise.

Classes and people come from clip names class/person_..., which generated clips and the CK+ set have. For people, a file
of identities (identity.txt) takes precedence. The generator was trained on all clips, without their labels; this is an
advantage over the raw pixels.

Written to the run folder: section "recognition" of metrics.json, figures/recognition.png.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np

from dgn.data.source import clip_lengths
from dgn.errors import UserError
from dgn.evaluation.evaluate import DESCENT_STEPS
from dgn.evaluation.recognition import person_folds, recognition_scores
from dgn.evaluation.uncertainty import plus_minus
from dgn.experiments.clip_common import check_clips, label
from dgn.experiments.common import table
from dgn.figures import charts
from dgn.nets.model import apply, samples_per_batch
from dgn.run import Run
from dgn.training.recogniser import SequenceClassifiers, Sequences

FEATURES = {"Dglf": "geometric latents", "Ddf": "displacement fields", "appearance": "appearance latents",
            "motion": "motion latents", "content": "content latents", "pixels": "raw pixels"}


def recognition(run: Run, *, folds: int = 10, epochs: int = 60, from_first: bool = True,
                steps: int | None = None, descent_steps: int = DESCENT_STEPS) -> dict[str, Any]:
    """Recognises the classes of the run's training clips from each of FEATURES.

    folds: of the cross-validation. epochs: of the classifiers. from_first: see relative_to_first. steps: Langevin steps
    that infer the latents again (None: continue the chains of the training). descent_steps: further steps without
    noise.
    Returns the values of evaluation.recognition.recognition_scores for each of FEATURES that the model has, and for
    most_frequent, which assigns the most frequent class to every clip; clips, people, folds, absolute_features
    (not from_first); pictures: figures/recognition.png. All but the pictures is written to the section recognition of
    metrics.json. Raises UserError for a run on images, clips without class and person in their names, fewer than 2
    classes, or fewer people than folds.
    """
    check_clips(run)
    source = run.sources.train
    labels = [label(source.name(k)) for k in range(len(source))]
    classes, persons = sorted({name for name, _ in labels}), source.people() or [person for _, person in labels]
    people = len(set(persons))
    if len(classes) < 2 or not 2 <= folds <= people:
        raise UserError(f"{run.folder.path}: {len(classes)} classes and {people} people cannot be cross-validated in "
                        f"{folds} folds; at least 2 classes are needed, 2 folds, and as many people as folds")
    print(f"latents of {len(source)} clips ...", flush=True)
    lengths, truth = clip_lengths(source, source.indices()), np.array([classes.index(name) for name, _ in labels])
    held_out = person_folds(persons, folds, run.config.training.seed)
    measures: dict[str, dict[str, Any]] = {}
    for name, values in features(run, steps, descent_steps).items():
        print(f"training classifiers on {FEATURES[name]} ...", flush=True)
        values = values.reshape(*values.shape[:2], -1).astype(np.float32)
        sequences = Sequences(relative_to_first(values) if from_first else values, lengths)
        model = SequenceClassifiers(len(classes), run.config.training.seed, epochs)
        measures[name] = recognition_scores(truth, cross_validate(model, sequences, truth, held_out), classes, persons)
    most_frequent = recognition_scores(truth, np.full(len(truth), np.bincount(truth).argmax()), classes, persons)
    result = {**measures, "most_frequent": most_frequent, "clips": len(source), "people": people, "folds": folds,
              "absolute_features": not from_first}
    settings = run.chain_settings(steps or 0, descent_steps).recorded()
    result.update(settings if steps else {**settings, "start": "chains"})
    result = run.folder.add_section("recognition", result)
    return {**result, "pictures": [charts.confusions(run.folder.figures / "recognition.png", measures)]}


def summary(result: dict[str, Any]) -> str:
    """The result as text."""
    rows = {**{f"{name} ({what})": result[name] for name, what in FEATURES.items() if name in result},
            "most frequent class": result["most_frequent"]}
    corner = f"{result['clips']} clips, {result['people']} people, {len(result['most_frequent']['classes'])} classes"
    return table(corner, ["accuracy", "mean recall"], {
        name: [f"{plus_minus(r['accuracy'], r['accuracy_stderr'], '.1f', scale=100)} %",
               f"{100 * r['mean_recall']:.1f} %"] for name, r in rows.items()})


def features(run: Run, steps: int | None = None, descent_steps: int = DESCENT_STEPS) -> dict[str, np.ndarray]:
    """Features of the training clips over time, (n, F, ...) each, by the names in FEATURES.

    steps, descent_steps: see recognition. A constant appearance or content is repeated from the second frame on, after
    a frame of zeros, so that relative_to_first does not change it.
    """
    source = run.sources.train
    latents = run.infer(source, steps, descent_steps) if steps else run.training_latents(descent_steps)
    branches, pixels = run.model.branches, source.read(source.indices())
    still, moving = (getattr(branch, "latents", branch)(ms.Tensor(z)).asnumpy() for branch, z in zip(branches, latents))
    if still.shape[1] < moving.shape[1]:
        still = np.repeat(still, moving.shape[1], 1)
        still[:, 0] = 0
    if not run.model.warps:
        return {"motion": moving, "content": still, "pixels": pixels}
    displacement, = apply(branches[1], latents[1], batch_size=samples_per_batch(run.model))
    return {"Dglf": moving, "Ddf": displacement, "appearance": still, "pixels": pixels}


def relative_to_first(features: np.ndarray) -> np.ndarray:
    """Features (n, F, d) minus the features of the first frame, for sequences that begin with a neutral face. Features
    of people differ far more than features of expressions."""
    return features - features[:, :1]


def cross_validate(model: SequenceClassifiers, sequences: Sequences, labels: np.ndarray,
                   held_out: list[np.ndarray]) -> np.ndarray:
    """The class (n,) of each sequence, predicted by a network that was trained on the other folds.

    held_out: indices of the sequences in each fold.
    """
    model.fit(sequences, labels, [np.setdiff1d(np.arange(len(labels)), fold) for fold in held_out])
    predicted = np.zeros(len(labels), int)
    for fold, classes in zip(held_out, model.predict(sequences, held_out)):
        predicted[fold] = classes
    return predicted
