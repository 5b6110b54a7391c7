"""Infer the latents of new images: Langevin dynamics with a run's weights fixed (5.3: 300 steps).

  dgn infer runs/demo --images photos/ --steps 300 --output found/

The images are cut as the run's config says. Written to the output folder:

  latents.npz        names, z_app (n, d_a), z_geo (n, d_g)
  reconstruction/    one PNG an image, after the warp
  appearance/        one PNG an image, before the warp
  displacement/      one .npy an image, (2, H, W) in pixels
  overview.png       the first ten, with grids
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dgn import runtime
from dgn.cli import add_device, natural, positive

CHUNK = 500  # images inferred and written at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training")
    parser.add_argument("--images", metavar="PATH", required=True, help="folder of images, or .mindrecord file")
    parser.add_argument("--steps", type=positive, default=300, help="Langevin steps (default %(default)s)")
    parser.add_argument("--output", metavar="DIR", default="inferred", help="new folder for the results (default %(default)s)")
    parser.add_argument("--seed", type=natural, default=1, help="of the chains' noise (default %(default)s)")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    device = runtime.start(args.device)
    from dgn import build
    from dgn.data.images import write_image
    from dgn.evaluation import reconstruction
    from dgn.figures import pictures
    from dgn.files import new_folder, png_name, write_array, write_arrays
    from dgn.nets.model import rows
    trained = build.load_run(Path(args.run_folder), device)
    source = build.open_images(trained.config.data, args.images)
    given = build.given_latents(trained.model, source)
    output = new_folder(Path(args.output))
    names, latents, errors = [source.name(index) for index in range(len(source))], [], []
    with tqdm(total=len(source), unit="image", disable=not sys.stderr.isatty()) as bar:
        for first in range(0, len(source), CHUNK):  # memory does not grow with the number of images
            images = source.read(np.arange(first, min(first + CHUNK, len(source))))
            found = trained.infer(images, args.steps, {name: z[first:first + CHUNK] for name, z in given.items()}, first, seed=args.seed)
            decoded = trained.decode(*found)
            for row, name in enumerate(names[first:first + len(images)]):
                write_image(output / "reconstruction" / png_name(name), decoded.image[row])
                if decoded.appearance is not None:
                    write_image(output / "appearance" / png_name(name), decoded.appearance[row])
                    write_array(output / "displacement" / f"{name}.npy", decoded.displacement[row])
            if first == 0:
                pictures.reconstruction(output / "overview.png", images[:10], rows(decoded, slice(10)), "Inferred images")
            latents.append(found)
            errors.append(reconstruction.compute(images, decoded.image))
            bar.update(len(images))

    groups = {group.name: np.concatenate(parts) for group, parts in zip(trained.model.groups, zip(*latents))}
    write_arrays(output / "latents.npz", names=np.array(names), **groups)
    msre, psnr = (sum(e[key] * e["images"] for e in errors) / len(source) for key in ("msre", "psnr"))
    print(f"{len(source)} images, {args.steps} steps: MSRE {msre:.1f}, PSNR {psnr:.1f} dB; written to {output}")
    return 0
