"""Infer the latents of new images or clips: Langevin dynamics with a run's weights fixed (5.3: 300 steps), from the
prior's mean, or, by fewer steps, from the latents of the run's encoder (dgn encoder).

  dgn infer runs/demo --images cuts/ --steps 300 --output found/

The images are cut as the run's config says. Written to the output folder:

  latents.npz        names, z_app (n, d_a), z_geo (n, d_g); of clips also frames (n,), those that each has
  reconstruction/    one PNG an image, after the warp
  appearance/        one PNG an image, before the warp
  displacement/      one .npy an image, (2, H, W) in pixels
  overview.png       the first ten, with grids

Of a run on clips (--images is then a folder of clips, as the config says) latents are (Z_0, xi_1 .. xi_T) in one row;
pictures are strips, frames from left to right; displacements (F, 2, H, W); overview.png shows the first three; and
animation/ has one .gif a clip, the clip beside its reconstruction.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dgn import config as cfg
from dgn.cli import add_corrupt, add_device, add_run, natural, user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--images", metavar="PATH", type=user_path, required=True,
                        help="folder of images or clips, or .mindrecord file")
    parser.add_argument("--format", choices=cfg.CLIP_FORMATS, help="format of clips (default: data.format of the run)")
    add_corrupt(parser)
    parser.add_argument("--steps", type=natural, help="Langevin steps (default: evaluation.steps, or "
                        "evaluation.encoder_steps of a run with an encoder)")
    parser.add_argument("--descent-steps", type=natural, default=0,
                        help="further steps without noise, towards a mode: latents that vary less from seed to seed "
                             "(default %(default)s)")
    parser.add_argument("--by-langevin", action="store_true",
                        help="start from the prior's mean although the run has an encoder")
    parser.add_argument("--output", metavar="DIR", type=user_path, default="inferred",
                        help="new folder for the results (default %(default)s)")
    parser.add_argument("--seed", type=natural, help="of the chains' noise (default: training.seed of the run)")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    from dgn.data.open import check_output, open_new_images
    from dgn.files import check_outside
    from dgn.infer_folder import infer_folder
    from dgn.run import load

    trained, output = load(args.run_folder, args.device), Path(args.output)
    check_outside(output, args.images)
    check_output(output, trained.config.data)
    source = open_new_images(cfg.with_format(trained.config.data, args.format), args.images,
                             args.corrupt)
    result = infer_folder(trained, source, output, args.steps, args.seed, not args.by_langevin, args.descent_steps)
    kind = "clips" if trained.config.data.frames else "images"
    print(f"{result['count']} {kind}, {result['steps']} steps: MSRE {result['msre']:.1f}, PSNR {result['psnr']:.1f} "
          f"dB; written to {output}")
    return 0
