"""A run's model as files for other programs.

  dgn export runs/faces_demo
  dgn export runs/faces_demo exported/ --batch 1 --steps 10
  dgn export runs/faces_demo --format onnx --batch 1

Written to the output folder (default: export in the run folder):

  decoder.mindir          latents of each group -> image, appearance, displacement
  encoder.mindir          image -> latents of each group; only of a run with an encoder that initializes the chains
                          (dgn encoder) and without labels as latents
  inference.mindir        image, latents, noise of each group -> latents after K Langevin steps. Call it repeatedly,
                          first with zeros (the prior mean), each time with new noise. Only of models of images;
                          latents that are labels are inputs, are returned unchanged, and have no noise.
  inference_lite.mindir   the same function, its gradient written out in operators that MindSpore Lite 2.0 runs
  export.json             names and shapes of inputs and outputs, sigma, and the difference of each file to the model

Every file is loaded again and compared with the model before it is kept. The graphs use MindSpore's own operators only;
the warp consists of gathers, which MindSpore Lite runs. --format onnx writes only decoder and encoder, and needs
onnxruntime. --format safetensors writes only the weights, by name, into weights.safetensors.

MindSpore Lite by device:
  Ascend 310 (Atlas)      Lite 2.0 (CANN 6, inferred), which reads only MindIR 1: --mindir-version 1
  CPU                     Lite 2.0 of PyPI, the only one that was tested: --mindir-version 1
  310P, 310B, 910B        Lite 2.7 or newer, which reads the MindIR 3 that MindSpore writes, with fixed shapes:
                          --target ascend

--mindir-version 1 rewrites decoder.mindir and inference_lite.mindir after the comparison, for a fixed number of samples
(default 1). The default folder is then export_mindir1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dgn.cli import add_device, add_run, positive, user_path
from dgn.errors import UserError

FREE = 0  # value of --batch free


def batch(text: str) -> int:
    """A number of samples, or FREE."""
    return FREE if text == "free" else positive(text)


def samples(chosen: int | None, target: str) -> int | None:
    """Samples of a call for --batch and --target; None: any number for the decoder. Raises UserError if the runtime of
    the target takes no free number."""
    if target == "ascend" and chosen == FREE:
        raise UserError("--target ascend needs fixed shapes, as MindSpore Lite has there: give --batch N, or leave it "
                        "out for 1")
    return chosen or (1 if target == "ascend" else None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("output", metavar="OUT", type=user_path, nargs="?",
                        help="output folder (default: export, or export_mindir1 with --mindir-version 1, in the run "
                             "folder)")
    parser.add_argument("--batch", type=batch, default=None,
                        help="samples per call, or free (default): any number for the decoder, one for inference")
    parser.add_argument("--target", choices=["any", "ascend"], default="any",
                        help="ascend: fixed shapes, for MindSpore Lite on 310P, 310B, 910B (--batch is 1 by default)")
    parser.add_argument("--steps", type=positive,
                        help="Langevin steps per call of the inference (default: inference.steps of the run)")
    parser.add_argument("--format", choices=["mindir", "onnx", "safetensors"], default="mindir",
                        help="file format (default %(default)s)")
    parser.add_argument("--mindir-version", type=int, choices=[1, 3], default=3,
                        help="MindIR version; 1 for MindSpore Lite 2.0 (default %(default)s)")
    add_device(parser)
    parser.set_defaults(device="CPU")  # its results do not depend on the device, and float32 is exact there


def run(args: argparse.Namespace) -> int:
    from dgn.export.export import default_folder, export_run
    from dgn.run import load

    count = samples(args.batch, args.target)
    trained = load(args.run_folder, args.device)
    folder = Path(args.output) if args.output else default_folder(trained, args.mindir_version)
    about = export_run(trained, folder, args.format, args.mindir_version, count, args.steps)
    if "weights" in about:
        print(f"{folder / about['weights']['file']}: {len(about['weights']['outputs'])} arrays, read again and equal")
    for name in ("decoder", "encoder", "inference", "inference_lite"):
        if name in about:
            entry = about[name]
            print(f"{folder / entry['file']}: {', '.join(entry['inputs'])} -> {', '.join(entry['outputs'])}; differs "
                  f"from the model by {entry['difference']:.1e} of the largest value"
                  + (" before it was rewritten" if args.mindir_version == 1 else ""))
    return 0
