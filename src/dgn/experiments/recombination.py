"""Appearance and geometry of two clips exchanged (5.6, Fig. 15 and 16).

  dgn experiment recombination runs/clips
  dgn experiment recombination runs/clips --clips 0 7

Two training clips are decoded with each other's geometry: one person's colours with the other's shape and motion. For
generated clips numbers tell whether that is so: of 200 clips each takes the geometry of one of another person and another
expression; probes, trained on clips of people that the model never saw, read landmarks and factors off the frames; their
motion is compared with that of both donors, and so are the colours. Of all clips, how much of the motion their own
reconstructions show, by class where names tell it. Written to the run folder: sections "recombination" and
"explained_motion" of metrics.json, figures/recombination.png, .gif and .mp4.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict

import numpy as np

from dgn.cli import natural
from dgn.errors import UserError
from dgn.experiments.clips import COLOUR, MOTION, classes_of, explained_motion, motion, need_clips, other_donors, over_time, probe
from dgn.experiments.models import table

PAIRS = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training on clips")
    parser.add_argument("--clips", type=natural, nargs=2, metavar=("A", "B"),
                        help="numbers of the two clips (default: the first, and one of another person and class)")


def run(args: argparse.Namespace, device: str) -> None:
    from dgn import build
    from dgn.figures import clips as figures

    trained = build.load_run(Path(args.run_folder), device)
    need_clips(trained, args.run_folder)
    source = trained.open_sources().train
    names = [source.name(k) for k in range(len(source))]
    partner = other_donors(names)
    pair = np.array(args.clips or (0, partner[0] or min(1, len(source) - 1)))
    if pair.max() >= len(source):
        raise UserError(f"--clips {pair.max()}: the run has the clips 0 to {len(source) - 1}")
    z_app, z_geo = trained.bank.read(pair)
    exchanged = trained.decode(z_app, z_geo[::-1]).image
    clips = source.read(pair)
    if trained.config.data.path is None and (partner != np.arange(len(source))).any():
        result = followed(trained, partner)
        trained.folder.add_results(recombination=result)
        print(table("correlation with", ["geometry donor", "appearance donor", "own clip", "between donors"], {
            name: [f"{found[key]:+.2f}" for key in ("geometry_donor", "appearance_donor", "own", "donors")] for name, found in result.items()}))
    shown = np.unique(np.linspace(0, len(source) - 1, min(PAIRS, len(source))).astype(int))
    explained = explained_motion(source.read(shown), trained.decode(*trained.bank.read(shown)).image, classes_of([names[k] for k in shown]))
    trained.folder.add_results(explained_motion=explained)
    print("motion that reconstructions show: " + ", ".join(f"{name} {share:.2f}" for name, share in explained.items()))
    for path in figures.recombination(trained.folder.figures / "recombination.png", clips, exchanged, [names[k] for k in pair]):
        print(path)


def followed(trained, partner: np.ndarray) -> Dict[str, Any]:
    """Correlations of what is read off exchanged clips with the truth of both donors; `own`: off reconstructions; `donors`:
    of the two truths with one another, as expressions that open the mouth do so at about the same time."""
    from dgn import build
    from dgn.evaluation.exchange import correlation

    paired = np.flatnonzero(partner != np.arange(len(partner)))
    chosen = paired[np.unique(np.linspace(0, len(paired) - 1, min(PAIRS, len(paired))).astype(int))]
    donors = partner[chosen]
    source = build.make_clips(trained.config.data, len(trained.bank))
    z_app, z_geo = trained.bank.read(chosen)
    shown = trained.decode(z_app, trained.bank.read(donors)[1]).image
    own = trained.decode(z_app, z_geo).image
    read = probe(trained)
    names = (*MOTION, *COLOUR)

    def compare(values: Dict[str, np.ndarray], of) -> Dict[str, float]:
        return {key: correlation(of(values[kind]).ravel(), of(values[truth]).ravel())
                for key, kind, truth in (("geometry_donor", "shown", "geometry"), ("appearance_donor", "shown", "appearance"),
                                         ("own", "own", "appearance"), ("donors", "geometry", "appearance"))}

    def true_points(who: np.ndarray) -> np.ndarray:
        return source.landmarks(who).reshape(len(who), shown.shape[1], -1)

    points = {"shown": over_time(read.landmarks, shown), "own": over_time(read.landmarks, own),
              "geometry": true_points(donors), "appearance": true_points(chosen)}
    values = {"shown": over_time(read.factors, shown), "own": over_time(read.factors, own),
              "geometry": source.factor_table(donors, names), "appearance": source.factor_table(chosen, names)}
    result = {"landmark motion": compare(points, motion), "landmark position": compare(points, lambda p: p - p.mean((0, 1)))}
    for k, name in enumerate(names):
        of = (lambda v, k=k: motion(v)[..., k]) if name in MOTION else (lambda v, k=k: v[..., k].mean(1))
        result[name] = compare(values, of)
    return result
