"""Infer the latents of new images: Langevin dynamics with a run's weights fixed (5.3: 300 steps).

  dgn infer runs/demo --images photos/ --steps 300 --output found/

The images are cut as the run's config says. Written to the output folder:

  latents.npz        names, z_app (n, d_a), z_geo (n, d_g)
  displacement.npz   displacement (n, 2, H, W) in pixels
  reconstruction/    one PNG an image, after the warp
  appearance/        one PNG an image, before the warp
  overview.png       the first ten, with grids
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dgn import runtime
from dgn.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training")
    parser.add_argument("--images", metavar="PATH", required=True, help="folder of images, or .mindrecord file")
    parser.add_argument("--steps", type=int, default=300, help="Langevin steps (default %(default)s)")
    parser.add_argument("--output", metavar="DIR", default="inferred", help="new folder for the results (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the chains' noise (default %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, Ascend, GPU or CPU (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    if args.steps < 1:
        raise UserError(f"--steps is {args.steps}; it must be at least 1")
    device = runtime.start(args.device)
    from dgn import build
    from dgn.data.images import write_image
    from dgn.evaluation import reconstruction
    from dgn.figures import pictures
    from dgn.files import new_folder, write_arrays
    from dgn.inference import unseen

    trained = build.load_run(Path(args.run_folder), device)
    config = trained.folder.config
    source = build.open_images(config.data, args.images)
    output = new_folder(Path(args.output))
    images = source.read(np.arange(len(source)))
    with tqdm(total=len(images), unit="image", disable=not sys.stderr.isatty()) as bar:
        latents = unseen.infer(trained.sampler, images, args.steps, config.inference.sigma[-1][1], args.seed,
                               on_progress=lambda done: bar.update(done - bar.n))
    decoded = build.decoder(trained.model)(*latents)

    names = [source.name(index) for index in range(len(source))]
    groups = {group.name: z for group, z in zip(trained.model.groups, latents)}
    write_arrays(output / "latents.npz", names=np.array(names), **groups)
    write_arrays(output / "displacement.npz", names=np.array(names), displacement=decoded.displacement)
    for kind, written in (("reconstruction", decoded.image), ("appearance", decoded.appearance)):
        for name, image in zip(names, written):
            write_image((output / kind / name).with_suffix(".png"), image)
    shown = slice(0, 10)
    pictures.reconstruction(output / "overview.png", images[shown], type(decoded)(*[part[shown] for part in decoded]), "Inferred images")
    result = reconstruction.compute(images, decoded.image)
    print(f"{len(images)} images, {args.steps} steps: MSRE {result['msre']:.1f}, PSNR {result['psnr']:.1f} dB; written to {output}")
    return 0
