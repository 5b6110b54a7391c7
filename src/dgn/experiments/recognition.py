"""Expressions recognised from what a video model infers (5.6, Table 3).

  dgn experiment recognition runs/clips
  dgn experiment recognition runs/ckplus --as-they-are

The run's own clips have the latents of their chains, settled to the mode that they are near; with --steps they are inferred
once more, from the prior's mean. Features over time go to a one-layer LSTM, a dense layer of 30 and a softmax, in
person-independent cross-validation: Dglf, the geometric latents Z_t^g; Ddf, the displacement fields; and two controls, the
appearance latents Z_t^a and the raw pixels. Of each the network sees how a frame differs from the clip's first, along the
50 principal axes of the clips that it learns from. Classes and people come from the clips' names, class/person_...: generated clips
have such names, and the CK+ set has. Written to the run folder: section "recognition" of metrics.json,
figures/recognition.png.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict

import numpy as np

from dgn.cli import positive
from dgn.errors import UserError
from dgn.experiments.clips import label, need_clips
from dgn.experiments.models import SETTLE, table

FEATURES = {"Dglf": "geometric latents", "Ddf": "displacement fields", "appearance": "appearance latents", "pixels": "raw pixels"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training on clips")
    parser.add_argument("--folds", type=positive, default=10, help="of the cross-validation (default %(default)s)")
    parser.add_argument("--epochs", type=positive, default=60, help="of the recogniser (default %(default)s)")
    parser.add_argument("--as-they-are", action="store_true",
                        help="features of every frame, not their change since the first: for clips that do not begin with a neutral face")
    parser.add_argument("--steps", type=positive, help="infer anew by so many Langevin steps (default: go on from the training's chains)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import build
    from dgn.data.source import observed
    from dgn.evaluation import recognition
    from dgn.figures import experiments as figures

    trained = build.load_run(Path(args.run_folder), device)
    need_clips(trained, args.run_folder)
    source = trained.open_sources().train
    labels = [label(source.name(k)) for k in range(len(source))]
    classes, persons = sorted({name for name, _ in labels}), [person for _, person in labels]
    people = len(set(persons))
    if len(classes) < 2 or not 2 <= args.folds <= people:
        raise UserError(f"{args.run_folder}: {len(classes)} classes and {people} people; at least 2 classes are needed, and as many people as "
                        f"folds, 2 or more (--folds is {args.folds})")
    clips = source.read(np.arange(len(source)))
    print(f"latents of {len(clips)} clips ...", flush=True)
    lengths, truth = observed(clips).sum(1), np.array([classes.index(name) for name, _ in labels])
    result: Dict[str, Dict] = {}
    for name, values in features(trained, clips, args.steps).items():
        print(f"recognising from {FEATURES[name]} ...", flush=True)
        found = recognition.cross_validate(values, lengths, truth, persons, len(classes), trained.config.training.seed, args.folds, args.epochs,
                                           from_first=not args.as_they_are)
        result[name] = recognition.compute(truth, found, classes)
    always = recognition.compute(truth, np.full(len(truth), np.bincount(truth).argmax()), classes)
    trained.folder.add_results(recognition={**result, "most_frequent": always, "clips": len(clips), "people": people, "folds": args.folds,
                                            "as_they_are": args.as_they_are})
    rows = {**{f"{name} ({what})": result[name] for name, what in FEATURES.items()}, "the most frequent class, always": always}
    print(table(f"{len(clips)} clips, {people} people, {len(classes)} classes", ["accuracy", "mean recall"], {
        name: [f"{100 * r['accuracy']:.1f} %", f"{100 * r['mean_recall']:.1f} %"] for name, r in rows.items()}))
    print(figures.confusions(trained.folder.figures / "recognition.png", result))


def features(trained, clips: np.ndarray, steps) -> Dict[str, np.ndarray]:
    """Features over time, (n, F, ...) each, by the names of FEATURES. An appearance that does not change follows a frame of
    zeros, so that what is recognised from it is the appearance itself."""
    import mindspore as ms

    from dgn.nets.model import apply, samples_at_once

    z_app, z_geo = trained.infer(clips, steps, settle=SETTLE) if steps else trained.settled(clips, SETTLE)
    displacement, = apply(trained.model.branches[1], z_geo, batch_size=samples_at_once(trained.model))
    appearance, geometry = (branch.latents(ms.Tensor(z)).asnumpy() for branch, z in zip(trained.model.branches, (z_app, z_geo)))
    if appearance.shape[1] < geometry.shape[1]:
        appearance = np.repeat(appearance, geometry.shape[1], 1)
        appearance[:, 0] = 0
    return {"Dglf": geometry, "Ddf": displacement, "appearance": appearance, "pixels": clips}
