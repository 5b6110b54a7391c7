"""Draw a run's pictures into its figures folder.

  dgn figures runs/demo

  reconstruction.png       inputs, reconstructions, canonical faces, grids (Fig. 2)
  appearance_bases.png     one dimension of Z^a along each row (Fig. 3)
  geometry_bases.png       one dimension of Z^g along each row (Fig. 4)
  applied_bases.png        appearance bases bent by a geometric basis (Fig. 5)
  recombination.png        of images: appearance of one face with the geometry of others, and the reverse (Fig. 11)
  grids.png                of clips: the grid of every frame (Fig. 19); the bases are then those of the first frame (Fig. 17)
  latent_bases.png         of a plain model: one dimension of Z along each row
  labels_1.png, _2.png     of a model with given labels: every label bent by a geometric basis (Fig. 13)
  samples.png              of images: pictures from the prior
  curves.png               the training
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List, Optional

import numpy as np

from dgn import runtime
from dgn.cli import above_zero, add_device


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training")
    parser.add_argument("--gamma", type=above_zero, help="bases go from -gamma to gamma (default: evaluation.gamma of the run)")
    parser.add_argument("--output", metavar="DIR", help="default: figures in the run folder")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    device = runtime.start(args.device)
    from dgn import build

    trained = build.load_run(Path(args.run_folder), device)
    folder = Path(args.output) if args.output else trained.folder.figures
    for path in draw(trained, folder, args.gamma):
        print(path)
    return 0


def draw(trained, folder: Path, reach: Optional[float] = None, shown: int = 10) -> List[Path]:
    """Writes every picture that a loaded run's model has; returns their paths."""
    from dgn.figures import pictures
    from dgn.randomness import generator

    config, model = trained.config, trained.model
    if config.data.frames:
        return _draw_clips(trained, folder, reach or config.evaluation.gamma)
    rng = generator(config.training.seed, "figures")
    chosen = np.sort(rng.choice(len(trained.bank), min(shown, len(trained.bank)), replace=False))
    images, latents = trained.open_sources().train.read(chosen), trained.bank.read(chosen)
    decoded = trained.decode(*latents)
    best = int(np.square(images - decoded.image).sum((1, 2, 3)).argmin())
    prior = [rng.standard_normal((33, *group.shape), np.float32) if group.sampled
             else np.resize(np.eye(*group.shape, dtype=np.float32), (33, *group.shape)) for group in model.groups]
    return [
        pictures.reconstruction(folder / "reconstruction.png", images, decoded, "Training images"),
        *_bases(trained, folder, reach or config.evaluation.gamma, images, latents, best),
        pictures.samples(folder / "samples.png", trained.decode, *prior),
        _curves(trained, folder),
    ]


def _curves(trained, folder: Path) -> Path:
    from dgn.figures import pictures, sheet

    return sheet.save_curves(folder / "curves.png", trained.folder.records(), {
        "MSRE of the training images": {"msre": "MSRE"},
        "Latents (prior: 1)": {f"{group.name}_std": f"std of {pictures.symbol(group.name)}" for group in trained.model.groups if group.sampled},
        "Gradient of the energy": {"gradient": "norm"}, "Divergence of q from the prior": {"kl": "KL"},
        "Scores of the critic": {"score_real": "images", "score_made": "made of the prior"},
        "Losses of Eq. 22": {"critic": "critic (0: perfect, 1.39: blind)", "actor": "actor"}, "R1": {"r1": "R1"}})


def _draw_clips(trained, folder: Path, gamma: float, shown: int = 3) -> List[Path]:
    """Reconstructions, bases of the first frame (Fig. 17) and grids over time (Fig. 19) of a video model."""
    from dgn.data.source import observed
    from dgn.figures import bases, clips, pictures
    from dgn.randomness import generator

    model, source = trained.model, trained.open_sources().train
    rng = generator(trained.config.training.seed, "figures")
    chosen = np.sort(rng.choice(len(trained.bank), min(shown, len(trained.bank)), replace=False))
    samples, latents, names = source.read(chosen), trained.bank.read(chosen), [source.name(int(k)) for k in chosen]
    decoded = trained.decode(*latents)
    sizes = [branch.states for branch in model.branches]
    first = clips.first_frames(trained.decode)
    face = latents[0][0, :sizes[0]]
    appearance = bases.rank(first, [None, None], 0, sizes, gamma)
    geometry = bases.rank(first, [face, None], 1, sizes, gamma)
    return [
        clips.reconstruction(folder / "reconstruction.png", samples, decoded, names, "Training clips"),
        pictures.appearance_bases(folder / "appearance_bases.png", first, appearance, sizes[1], gamma),
        pictures.geometry_bases(folder / "geometry_bases.png", first, geometry, face, gamma),
        pictures.applied_bases(folder / "applied_bases.png", first, appearance, geometry, gamma),
        clips.grids(folder / "grids.png", decoded, observed(samples).sum(1), names),
        _curves(trained, folder),
    ]


def _bases(trained, folder: Path, gamma: float, images: np.ndarray, latents, best: int) -> List[Path]:
    """What the dimensions of the latents do; `best`: the row of `latents` whose image the model knows best."""
    from dgn.figures import bases, pictures

    decode, sizes = trained.decode, [group.shape[0] for group in trained.model.groups]
    if len(sizes) == 1:
        return [pictures.latent_bases(folder / "latent_bases.png", decode, bases.rank(decode, [None], 0, sizes, gamma), gamma)]
    if not trained.model.groups[0].sampled:
        ranked = bases.rank(decode, [np.eye(sizes[0], dtype=np.float32)[0], None], 1, sizes, gamma)
        return [pictures.labels(folder / f"labels_{place}.png", decode, sizes, ranked, place - 1, gamma) for place in (1, 2)[:sizes[1]]]
    z_app, z_geo = latents
    face = z_app[best]  # the fixed Z^a of the geometric bases
    appearance = bases.rank(decode, [None, None], 0, sizes, gamma)
    geometry = bases.rank(decode, [face, None], 1, sizes, gamma)
    return [
        pictures.appearance_bases(folder / "appearance_bases.png", decode, appearance, sizes[1], gamma),
        pictures.geometry_bases(folder / "geometry_bases.png", decode, geometry, face, gamma),
        pictures.applied_bases(folder / "applied_bases.png", decode, appearance, geometry, gamma),
        pictures.recombination(folder / "recombination.png", decode, images, z_app, z_geo, "Recombination of training images"),
    ]
