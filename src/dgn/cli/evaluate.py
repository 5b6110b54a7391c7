"""Evaluate a run.

  dgn evaluate runs/demo
  dgn evaluate runs/demo --images cuts/ --steps 300

Measured are:
- reconstruction of the training images from their chains, and of unseen images after Langevin inference (MSRE: sum of
  the squared errors of an image in [0, 1]; PSNR in dB);
- energy of the appearance near the Nyquist frequency, relative to that of the images (a checkerboard is far above 1);
- magnitude and smoothness of the displacement, and how far it has moved the canonical frame;
- for generated faces also the exchange of known factors, among training and among unseen faces, and the end-point error
  of the displacement.

The results are printed as text, then in one line: "result: ", JSON, and " ckpt=" with the path of the checkpoint. Those
of the run's own images are written to metrics.json in the run folder.
"""

from __future__ import annotations

import argparse
import json

from dgn import config as cfg
from dgn.cli import add_corrupt, add_data, add_device, add_run, positive, user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--images", metavar="PATH", type=user_path,
                        help="evaluate these images instead of the held-out ones (at most 1,000, evenly spaced); "
                             "metrics.json is not written")
    parser.add_argument("--format", choices=cfg.CLIP_FORMATS, help="format of the clips of --images "
                                                                   "(default: data.format)")
    add_corrupt(parser)
    parser.add_argument("--steps", type=positive, help="Langevin steps for an unseen image (default: evaluation.steps, "
                                                      "or evaluation.encoder_steps of a run with an encoder)")
    parser.add_argument("--no-encoder", dest="use_encoder", action="store_false",
                        help="start the chains at the prior mean and ignore the run's encoder; metrics.json is not "
                             "written")
    add_data(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    from dgn.evaluation.evaluate import evaluate, summary
    from dgn.run import images, load

    trained = load(args.run_folder, args.device, args.data)
    given = images(args.images, trained, args.format, args.corrupt) if args.images else None
    result = evaluate(trained, given, args.steps, args.use_encoder)
    print(summary(result))
    if trained.folder.output != trained.folder.path and given is None and args.use_encoder:
        print(f"numbers           {trained.folder.results_path}")
    print(f"result: {json.dumps({**result, 'images': args.images} if args.images else result)} "
          f"ckpt={trained.checkpoint}")
    return 0
