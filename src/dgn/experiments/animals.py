"""Geometry learned from faces, applied to animals (5.4, Fig. 12a).

  dgn experiment animals runs/faces_demo
  dgn experiment animals runs/celeba --images animals/

The displacements that the strongest geometric dimensions make of nothing else are laid over animal faces: a drawn cat and
monkey, or --images of your own, frontal and filling the picture as the run's faces do. Written to the run folder:
figures/animals.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional

import numpy as np

from dgn.cli import above_zero
from dgn.experiments.models import need_deformable

DIMENSIONS = 2
SHOWN = 6  # images of --images, at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training of the deformable model")
    parser.add_argument("--images", metavar="FOLDER", help="animal faces (default: drawn ones)")
    parser.add_argument("--gamma", type=above_zero, help="from -gamma to gamma (default: evaluation.gamma of the run)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import build
    from dgn.figures import bases, pictures
    from dgn.figures.sheet import save_sheet

    trained = build.load_run(Path(args.run_folder), device)
    model, sizes = trained.model, [group.shape[0] for group in trained.model.groups]
    need_deformable(trained, args.run_folder)
    reach = args.gamma or trained.config.evaluation.gamma
    animals = animal_faces(trained.config.data, args.images)
    # the dimensions that move most, measured on the field itself: no picture has a say in it
    strongest = bases.rank(trained.decode, (None, None), 1, sizes, reach, of="displacement").order[:DIMENSIONS]
    rows, names = [], []
    for name, animal in animals.items():
        for dimension in strongest:
            fields = _fields(trained, bases.sweep(int(dimension), sizes[1], reach))
            rows.append([animal, *apply(model, animal, fields)])
            names.append(f"{name}\nZ^g {dimension}")
    print(save_sheet(trained.folder.figures / "animals.png", rows, "Geometry learned from faces, applied to animals", names,
                     ["as drawn", *pictures.ends(reach)], note="Pose and shape change as they do for faces; colours are the animal's own."))


def animal_faces(data, folder: Optional[str]):
    """Name -> (C, H, W)."""
    if folder is None:
        from dgn.data import animals
        drawn = animals.draw(data.size)
        return {name: image.mean(0, keepdims=True) if data.grey else image for name, image in drawn.items()}
    from dgn.data.cut import Cut
    from dgn.data.images import ImageFolder
    source = ImageFolder(folder, Cut(data.size, grey=data.grey))
    shown = np.arange(min(len(source), SHOWN))
    return {source.name(k): image for k, image in zip(shown, source.read(shown))}


def _fields(trained, z_geo: np.ndarray) -> np.ndarray:
    return trained.decode(np.zeros((len(z_geo), *trained.model.groups[0].shape), np.float32), z_geo).displacement


def apply(model, image: np.ndarray, fields: np.ndarray) -> np.ndarray:
    """An image (C, H, W) bent by displacements (n, 2, H, W), by the model's own warp."""
    import mindspore as ms

    copies = np.ascontiguousarray(image[None].repeat(len(fields), 0), np.float32)
    return model.warp(ms.Tensor(copies), ms.Tensor(fields)).asnumpy()
