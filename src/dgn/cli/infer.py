"""Infer the latents of new images or clips: Langevin dynamics with a run's weights fixed (5.3: 300 steps), from the
prior's mean, or, by fewer steps, from the latents of the run's encoder (dgn encoder).

  dgn infer runs/demo --images photos/ --steps 300 --output found/

The images are cut as the run's config says. Written to the output folder:

  latents.npz        names, z_app (n, d_a), z_geo (n, d_g)
  reconstruction/    one PNG an image, after the warp
  appearance/        one PNG an image, before the warp
  displacement/      one .npy an image, (2, H, W) in pixels
  overview.png       the first ten, with grids

Of a run on clips (--images is then a folder of clips, as the config says) latents are (Z_0, xi_1 .. xi_T) in one row;
pictures are strips, frames from left to right; displacements (F, 2, H, W); overview.png shows the first three.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List

import numpy as np
from tqdm import tqdm

from dgn import config as cfg
from dgn.cli import add_device, add_run, natural, user_path

CHUNK = 500  # images, or frames of clips, inferred and written at a time


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--images", metavar="PATH", type=user_path, required=True,
                        help="folder of images or clips, or .mindrecord file")
    parser.add_argument("--format", choices=cfg.CLIP_FORMATS, help="format of clips (default: data.format of the run)")
    parser.add_argument("--steps", type=natural, help="Langevin steps (default: evaluation.steps, or "
                        "evaluation.encoder_steps of a run with an encoder)")
    parser.add_argument("--by-langevin", action="store_true",
                        help="start from the prior's mean although the run has an encoder")
    parser.add_argument("--output", metavar="DIR", type=user_path, default="inferred",
                        help="new folder for the results (default %(default)s)")
    parser.add_argument("--seed", type=natural, default=1, help="of the chains' noise (default %(default)s)")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    from dgn.data.open import check_output, open_new_images
    from dgn.data.source import to_images
    from dgn.errors import UserError
    from dgn.evaluation.reconstruction import reconstruction_errors
    from dgn.figures.draw import draw_overview
    from dgn.files import check_outside, new_folder, png_names, write_arrays
    from dgn.inference.latents import given_latents
    from dgn.run import load

    trained = load(args.run_folder, args.device)
    check_outside(Path(args.output), args.images)
    check_output(Path(args.output), trained.config.data)
    source = open_new_images(cfg.with_format(trained.config.data, args.format), args.images)
    given = given_latents(trained.model.groups, source)
    steps = trained.default_steps(not args.by_langevin) if args.steps is None else args.steps
    if steps == 0 and (args.by_langevin or (trained.chain_encoder is None and trained.encoder is None)):
        raise UserError("--steps 0 gives the encoder's latents, and there is none here; take at least 1")
    names = [source.name(index) for index in range(len(source))]
    png_names(names)  # refused before the inference, not after it
    output = new_folder(Path(args.output))
    latents, errors = [], []
    shown: tuple = ()
    frames = trained.config.data.frames
    kind, chunk = ("clip", max(CHUNK // frames, 1)) if frames else ("image", CHUNK)
    with tqdm(total=len(source), unit=kind, disable=None) as bar:
        for first in range(0, len(source), chunk):  # bounded memory
            indices = np.arange(first, min(first + chunk, len(source)))
            images, mask = source.read(indices), source.mask(indices)
            chains = trained.chains(steps, seed=args.seed, first=first)
            own = {name: a[indices] for name, a in given.items()}
            z = trained.infer_batch(images, chains, mask, own, not args.by_langevin)
            decoded = trained.decode(*z)
            lengths = None if mask is None else mask.sum(1).astype(int)
            write(output, names[first:first + len(images)], decoded, lengths)
            shown = shown or (images, decoded, lengths)
            latents.append(z)
            errors.append(reconstruction_errors(to_images(images, mask), to_images(decoded.image, mask)))
            bar.update(len(images))

    groups = {group.name: np.concatenate(parts) for group, parts in zip(trained.model.groups, zip(*latents))}
    write_arrays(output / "latents.npz", names=np.array(names), **groups)
    count = sum(e["images"] for e in errors)
    msre, psnr = (sum(e[key] * e["images"] for e in errors) / count for key in ("msre", "psnr"))
    print(f"{len(source)} {kind}s, {steps} steps: MSRE {msre:.1f}, PSNR {psnr:.1f} dB; written to {output}")
    images, decoded, lengths = shown
    draw_overview(output / "overview.png", images, decoded, names, "Inferred", lengths)
    return 0


def write(output: Path, names: List[str], decoded, lengths=None) -> None:
    """Pictures and displacements of some of the samples; lengths: of clips, whose padding is not written."""
    from dgn.data.frames import strip
    from dgn.data.images import write_image
    from dgn.files import png_name, write_array
    from dgn.nets.model import rows

    for row, name in enumerate(names):
        own = rows(decoded, row)
        image, appearance, displacement = own
        if lengths is not None:
            image, appearance, displacement = rows(own, slice(lengths[row]))
            image, appearance = strip(image), None if appearance is None else strip(appearance)
        write_image(output / "reconstruction" / png_name(name), image)
        if appearance is not None and displacement is not None:
            write_image(output / "appearance" / png_name(name), appearance)
            write_array(output / "displacement" / f"{name}.npy", displacement)
