"""Infer the latents of new images or clips by Langevin dynamics with the run's weights. Chains start at the prior mean
(evaluation.steps, by default the 300 of 5.3), or at the latents of the run's encoder, if it has one (dgn encoder; fewer
steps).

  dgn infer runs/demo --images cuts/ --steps 300 --output found/

The images are cut as the run's config says. An inference that was interrupted is continued by the same command. Written
to the output folder:

  latents.npz        names, z_app (n, d_a), z_geo (n, d_g); for clips also frames (n,), the number of frames of each
  reconstruction/    one PNG file per image, after the warp
  appearance/        one PNG file per image, before the warp
  displacement/      one .npy file per image, (2, H, W) in pixels
  overview.png       the first ten, with grids

--latents-only writes latents.npz and overview.png.

For a run on clips, --images is a folder of clips, as the config says. Then latents are (Z_0, xi_1 .. xi_T) in one row;
pictures are strips, frames from left to right; displacements are (F, 2, H, W); overview.png shows the first three;
animation/ has one .gif file per clip, the clip beside its reconstruction.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dgn import config as cfg
from dgn import console
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
    parser.add_argument("--no-encoder", dest="use_encoder", action="store_false",
                        help="start the chains at the prior mean and ignore the run's encoder")
    parser.add_argument("--latents-only", action="store_true",
                        help="write latents.npz and overview.png, but no pictures and displacements of each sample")
    parser.add_argument("--output", metavar="DIR", type=user_path, default="inferred",
                        help="new folder for the results, or that of an interrupted inference with the same images and "
                             "settings (default %(default)s)")
    parser.add_argument("--seed", type=natural, help="random seed of the noise (default: training.seed of the run)")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    from dgn.data.open import check_output
    from dgn.errors import RunFailed
    from dgn.files import check_outside
    from dgn.infer_folder import UNFINISHED, infer_folder
    from dgn.run import images, load

    trained, output = load(args.run_folder, args.device), Path(args.output)
    check_outside(output, args.images)
    check_output(output, trained.config.data)
    source = images(args.images, trained, args.format, args.corrupt)
    chains = trained.chain_settings(args.steps, args.descent_steps, args.seed, args.use_encoder)
    try:
        result = infer_folder(trained, source, output, chains, args.latents_only)
    except (KeyboardInterrupt, RunFailed):
        if (output / UNFINISHED).exists():
            console.say(f"dgn: finished chunks are in {output / UNFINISHED}; run the same command again to continue",
                        sys.stderr)
        raise
    kind = "clips" if trained.config.data.frames else "images"
    print(f"{result['count']} {kind}, {result['steps']} steps: MSRE {result['msre']:.1f}, PSNR {result['psnr']:.1f} "
          f"dB; written to {output}")
    return 0
