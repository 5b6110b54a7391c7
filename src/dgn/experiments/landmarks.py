"""Landmarks read off the displacement fields by a small network (5.5, Table 2, Fig. 14).

  dgn experiment landmarks runs/faces_demo
  dgn experiment landmarks runs/mtfl --data mtfl/ --crop 16,18,66,68

The run's model infers every image; its flattened displacement fields go to a network of 100 hidden units that is trained
on landmarks of a part of the images and tested on the rest. Two controls: the same network on raw pixels, and the mean
shape. Without --data the faces are generated. --data: a folder whose labels tell landmarks (labels.csv, or MTFL's
index.tsv); a share --test of it, the last images, tests. Written to the run folder: section "landmarks" of metrics.json,
figures/landmarks.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Tuple

import numpy as np

from dgn import config as cfg
from dgn.cli import crop, positive
from dgn.errors import UserError
from dgn.experiments.views import OTHER_PEOPLE

TEST_SHARE = 0.2
SETTLE = 100  # noiseless steps after the chain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training of the deformable model")
    parser.add_argument("--data", metavar="FOLDER", help="images with landmarks (default: generated faces)")
    parser.add_argument("--crop", type=crop, metavar="L,T,R,B", help="how these are cut (default: as the run's)")
    parser.add_argument("--faces", type=positive, default=2500, help="images, at most; one in five tests (default %(default)s)")
    parser.add_argument("--steps", type=positive, help="Langevin steps (default: evaluation.steps of the run)")
    parser.add_argument("--epochs", type=positive, default=200, help="of the regressor (default %(default)s)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import build
    from dgn.evaluation import landmarks
    from dgn.figures import experiments as figures
    from dgn.nets.model import rows

    trained = build.load_run(Path(args.run_folder), device)
    if len(trained.model.groups) != 2:
        raise UserError(f"{args.run_folder} has no displacement; give a run of the deformable model")
    images, truth = faces_with_landmarks(trained.config.data, args.data, args.faces, args.crop)
    if len(images) < 20:
        raise UserError(f"{len(images)} images are too few for a regressor; at least 20 are needed")
    print(f"inferring {len(images)} images ...", flush=True)
    latents = trained.infer(images, args.steps, settle=SETTLE)
    decoded = trained.decode(*latents)
    first_test = int(round(len(images) * (1 - TEST_SHARE)))
    train, test = np.arange(first_test), np.arange(first_test, len(images))
    seed = trained.config.training.seed
    print("training the regressors ...", flush=True)
    predicted = landmarks.predict({"displacement": decoded.displacement, "pixels": images}, truth, train, test, seed, args.epochs)
    result = landmarks.compute(predicted, truth[test])
    trained.folder.add_results(landmarks={**result, "images": len(images), "tested": len(test), "data": args.data or "generated faces"})
    print(f"error in % of the inter-ocular distance, {len(test)} test images: displacement {result['displacement']:.2f}, "
          f"raw pixels {result['pixels']:.2f}, mean shape {result['mean_shape']:.2f}")
    shown = test[:8]
    print(figures.landmarks(trained.folder.figures / "landmarks.png", images[shown], rows(decoded, shown), truth[shown],
                            predicted["displacement"][:8]))


def faces_with_landmarks(data: cfg.Data, folder: str | None, count: int, crop=None) -> Tuple[np.ndarray, np.ndarray]:
    """Images (n, C, H, W) and their landmarks (n, 5, 2) in pixels."""
    if folder is None:
        from dgn import build
        source, everyone = build.make_faces(data, count, data.seed + OTHER_PEOPLE), np.arange(count)
        return source.read(everyone), source.landmarks(everyone)
    from dgn.data import labels
    from dgn.experiments.views import read_files

    data, path = cfg.cut(data, crop), Path(folder)
    members = labels.read(path)[:count]
    return read_files(path, [label.file for label in members], data), labels.cut_landmarks(path, members, data)
