"""Train an encoder that initializes the Langevin chains of unseen images (amortized inference, one pass).

  dgn encoder runs/demo
  dgn encoder runs/demo --steps 3000

First it is trained by regression on known latents: those of training images and of generated samples. Then it minimizes
the energy (Eq. 8) of its own latents. It is stored in the run folder (encoder/). From then on the chains of unseen
images start at its latents instead of the prior mean: `infer`, `evaluate` and `page` take evaluation.encoder_steps (20)
steps instead of evaluation.steps (300). `infer` and `evaluate` ignore it with --no-encoder. `export` writes
encoder.mindir. At the end both initializations are compared on the run's unseen images (section encoder of
metrics.json). Images only.
"""

from __future__ import annotations

import argparse

from dgn import console
from dgn.cli import add_data, add_device, add_run, positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser, packaged=False)
    parser.add_argument("--steps", type=positive, default=2000, help="optimizer steps (default %(default)s)")
    add_data(parser)
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    from dgn.evaluation.chain_encoder import compare, table, unseen_samples
    from dgn.run import load
    from dgn.run_training import fit_encoder
    from dgn.training.chain_encoder import FOLDER, EncoderOptions

    trained = load(args.run_folder, args.device, args.data)
    with console.progress(total=args.steps, unit="step") as bar:
        def report(step: int, energy: float) -> None:
            bar.set_postfix_str(f"energy {energy:.1f}", refresh=False)
            bar.update()

        trained = fit_encoder(trained, EncoderOptions(args.steps), report)
    print(f"encoder           {trained.folder.path / FOLDER}")
    result = compare(trained, unseen_samples(trained))
    if result:
        print(table(result))
        trained.folder.add_section("encoder", result)
    return 0
