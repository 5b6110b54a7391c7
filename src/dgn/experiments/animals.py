"""The geometry of a face model applied to animals (5.4, Fig. 12a).

Animal faces are warped by the displacements that the strongest geometric dimensions generate.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

import mindspore as ms
import numpy as np

from dgn.config import Data
from dgn.data import animals as drawings
from dgn.data.cut import Cut
from dgn.data.images import ImageFolder
from dgn.experiments.models import check_deformable
from dgn.figures import bases, pictures
from dgn.figures.sheet import save_sheet
from dgn.files import expanded
from dgn.nets.model import Model
from dgn.run import Run

DIMENSIONS = 2
SHOWN = 6  # images of a folder, at most


def animals(run: Run, *, images: Optional[str] = None, gamma: Optional[float] = None) -> Dict[str, Any]:
    """Draws animal faces warped along the geometric dimensions of a deformable model.

    images: folder of animal faces, frontal and as large in the picture as the run's faces; None: a drawn cat and
    monkey. gamma: dimensions go from -gamma to gamma (None: evaluation.gamma of the run).
    Returns "dimensions", those of Z^g with the largest displacements, and "pictures", the path drawn. Raises UserError
    for another model.
    """
    check_deformable(run)
    model, sizes = run.model, [group.shape[0] for group in run.model.groups]
    gamma = gamma or run.config.evaluation.gamma
    # ranked by the displacement itself, which no appearance affects
    ranked = bases.rank(run.decode, (None, None), 1, sizes, gamma, of="displacement")
    strongest = [int(dimension) for dimension in ranked.order[:DIMENSIONS]]
    rows, names = [], []
    for name, animal in animal_faces(run.config.data, images).items():
        for dimension in strongest:
            z_geo = bases.sweep(dimension, sizes[1], gamma)
            fields = run.decode(np.zeros((len(z_geo), sizes[0]), np.float32), z_geo).displacement
            assert fields is not None
            rows.append([animal, *warp(model, animal, fields)])
            names.append(f"{name}\n{pictures.GEOMETRY} dimension {dimension}")
    picture = save_sheet(run.folder.figures / "animals.png", rows, "Geometry of a face model, applied to animals",
                         names, ["as drawn", *pictures.ends(gamma)],
                         note="Pose and shape change as they do for faces; colours are the animal's own.")
    return {"dimensions": strongest, "pictures": [picture]}


def summary(result: Dict[str, Any]) -> str:
    """The dimensions drawn."""
    return f"dimensions of Z^g with the largest displacements: {', '.join(map(str, result['dimensions']))}"


def animal_faces(data: Data, folder: Optional[str]) -> Dict[str, np.ndarray]:
    """Name -> image (C, H, W)."""
    if folder is None:
        return {name: image.mean(0, keepdims=True) if data.grey else image
                for name, image in drawings.draw(data.size).items()}
    source = ImageFolder(expanded(folder), Cut(data.size, grey=data.grey))
    shown = np.arange(min(len(source), SHOWN))
    return {source.name(k): image for k, image in zip(shown, source.read(shown))}


def warp(model: Model, image: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """An image (C, H, W) warped by each of n displacements (n, 2, H, W), (n, C, H, W)."""
    copies = np.ascontiguousarray(image[None].repeat(len(fields), 0), np.float32)
    return model.warp(ms.Tensor(copies), ms.Tensor(fields)).asnumpy()
