"""A run's model as files for other programs.

  dgn export runs/faces_demo
  dgn export runs/faces_demo exported/ --batch 1 --steps 10
  dgn export runs/faces_demo --format onnx

Written to the output folder (default: export in the run folder):

  decoder.mindir          latents of each group -> image, appearance, displacement
  inference.mindir        image, latents, noise of each group -> latents, after so many Langevin steps: begin with zeros (the
                          prior's mean) and call it as often as wanted, each time with new noise (of models of images;
                          latents that are labels are given, stay, and have no noise)
  inference_lite.mindir   the same function, its gradient written out in operators that MindSpore Lite runs
  export.json             names and shapes of inputs and outputs, sigma, and how far each file is from the live model

Every file is loaded again and compared with the model before it is kept. The graphs use MindSpore's own operators only; the
warp is made of gathers, which MindSpore Lite runs. --format onnx writes the decoder alone, and needs onnxruntime.

--mindir-version 1 is for MindSpore Lite 2.0, the last one on PyPI, which cannot read the version 3 that MindSpore 2.10
writes: decoder.mindir and inference_lite.mindir are rewritten, for a fixed number of samples (default 1), after the comparison;
the default folder is then export_mindir1. A MindSpore Lite of the same version as MindSpore needs no rewriting.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

import numpy as np

from dgn import device as runtime
from dgn.cli import add_device, positive
from dgn.errors import UserError


def batch(text: str) -> Optional[int]:
    """A number of samples, or None for "free"."""
    return None if text == "free" else positive(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training")
    parser.add_argument("output", metavar="OUT", nargs="?", help="folder of the files (default: export, or export_mindir1, in the run folder)")
    parser.add_argument("--batch", type=batch, default=None, help="samples of a call, or free (default): any number, for the decoder; "
                        "inference then takes one")
    parser.add_argument("--steps", type=positive, help="Langevin steps of a call of the inference (default: inference.steps of the run)")
    parser.add_argument("--format", choices=["mindir", "onnx"], default="mindir")
    parser.add_argument("--mindir-version", type=int, choices=[1, 3], default=3, help="of the MindIR files; 1 for MindSpore Lite 2.0 "
                        "(default %(default)s)")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    device = runtime.start(args.device)
    from dgn import build
    from dgn.files import write_json

    trained = build.load_run(Path(args.run_folder), device)
    old = args.mindir_version == 1
    output = Path(args.output) if args.output else trained.folder.path / ("export_mindir1" if old else "export")
    if args.format == "onnx" and (args.batch is None or old):
        raise UserError("--format onnx has no MindIR version" if old else "--format onnx needs a fixed number of samples: --batch 1")
    names = [group.name for group in trained.model.groups] if old else ()
    count, one = args.batch or (1 if old else None), args.batch or 1
    told: Dict[str, Any] = {"decoder": export_decoder(trained, output / f"decoder.{args.format}", count, device, names)}
    if args.format == "mindir" and not trained.config.data.frames:
        steps = args.steps or trained.config.inference.steps
        if not old:
            told["inference"] = export_inference(trained, output / "inference.mindir", one, steps, device)
        told["inference_lite"] = export_inference(trained, output / "inference_lite.mindir", one, steps, device, True, old)
    for about in told.values():
        print(f"{output / about['file']}: {', '.join(about['inputs'])} -> {', '.join(about['outputs'])}; "
              f"differs from the model by {about['difference']:.1e} of the largest value" + (" before it was rewritten" if old else ""))
    write_json(output / "export.json", {"run": str(trained.folder.path.resolve()), "checkpoint": trained.checkpoint.name,
                                        "mindir_version": args.mindir_version, "size": trained.model.size, "channels": trained.model.channels,
                                        "frames": trained.config.data.frames, "versions": runtime.versions(), **told})
    return 0


def export_decoder(trained, path: Path, count: Optional[int], device: str, names: Sequence[str] = ()) -> Dict[str, Any]:
    """Writes the decoder; what export.json says of it. names: see dgn.export.files.write."""
    from dgn.export import cells, files
    from dgn.inference.langevin import draw_noise
    from dgn.nets.model import decode

    config, live = trained.config, trained.model
    if names:
        config = cells.full_precision(config)
        live = cells.live(config, trained.checkpoint, device)
    model = cells.decoder(config, trained.checkpoint, device, onnx=path.suffix == ".onnx")
    latents = [z[0] for z in draw_noise(model, 1, count or 2, 0, "export")]
    expected = [part for part in decode(live, *latents) if part is not None]
    difference = files.write(model, latents, path, expected, [0] * len(latents) if count is None else (), names)
    outputs = ("image", "appearance", "displacement")[:len(expected)]
    return {"file": path.name, "batch": count or "free", "inputs": {group.name: [count or -1, *group.shape] for group in model.groups},
            "outputs": {name: [count or -1, *value.shape[1:]] for name, value in zip(outputs, expected)}, "difference": difference}


def export_inference(trained, path: Path, count: int, steps: int, device: str, by_hand: bool = False, old: bool = False) -> Dict[str, Any]:
    """Writes the inference, its gradient by MindSpore or by hand; what export.json says of it. old: as MindIR 1."""
    from dgn import build
    from dgn.export import cells, files
    from dgn.inference import langevin

    groups, model, energy = trained.model.groups, trained.model, trained.sampler.energy
    if by_hand:
        energy = build.make_energy(cells.live(cells.full_precision(trained.config), trained.checkpoint, device), trained.config)
    cell = (cells.inference_by_hand if by_hand else cells.inference)(trained.config, trained.checkpoint, steps, device)
    images = np.random.default_rng(0).random((count, model.channels, model.size, model.size), np.float32)
    start = [z[0] for z in langevin.draw_noise(model, 1, count, 0, "export")]
    noise = langevin.draw_noise(model, steps, count, 1, "export")
    expected = langevin.run(build.make_sampler(energy, trained.config, steps), images, tuple(start), noise, trained.last_sigma)[0]
    inputs = {"image": list(images.shape), **{group.name: [count, *group.shape] for group in groups},
              **{f"noise_{group.name}": [steps, count, *group.shape] for group in groups if group.sampled}}
    moving = [own for own, group in zip(noise, groups) if group.sampled]
    difference = files.write(cell, [images, *start, *moving], path, expected, names=list(inputs) if old else ())
    return {"file": path.name, "batch": count, "steps": steps, "sigma": trained.last_sigma, "inputs": inputs,
            "outputs": {group.name: [count, *group.shape] for group in groups}, "difference": difference}
