"""Draw a run's pictures into its figures folder.

  dgn figures runs/demo

  reconstruction.png       inputs, reconstructions, canonical faces, grids (Fig. 2)
  appearance_bases.png     one dimension of Z^a along each row (Fig. 3)
  geometry_bases.png       one dimension of Z^g along each row (Fig. 4)
  applied_bases.png        appearance bases bent by a geometric basis (Fig. 5)
  recombination.png        appearance of one face with the geometry of others, and the reverse (Fig. 11)
  samples.png              faces from the prior
  curves.png               the training
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List, Optional

import numpy as np

from dgn import runtime
from dgn.cli import add_device
from dgn.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training")
    parser.add_argument("--gamma", type=float, help="bases go from -gamma to gamma (default: evaluation.gamma of the run)")
    parser.add_argument("--output", metavar="DIR", help="default: figures in the run folder")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    device = runtime.start(args.device)
    from dgn import build

    if args.gamma is not None and not 0 < args.gamma < 1000:
        raise UserError(f"--gamma is {args.gamma}; it must be above 0 and below 1000")
    trained = build.load_run(Path(args.run_folder), device)
    folder = Path(args.output) if args.output else trained.folder.figures
    for path in draw(trained, folder, args.gamma):
        print(path)
    return 0


def draw(trained, folder: Path, gamma: Optional[float] = None, shown: int = 10) -> List[Path]:
    """Writes every picture of a loaded run; returns their paths."""
    from dgn import build
    from dgn.figures import bases, pictures, sheet
    from dgn.randomness import generator

    decode = build.decoder(trained.model)
    config = trained.folder.config
    gamma = gamma or config.evaluation.gamma
    rng = generator(config.training.seed, "figures")
    chosen = np.sort(rng.choice(len(trained.bank), min(shown, len(trained.bank)), replace=False))
    images, (z_app, z_geo) = trained.open_sources().train.read(chosen), trained.bank.read(chosen)
    sizes = config.model.z_app, config.model.z_geo
    decoded = decode(z_app, z_geo)
    best = np.square(images - decoded.image).sum((1, 2, 3)).argmin()
    face = z_app[best]  # the fixed Z^a of the geometric bases: the face that the model knows best
    appearance = bases.rank_appearance(decode, *sizes, gamma)
    geometry = bases.rank_geometry(decode, face, sizes[1], gamma)
    prior = [rng.standard_normal((33, size), np.float32) for size in sizes]
    return [
        pictures.reconstruction(folder / "reconstruction.png", images, decoded, "Training images"),
        pictures.appearance_bases(folder / "appearance_bases.png", decode, appearance, sizes[1], gamma),
        pictures.geometry_bases(folder / "geometry_bases.png", decode, geometry, face, gamma),
        pictures.applied_bases(folder / "applied_bases.png", decode, appearance, geometry, gamma),
        pictures.recombination(folder / "recombination.png", decode, images, z_app, z_geo, "Recombination of training images"),
        pictures.samples(folder / "samples.png", decode, *prior),
        sheet.save_curves(folder / "curves.png", trained.folder.records(), {
            "MSRE of the training images": {"msre": "MSRE"},
            "Latents (prior: 1)": {"z_app_std": "std of Z^a", "z_geo_std": "std of Z^g"},
            "Gradient of the energy": {"gradient": "norm"}}),
    ]
