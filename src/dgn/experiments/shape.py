"""The global shape of a clip edited by Z_0^g, its dynamics kept (5.6, Fig. 18).

  dgn experiment shape runs/clips

Z_0^g of a training clip is moved along the geometric basis with the largest effect on the first frame; appearance and
xi^g stay. For generated clips numbers tell whether the motion stays: landmark motion of the edited clips, read by a
probe, against that of the clips as they were. Written to the run folder: section "shape" of metrics.json,
figures/shape.png and .gif.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dgn.cli import above_zero, natural
from dgn.errors import UserError
from dgn.experiments.clips import motion, need_clips, over_time, probe

MEASURED = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training on clips")
    parser.add_argument("--clip", type=natural, default=0, help="number of the training clip (default %(default)s)")
    parser.add_argument("--dimension", type=natural, help="of Z_0^g (default: the one with the largest effect)")
    parser.add_argument("--amount", type=above_zero, default=1.5, help="how far it is moved, both ways (default %(default)s)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import build
    from dgn.data.source import observed
    from dgn.evaluation.exchange import correlation
    from dgn.figures import bases
    from dgn.figures import clips as figures

    trained = build.load_run(Path(args.run_folder), device)
    need_clips(trained, args.run_folder)
    sizes = [branch.states for branch in trained.model.branches]
    if args.clip >= len(trained.bank) or (args.dimension or 0) >= sizes[1]:
        raise UserError(f"the run has the clips 0 to {len(trained.bank) - 1} and the dimensions 0 to {sizes[1] - 1} of Z_0^g")
    z_app, z_geo = trained.bank.read(np.array([args.clip]))
    ranked = bases.rank(figures.first_frames(trained.decode), [z_app[0, :sizes[0]], None], 1, sizes, args.amount)
    dimension = int(ranked.order[0]) if args.dimension is None else args.dimension

    amounts = (-args.amount, 0.0, args.amount)
    length = int(observed(trained.open_sources().train.read(np.array([args.clip]))).sum())
    rows = [trained.decode(z_app, edited(z_geo, dimension, amount)).image[0][:length] for amount in amounts]
    names = [f"Z_0^g {dimension} {amount:+g}" if amount else "as inferred" for amount in amounts]
    for path in figures.edited_shapes(trained.folder.figures / "shape.png", rows, names):
        print(path)
    if trained.config.data.path is None:
        some = np.arange(min(MEASURED, len(trained.bank)))
        z_app, z_geo = trained.bank.read(some)
        read = probe(trained)
        before = over_time(read.landmarks, trained.decode(z_app, z_geo).image)
        kept, moved = [], []
        for amount in (-args.amount, args.amount):
            after = over_time(read.landmarks, trained.decode(z_app, edited(z_geo, dimension, amount)).image)
            kept.append(correlation(motion(after).ravel(), motion(before).ravel()))
            moved.append(float(np.abs((after - before).mean(1)).mean()))
        result = {"motion_kept": float(np.mean(kept)), "landmarks_moved": float(np.mean(moved))}
        trained.folder.add_results(shape={"dimension": dimension, "amount": args.amount, **result})
        print(f"dimension {dimension} of Z_0^g by +-{args.amount:g}: landmarks move by {result['landmarks_moved']:.2f} pixels; "
              f"their motion over time correlates by {result['motion_kept']:.2f} with the motion before")


def edited(z_geo: np.ndarray, dimension: int, amount: float) -> np.ndarray:
    """Latents of clips with Z_0^g moved along one of its dimensions: every Z_t moves with it, and no s_t."""
    moved = z_geo.copy()
    moved[:, dimension] += amount
    return moved
