"""Landmarks predicted from displacement fields (5.5, Table 2, Fig. 14).

  dgn experiment landmarks runs/faces_demo
  dgn experiment landmarks runs/mtfl --data mtfl/

The latents of every image are inferred, at the end by 100 steps without noise. The paper's regressor, with 100 hidden
units, and ridge regression, which is better for few images, are trained on the displacement fields of some images and
tested on the others. Without a regressor, the displacement carries the landmarks' median canonical positions to each
test image. There are two controls: the same regressors on raw pixels, and the mean shape of the training images.

The test images are those that the run was not trained on; if there are none, or if this is unknown, the last fifth. If
labels.csv has subjects, or identity.txt names the people, the last fifth and the folds of --folds are split by people:
no person is on both sides. Written to the run folder: section "landmarks" of metrics.json, figures/landmarks.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dgn import config as cfg
from dgn.data import labels
from dgn.data.cut import Crop
from dgn.data.images import people_of_identities
from dgn.data.open import generated_faces
from dgn.errors import UserError
from dgn.evaluation.evaluate import DESCENT_STEPS
from dgn.evaluation.landmarks import MEAN_SHAPE, canonical_landmarks, carried_landmarks, landmark_errors
from dgn.evaluation.ratios import formatted
from dgn.evaluation.uncertainty import plus_minus
from dgn.experiments.common import OTHER_PEOPLE, check_deformable
from dgn.figures import charts
from dgn.files import expanded, resolve_all
from dgn.indices import evenly_spaced
from dgn.nets.model import Decoded, rows
from dgn.run import Run
from dgn.training.regressor import LandmarkRegressor, RidgeRegressor
from dgn.training.restore import training_files

TEST_SHARE = 0.2
FEWEST = 16  # smallest number of images to train a regressor
GENERATED = 2500  # number of generated faces without `count`
SHOWN = 8
# names in metrics.json; regressors are named after their features, ridge regression has the suffix _ridge
PREDICTIONS = ("displacement", "displacement_ridge", "carried", "pixels", "pixels_ridge", MEAN_SHAPE)


class Faces(NamedTuple):
    """Images with landmarks."""

    images: np.ndarray  # (n, C, H, W)
    landmarks: np.ndarray  # (n, 5, 2) in pixels
    files: Sequence[Path] | None  # files of the images; None for generated images
    people: Sequence[str]  # the person in each image; if unknown, a different one for each image


def landmarks(run: Run, *, data: str | None = None, crop: Crop | None = None, count: int | None = None,
              steps: int | None = None, chains: int = 1, epochs: int = 200, folds: int = 1) -> dict[str, Any]:
    """Measures the landmark error of regressors on displacement fields and on pixels, and of landmarks carried by the
    displacement, and draws Fig. 14.

    data: folder of images with landmark labels (None: generated faces). crop: of these images (None: as in the run).
    count: largest number of images (None: all, or GENERATED). steps: Langevin steps (None: as in Run.infer). chains:
    number of chains of each image. epochs: of the paper's regressor. folds: above 1: cross-validation, which tests also
    images of the run's training (it saw no landmarks).
    Returns the errors by features, see dgn.evaluation.landmarks, the numbers of images, their origin, and "pictures",
    the paths drawn; all but the pictures are also written to section "landmarks" of the run's metrics.json. Raises
    UserError for another model, or if too few images remain for training or test.
    """
    check_deformable(run)
    images, truth, files, people = faces_with_landmarks(run, data, count, crop)
    test_sets = (cross_validation(people, folds) if folds > 1 else
                 [last_share(people) if files is None else is_test(run, files, people)])
    fewest = len(images) - max(map(np.count_nonzero, test_sets))
    if fewest < FEWEST:
        raise UserError(f"{fewest} of {len(images)} images to train a regressor on are too few; at least {FEWEST} are "
                        "needed")
    print(f"inferring {len(images)} images ...", flush=True)
    decoded, displacement = infer(run, images, steps, chains)
    print("training the regressors ...", flush=True)
    points = {name: np.zeros_like(truth) for name in PREDICTIONS}
    canonical = canonical_landmarks(displacement, truth)
    for test in test_sets:
        for name, features in (("displacement", displacement), ("pixels", images)):
            for key, regressor in ((name, LandmarkRegressor(run.config.training.seed, epochs)),
                                   (f"{name}_ridge", RidgeRegressor())):
                points[key][test] = regressor.fit(features[~test], truth[~test]).predict(features[test])
        points["carried"][test] = carried_landmarks(displacement[test], np.median(canonical[~test], 0))
        points[MEAN_SHAPE][test] = truth[~test].mean(0)
    test = np.flatnonzero(np.any(test_sets, 0))
    predicted = {name: values[test] for name, values in points.items()}
    result = {**landmark_errors(predicted, truth[test], [people[k] for k in test]), "images": len(images),
              "tested": len(test), "folds": folds, "chains": chains,
              **run.chain_settings(steps, DESCENT_STEPS).recorded(), "data": data or "generated faces"}
    result = run.folder.add_section("landmarks", result)
    first = test[:SHOWN]
    return {**result, "pictures": [charts.landmarks(
        run.folder.figures / "landmarks.png", images[first], rows(decoded, first), truth[first],
        predicted["displacement"][:SHOWN])]}


def infer(run: Run, images: np.ndarray, steps: int | None, chains: int) -> tuple[Decoded, np.ndarray]:
    """The decoded latents of one chain for each image, and the mean displacement (n, 2, H, W) of `chains` chains.

    Single chains differ by their noise, and some end in other modes. If the run was trained with mirror images, every
    second chain is of the mirror image. Raises UserError for several chains of a run that was trained with an encoder
    instead of chains.
    """
    if chains > 1 and run.encoder is not None:
        raise UserError(f"--chains is {chains}, but {run.folder.path} was trained with an encoder and has no chains")

    def decoded(images: np.ndarray, chain: int) -> Decoded:
        return run.decode(*run.infer(images, steps, DESCENT_STEPS, seed=run.config.training.seed + chain))

    first = decoded(images, 0)
    _, total = first.warp_inputs
    for chain in range(1, chains):
        mirror = run.config.data.mirror and chain % 2 == 1
        _, field = decoded(images[..., ::-1] if mirror else images, chain).warp_inputs
        total = total + (mirrored_field(field) if mirror else field)
    return first, total / chains


def mirrored_field(displacement: np.ndarray) -> np.ndarray:
    """The displacement fields (n, 2, H, W) of the mirror images."""
    return displacement[..., ::-1] * np.array([-1, 1], displacement.dtype)[:, None, None]


def summary(result: dict[str, Any]) -> str:
    """The errors as text."""
    texts = {name: f"{plus_minus(result[name], result['standard_errors'][name])} ({formatted(relative)})"
             for name, relative in result["relative_to_mean_shape"].items()}
    return (f"error in % of the inter-ocular distance +- standard error over people, {result['tested']} test images "
            f"(relative to the mean shape, {result[MEAN_SHAPE]:.2f}):\n"
            f"  displacement: regressor {texts['displacement']}, ridge regression {texts['displacement_ridge']}, "
            f"carried from the canonical frame {texts['carried']}\n"
            f"  raw pixels: regressor {texts['pixels']}, ridge regression {texts['pixels_ridge']}")


def faces_with_landmarks(run: Run, folder: str | None, count: int | None = None,
                         crop: Crop | None = None) -> Faces:
    """The images of a folder, or generated faces; at most `count`."""
    data = run.config.data
    if folder is None:
        source = generated_faces(data, count or GENERATED, data.seed + OTHER_PEOPLE)
        indices = source.indices()
        return Faces(source.read(indices), source.landmarks(indices), None,
                     source.people() or [source.name(k) for k in indices])
    path, data = expanded(folder), cfg.with_crop(data, crop)
    members = labels.read(path)
    if count:  # spread over the folder
        members = [members[k] for k in evenly_spaced(len(members), count)]
    files = [label.file for label in members]
    return Faces(labels.read_files(path, files, data), labels.cut_landmarks(path, members, data),
                 [path / file for file in files],
                 people_of_identities(path, files) or [label.subject for label in members])


def cross_validation(people: Sequence[str], folds: int) -> list[np.ndarray]:
    """The test set of each fold, (n,) bool: the images of every folds-th person. people: (n,), for each image."""
    persons = person_indices(people)
    if folds > persons.max() + 1:
        raise UserError(f"{folds} folds are more than the {persons.max() + 1} people on {len(people)} images")
    return [persons % folds == fold for fold in range(folds)]


def is_test(run: Run, files: Sequence[Path], people: Sequence[str]) -> np.ndarray:
    """Whether each file is a test image, (n,): the run was not trained on it; or else it is in `last_share`."""
    known = training_files(run.config, run.folder.path)
    if known is None:
        print("the images of the run's training are unknown; the last fifth of these are the test", flush=True)
        return last_share(people)
    trained_on = np.array([file in known for file in resolve_all(files)])
    if not trained_on.any():
        return last_share(people)
    if trained_on.all():
        raise UserError("the run was trained on all of these images; some must have been held out for the test")
    return ~trained_on


def last_share(people: Sequence[str]) -> np.ndarray:
    """True for the images of the last TEST_SHARE of the people, in the order of their first images. Raises UserError if
    there is only one person."""
    persons = person_indices(people)
    count = int(persons.max()) + 1
    if count < 2:
        raise UserError(f"all {len(people)} images show one person ({people[0]}); the test needs another one")
    return persons >= min(round(count * (1 - TEST_SHARE)), count - 1)


def person_indices(people: Sequence[str]) -> np.ndarray:
    """The number of the person in each image, (n,); people are numbered in the order of their first images."""
    numbers = {person: number for number, person in enumerate(dict.fromkeys(people))}
    return np.array([numbers[person] for person in people])
