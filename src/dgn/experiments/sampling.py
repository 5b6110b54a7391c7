"""New clips from the transition model, longer than those that were trained on (4, Eq. 10 to 12).

  dgn experiment sampling runs/clips --frames 48

Z_0 and every xi_t are drawn from their priors. The numbers say whether motion goes on as it began: mean change from frame
to frame within the trained length, beyond it, and of the training clips. Written to the run folder: section "sampling" of
metrics.json, figures/samples.png and .gif.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Dict, Optional

import numpy as np

from dgn.cli import natural, positive
from dgn.data.source import observed
from dgn.errors import UserError
from dgn.experiments.clips import need_clips

REAL = 100  # training clips, at most, that are compared with


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training on clips")
    parser.add_argument("--frames", type=positive, help="of the new clips (default: three times those trained on)")
    parser.add_argument("--count", type=positive, default=6, help="new clips (default %(default)s)")
    parser.add_argument("--seed", type=natural, default=1)


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import build
    from dgn.figures import clips as figures
    from dgn.randomness import generator

    trained = build.load_run(Path(args.run_folder), device)
    need_clips(trained, args.run_folder)
    known = trained.config.data.frames
    frames = args.frames or 3 * known
    if frames < 2:
        raise UserError(f"--frames is {frames}; a clip in which something moves has at least 2")
    rng = generator(args.seed, "new clips")
    latents = [rng.standard_normal((args.count, branch.length(frames)), np.float32) for branch in trained.model.branches]
    clips = trained.decode(*latents).image
    for path in figures.samples(trained.folder.figures / "samples.png", clips, known):
        print(path)
    source = trained.open_sources().train
    real = source.read(np.arange(min(len(source), REAL)))
    result = changes(clips, real, known)
    trained.folder.add_results(sampling={"frames": frames, **result})
    beyond = "" if result["change_beyond"] is None else f", beyond it {result['change_beyond']:.4f}"
    print(f"mean change of a pixel from frame to frame: within the trained {known} frames {result['change_within']:.4f}{beyond}; "
          f"of training clips {result['change_of_training_clips']:.4f}")


def changes(clips: np.ndarray, real: np.ndarray, known: int) -> Dict[str, Optional[float]]:
    """Mean change from frame to frame of new clips, within the `known` frames that were trained on and beyond them, and of real
    clips, which may be shorter than their array."""
    there = observed(real)[:, 1:]  # a frame that is there has one before it
    new = change(clips)
    return {"change_of_training_clips": float(change(real)[there].mean()), "change_within": float(new[:, :known - 1].mean()),
            "change_beyond": float(new[:, known - 1:].mean()) if clips.shape[1] > known else None}


def change(clips: np.ndarray) -> np.ndarray:
    """Mean absolute difference of every frame from the one before, (n, F - 1)."""
    return np.abs(np.diff(clips, axis=1)).mean((2, 3, 4))
