"""Evaluate a run.

  dgn evaluate runs/demo
  dgn evaluate runs/demo --images cuts/ --steps 300

Reconstruction (MSRE: sum of squared errors of a [0, 1] image; PSNR in dB) of the training images from their chains and
of unseen images after Langevin inference; the appearance's energy near the Nyquist frequency relative to the images'
(a checkerboard is far above 1); size and smoothness of the displacement, and how far it has moved the canonical frame;
for generated faces the exchange of known factors among training and among unseen faces, and the end-point error of the
displacement. Printed as text, then as JSON in one line that begins with "result:". Results for the run's own images are
written to metrics.json in the run folder.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from dgn import config as cfg
from dgn.cli import add_data, add_device, add_run, positive, user_path
from dgn.errors import UserError

if TYPE_CHECKING:
    from dgn.data.source import Source
    from dgn.run import Run

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--images", metavar="PATH", type=user_path,
                        help="other unseen images than the held-out ones, all of them up to 1,000; nothing is written")
    parser.add_argument("--format", choices=cfg.CLIP_FORMATS, help="format of the clips of --images (default: "
                                                                   "data.format)")
    parser.add_argument("--steps", type=positive, help="Langevin steps for an unseen image (default: evaluation.steps, "
                                                      "or evaluation.encoder_steps of a run with an encoder)")
    parser.add_argument("--by-langevin", action="store_true", help="infer unseen images by Langevin dynamics from the "
                        "prior's mean although the run has an encoder; nothing is written")
    add_data(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    from dgn.data.open import open_new_images
    from dgn.evaluation.evaluate import evaluate, summary
    from dgn.run import load

    trained = load(args.run_folder, args.device, args.data)
    images = open_new_images(cfg.with_format(trained.config.data, args.format), args.images) if args.images else None
    if images is not None:
        warn_of_training_images(trained, args.images, images)
    result = evaluate(trained, images, args.steps, not args.by_langevin)
    print(summary(result))
    if trained.folder.output != trained.folder.path and images is None and not args.by_langevin:
        print(f"numbers           {trained.folder.results_path}")
    print(f"result: {json.dumps({**result, 'images': args.images} if args.images else result)} "
          f"ckpt={trained.checkpoint}")
    return 0


def warn_of_training_images(trained: Run, folder: str, images: Source) -> None:
    """Logs how many files of a folder, opened as `images`, the run was trained on, if that is known."""
    from dgn.experiments.models import training_files

    try:
        known = training_files(trained.config, trained.folder.path) or set()
    except UserError:  # `evaluate` says that the training images cannot be read
        return
    count = sum((Path(folder) / images.name(k)).resolve() in known for k in range(len(images)))
    if count:
        log.warning("%d of the %d images of %s were trained on: the errors of unseen images would be larger", count,
                    len(images), folder)
