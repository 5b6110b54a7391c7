"""The paper's experiments, each one command. Numbers go to metrics.json, pictures to figures/.

  dgn experiment baselines --config config/faces_demo.yaml --output runs/baselines
  dgn experiment views runs/faces_demo

An experiment that trains several models keeps each in a run folder of its own; called again, it goes on where it was
stopped and trains nothing twice. `dgn experiment NAME --help` says what each does.
"""

from __future__ import annotations

import argparse
import importlib

from dgn import device as runtime
from dgn.cli import add_device
from dgn.errors import Interrupted

EXPERIMENTS = {
    "baselines": "ours, ABP, VAE and the deformable VAE: reconstruction and disentanglement with known factors",
    "views": "covariance of each latent dimension with the viewing angle (5.1)",
    "transfer": "geometry learned on general faces, appearance tuned on frontal ones, unseen views reconstructed (5.2, Table 1)",
    "expressions": "expressions learned from grey faces, transferred to colour faces (5.2, Fig. 8)",
    "animals": "learned geometry applied to drawn animal faces (5.4, Fig. 12a)",
    "labels": "how well the label that is given as appearance explains an image (5.4, MNIST)",
    "landmarks": "landmarks read off displacement fields (5.5, Table 2)",
    "recombination": "appearance and geometry of two clips exchanged (5.6, Fig. 15 and 16)",
    "shape": "the shape of a clip edited, its dynamics kept (5.6, Fig. 18)",
    "sampling": "new clips, longer than those trained on (4)",
    "recognition": "expressions recognised from latents and displacement fields of clips (5.6, Table 3)",
    "adversarial": "the likelihood alone and with a critic: sharpness, Frechet distance, disentanglement (5.3, Fig. 9, 11)",
    "balance": "the explaining-away competition over alpha, beta and the geometry's start (5.7)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    named = parser.add_subparsers(dest="experiment", required=True, metavar="experiment")
    for name, text in EXPERIMENTS.items():
        sub = named.add_parser(name, help=text, formatter_class=argparse.RawDescriptionHelpFormatter)
        module = importlib.import_module(f"dgn.experiments.{name}")
        sub.description = module.__doc__
        module.add_arguments(sub)
        add_device(sub)


def run(args: argparse.Namespace) -> int:
    device = runtime.start(args.device)
    try:
        importlib.import_module(f"dgn.experiments.{args.experiment}").run(args, device)
    except Interrupted as stopped:
        print(f"stopped and saved {stopped.checkpoint}; the same command goes on from there")
        return 130
    return 0
