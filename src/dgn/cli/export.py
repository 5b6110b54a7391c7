"""A run's model as files for other programs.

  dgn export runs/faces_demo
  dgn export runs/faces_demo exported/ --batch 1 --steps 10
  dgn export runs/faces_demo --format onnx

Written to the output folder (default: export in the run folder):

  decoder.mindir     latents of each group -> image, appearance, displacement
  inference.mindir   image, latents, noise of each group -> latents, after so many Langevin steps: begin with zeros (the
                     prior's mean) and call it as often as wanted, each time with new noise (of models of images)
  export.json        names and shapes of inputs and outputs, sigma, and how far each file is from the live model

Every file is loaded again and compared with the model before it is kept. The graphs use MindSpore's own operators only; the
warp is made of gathers, which MindSpore Lite runs. --format onnx writes the decoder alone, and needs onnxruntime.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np

from dgn import runtime
from dgn.cli import add_device, positive
from dgn.errors import UserError


def batch(text: str) -> Optional[int]:
    """A number of samples, or None for "free"."""
    return None if text == "free" else positive(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="output folder of a training")
    parser.add_argument("output", metavar="OUT", nargs="?", help="folder of the files (default: export in the run folder)")
    parser.add_argument("--batch", type=batch, default=None, help="samples of a call, or free (default): any number, for the decoder; "
                        "inference then takes one")
    parser.add_argument("--steps", type=positive, help="Langevin steps of a call of the inference (default: inference.steps of the run)")
    parser.add_argument("--format", choices=["mindir", "onnx"], default="mindir")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    device = runtime.start(args.device)
    from dgn import build
    from dgn.files import write_json

    trained = build.load_run(Path(args.run_folder), device)
    output = Path(args.output) if args.output else trained.folder.path / "export"
    if args.format == "onnx" and args.batch is None:
        raise UserError("--format onnx needs a fixed number of samples: --batch 1")
    told: Dict[str, Any] = {"decoder": export_decoder(trained, output / f"decoder.{args.format}", args.batch, device)}
    if args.format == "mindir" and not trained.config.data.frames:
        steps = args.steps or trained.config.inference.steps
        told["inference"] = export_inference(trained, output / "inference.mindir", args.batch or 1, steps, device)
    for about in told.values():
        print(f"{output / about['file']}: {', '.join(about['inputs'])} -> {', '.join(about['outputs'])}; "
              f"differs from the model by {about['difference']:.1e} of the largest value")
    write_json(output / "export.json", {"checkpoint": trained.checkpoint.name, "size": trained.model.size, "channels": trained.model.channels,
                                        "frames": trained.config.data.frames, "versions": runtime.versions(), **told})
    return 0


def export_decoder(trained, path: Path, count: Optional[int], device: str) -> Dict[str, Any]:
    """Writes the decoder; what export.json says of it."""
    from dgn.export import cells, files
    from dgn.inference.langevin import draw_noise

    model = cells.decoder(trained.config, trained.checkpoint, device, onnx=path.suffix == ".onnx")
    latents = [z[0] for z in draw_noise(model, 1, count or 2, 0, "export")]
    expected = [part for part in trained.decode(*latents) if part is not None]
    difference = files.write(model, latents, path, expected, [0] * len(latents) if count is None else ())
    outputs = ("image", "appearance", "displacement")[:len(expected)]
    return {"file": path.name, "batch": count or "free", "inputs": {group.name: [count or -1, *group.shape] for group in model.groups},
            "outputs": {name: [count or -1, *value.shape[1:]] for name, value in zip(outputs, expected)}, "difference": difference}


def export_inference(trained, path: Path, count: int, steps: int, device: str) -> Dict[str, Any]:
    """Writes the inference; what export.json says of it."""
    from dgn.export import cells, files
    from dgn.inference import langevin

    cell = cells.inference(trained.config, trained.checkpoint, steps, device)
    groups, model = trained.model.groups, trained.model
    images = np.random.default_rng(0).random((count, model.channels, model.size, model.size), np.float32)
    start = [z[0] for z in langevin.draw_noise(model, 1, count, 0, "export")]
    noise = langevin.draw_noise(model, steps, count, 1, "export")
    live = langevin.Langevin(trained.sampler.energy, trained.config.inference.step_size, steps, trained.config.inference.order)
    expected = langevin.run(live, images, tuple(start), noise, trained.last_sigma)[0]
    difference = files.write(cell, [images, *start, *noise], path, expected)
    return {"file": path.name, "batch": count, "steps": steps, "sigma": trained.last_sigma,
            "inputs": {"image": list(images.shape), **{group.name: [count, *group.shape] for group in groups},
                       **{f"noise_{group.name}": [steps, count, *group.shape] for group in groups}},
            "outputs": {group.name: [count, *group.shape] for group in groups}, "difference": difference}
