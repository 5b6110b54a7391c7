"""The geometry of a face model applied to animals (5.4, Fig. 12a).

  dgn experiment animals runs/faces_demo
  dgn experiment animals runs/celeba --data animals/ --labels eyes.csv

A drawn cat and monkey, or the faces in the folder --data, are warped by displacements along the geometric dimensions
with the largest effect. The faces are rotated, scaled and cropped by their eyes, which --labels, or labels.csv,
crops.csv or index.tsv of the folder, gives. Without such a file they are used without change, and should be frontal and
as large in the picture as the run's faces. Written to the run folder: figures/animals.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np

from dgn.config import Data
from dgn.data.align import EYES, align, eye_positions
from dgn.data.animals import draw
from dgn.data.cut import Cut
from dgn.data.decoding import decode
from dgn.data.images import ImageFolder
from dgn.data.labels import read_eyes
from dgn.data.open import generated_faces
from dgn.data.pixels import to_grey, to_unit
from dgn.errors import UserError
from dgn.experiments.common import check_deformable
from dgn.figures import bases, pictures
from dgn.figures.sheet import save_sheet
from dgn.files import expanded
from dgn.nets.model import Model, state_sizes
from dgn.run import Run

DIMENSIONS = 2
SHOWN = 6  # largest number of images of a folder
LABELS = ("labels.csv", "crops.csv", "index.tsv")  # files in a folder that give the eyes of its images
USUAL = 100  # number of generated faces whose eyes are averaged


def animals(run: Run, *, images: str | None = None, labels: str | None = None,
            eyes: Sequence[float] | None = None, gamma: float | None = None) -> dict[str, Any]:
    """Draws animal faces warped along the geometric dimensions of a deformable model.

    images: folder of animal faces (None: drawn ones). labels: file with their eyes (None: one of LABELS in the folder).
    eyes: position of the left eye as fractions of the side length (None: as in the run's faces). gamma: dimensions
    range from -gamma to gamma (None: evaluation.gamma of the run).
    Returns "dimensions", the dimensions of Z^g with the largest displacements, and "pictures", the path drawn. Raises
    UserError for another model, or labels that do not belong to the folder.
    """
    check_deformable(run)
    z_app, z_geo = base = bases.prior_mean(state_sizes(run.model))
    gamma = gamma or run.config.evaluation.gamma
    # ranked by the displacement, which does not depend on the appearance
    ranked = bases.rank(run.decode, base, 1, gamma, of="displacement")
    strongest = [int(dimension) for dimension in ranked.order[:DIMENSIONS]]
    rows, names = [], []
    for name, animal in animal_faces(run.config.data, images, labels, eyes).items():
        for dimension in strongest:
            z = bases.sweep(dimension, len(z_geo), gamma)
            _, fields = run.decode(z_app[None].repeat(len(z), 0), z).warp_inputs
            rows.append([animal, *warp(run.model, animal, fields)])
            names.append(f"{name}\n{pictures.GEOMETRY} dimension {dimension}")
    picture = save_sheet(run.folder.figures / "animals.png", rows, "Geometry of a face model, applied to animals",
                         names, ["as given" if images else "as drawn", *pictures.ends(gamma)],
                         note="Pose and shape change as they do for faces; colours are the animal's own.")
    return {"dimensions": strongest, "pictures": [picture]}


def summary(result: dict[str, Any]) -> str:
    """The dimensions drawn."""
    return f"dimensions of Z^g with the largest displacements: {', '.join(map(str, result['dimensions']))}"


def animal_faces(data: Data, folder: str | None, labels: str | None = None,
                 eyes: Sequence[float] | None = None) -> dict[str, np.ndarray]:
    """Name -> image (C, H, W); see `animals`."""
    if folder is None:
        if labels is not None:
            raise UserError(f"the labels {labels} are about images of a folder, and none is given")
        return {name: to_grey(image) if data.grey else image
                for name, image in draw(data.size).items()}
    root = expanded(folder)
    file = expanded(labels) if labels else next((root / name for name in LABELS if (root / name).is_file()), None)
    if file is None:
        source = ImageFolder(root, Cut(data.size, grey=data.grey))
        indices = source.indices(SHOWN)
        return {source.name(k): image for k, image in zip(indices, source.read(indices))}
    places = eye_positions(data.size, eyes or usual_eyes(data))
    return {name: _aligned(root / name, pairs[0], places, data)
            for name, pairs in sorted(read_eyes(file, root).items())[:SHOWN]}


def usual_eyes(data: Data) -> Sequence[float]:
    """Position of the left eye in a config's faces, as fractions of the side length: known for generated faces, else as
    in `dgn data crop --align`."""
    if data.path is not None:
        return EYES
    marks = generated_faces(data, USUAL).landmarks(np.arange(USUAL))[:, :2].mean(0)
    left, right = (marks + 0.5) / data.size
    return (1 + left[0] - right[0]) / 2, (left[1] + right[1]) / 2


def _aligned(path: Path, eyes: np.ndarray, places: np.ndarray, data: Data) -> np.ndarray:
    try:
        pixels = align(decode(path), eyes, places, data.size)
    except ValueError as reason:
        raise UserError(f"{path}: {reason}") from None
    return to_unit(Cut(data.size, grey=data.grey).apply(pixels))


def warp(model: Model, image: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """An image (C, H, W) warped by each of n displacements (n, 2, H, W), (n, C, H, W)."""
    copies = np.ascontiguousarray(image[None].repeat(len(fields), 0), np.float32)
    return model.warp(ms.Tensor(copies), ms.Tensor(fields)).asnumpy()
