"""Landmarks read off the displacement fields by a small network (5.5, Table 2, Fig. 14).

  dgn experiment landmarks runs/faces_demo
  dgn experiment landmarks runs/mtfl --data mtfl/

The run's model infers every image; its flattened displacement fields go to a network of 100 hidden units that is trained
on landmarks of a part of the images and tested on the rest. Two controls: the same network on raw pixels, and the mean
shape. Without --data the faces are generated. --data: a folder whose labels tell landmarks (labels.csv, or MTFL's
index.tsv); images that the run did not learn from test, or, if it learned from none of them (or if that can no longer be
told: a notice says so), the last fifth. Written to
the run folder: section "landmarks" of metrics.json, figures/landmarks.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Optional, Tuple

import numpy as np

from dgn import config as cfg
from dgn.cli import crop, positive
from dgn.errors import UserError
from dgn.experiments.models import OTHER_PEOPLE, SETTLE, learned_files, need_deformable

TEST_SHARE = 0.2
FEWEST = 16  # to train a regressor
GENERATED = 2500


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training of the deformable model")
    parser.add_argument("--data", metavar="FOLDER", help="images with landmarks (default: generated faces)")
    parser.add_argument("--crop", type=crop, metavar="L,T,R,B", help="how these are cut (default: as the run's)")
    parser.add_argument("--faces", type=positive, help=f"images, at most (default: all, or {GENERATED} generated ones)")
    parser.add_argument("--steps", type=positive, help="Langevin steps (default: evaluation.steps of the run)")
    parser.add_argument("--epochs", type=positive, default=200, help="of the regressor (default %(default)s)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import build
    from dgn.evaluation import landmarks
    from dgn.figures import experiments as figures
    from dgn.nets.model import rows

    trained = build.load_run(Path(args.run_folder), device)
    need_deformable(trained, args.run_folder)
    images, truth, unseen = faces_with_landmarks(trained, args.data, args.faces, args.crop)
    if (~unseen).sum() < FEWEST:
        raise UserError(f"{(~unseen).sum()} of {len(images)} images to train a regressor on are too few; at least {FEWEST} are needed")
    print(f"inferring {len(images)} images ...", flush=True)
    latents = trained.infer(images, args.steps, settle=SETTLE)
    decoded = trained.decode(*latents)
    train, test = np.flatnonzero(~unseen), np.flatnonzero(unseen)
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


def faces_with_landmarks(trained, folder: Optional[str], count: Optional[int], crop=None) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (n, C, H, W), their landmarks (n, 5, 2) in pixels, and which of them are to test (n,)."""
    data = trained.config.data
    if folder is None:
        from dgn import build
        count = count or GENERATED
        source, everyone = build.make_faces(data, count, data.seed + OTHER_PEOPLE), np.arange(count)
        return source.read(everyone), source.landmarks(everyone), last_ones(count)
    from dgn.data import labels

    path, cut = Path(folder), cfg.cut(data, crop)
    members = labels.read(path)
    if count:  # some of all, not the first ones
        members = [members[k] for k in np.unique(np.linspace(0, len(members) - 1, count).astype(int))]
    files = [label.file for label in members]
    known = learned_files(trained.config)
    if known is None:
        known = set()
        print("which of these images the run has learned from cannot be told; the last fifth test", flush=True)
    unseen = last_ones(len(files))
    if any((path / file).resolve() in known for file in files):  # the regressor's test images must be new to the model too
        unseen = np.array([(path / file).resolve() not in known for file in files])
        if not 0 < unseen.sum() < len(files):
            raise UserError("the run was trained on all of these images; it must have held some out, to test on")
    return labels.read_files(path, files, cut), labels.cut_landmarks(path, members, cut), unseen


def last_ones(count: int) -> np.ndarray:
    """True for the last fifth of so many."""
    return np.arange(count) >= int(round(count * (1 - TEST_SHARE)))
