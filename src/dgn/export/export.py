"""Exports a run: decoder, encoder and Langevin inference as MindIR; decoder and encoder as ONNX; or the weights."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import nn

from dgn import config as cfg
from dgn import provenance
from dgn.errors import UserError
from dgn.export import cells, files
from dgn.export.lite2 import mindir1
from dgn.export.lite2.adjoint import adjoint_inference
from dgn.files import sha256, write_json
from dgn.inference import langevin, unseen
from dgn.inference.chains import random_latents, run_arrays
from dgn.nets.model import Decoded, decode, present
from dgn.reading import read_json
from dgn.run import Run
from dgn.training import checkpoint


def export_run(run: Run, output: Path, format: str = "mindir", mindir_version: int = 3,
               batch: int | None = None, steps: int | None = None) -> dict[str, Any]:
    """Writes decoder, encoder, inference and inference_lite (see `dgn export --help`) and export.json to a folder.

    output: the folder. format: mindir, onnx or safetensors. mindir_version: 3, which MindSpore writes, or 1 for
    MindSpore Lite 2.0. batch: samples in a call (default: any number for the decoder with version 3, else 1). steps:
    Langevin steps in a call (default: inference.steps).

    Returns the content of export.json: for each file its name, the shapes of its inputs and outputs, its largest
    difference from the model, relative to the largest value, and its SHA-256. Raises UserError if the options do not
    fit together, RunFailed if a file cannot be written or differs from the model.
    """
    lite2 = mindir_version == 1
    if format != "mindir" and lite2:
        raise UserError(f"--format {format} has no MindIR version")
    if format == "onnx" and batch is None:
        raise UserError("--format onnx needs a fixed number of samples: --batch 1")
    saved = cells.saved_checkpoint(run)
    if format == "safetensors":
        entries = {"weights": _export_weights(run, output / "weights.safetensors")}
    else:
        count = batch or (1 if lite2 else None)
        entries = {"decoder": _export_decoder(run, output / f"decoder.{format}", count, lite2)}
        if run.chain_encoder is not None and all(group.sampled for group in run.model.groups):
            entries["encoder"] = _export_encoder(run, output / f"encoder.{format}", batch or 1, lite2)
    if format == "mindir" and not run.config.data.frames:
        count, steps = batch or 1, steps or run.config.inference.steps
        sampler = cells.load_sampler(run.config, run.model, saved, steps)
        if not lite2:
            cell = cells.inference(run.config, saved, steps)
            entries["inference"] = _export_inference(run, cell, sampler, output / "inference.mindir", count)
        exact = cells.full_precision(run.config)
        if exact != run.config:
            sampler = cells.load_sampler(exact, cells.make_loaded_model(exact, saved), saved, steps)
        adjoint = adjoint_inference(run.config, saved, steps)
        path = output / "inference_lite.mindir"
        entries["inference_lite"] = _export_inference(run, adjoint, sampler, path, count, lite2)
    _remove_former(output, f".{format}", {entry["file"] for entry in entries.values()})
    for entry in entries.values():
        entry["sha256"] = sha256(output / entry["file"])
    about = {"run": str(run.folder.path.resolve()), "checkpoint": saved.name,
             "manifest": sha256(saved / checkpoint.MANIFEST), "mindir_version": mindir_version,
             "size": run.model.size, "channels": run.model.channels, "frames": run.config.data.frames,
             "versions": provenance.versions(), **entries}
    write_json(output / "export.json", about)
    return about


def _remove_former(folder: Path, suffix: str, written: set[str]) -> None:
    """Removes files with this suffix that an earlier export wrote and this export did not, because the program would
    run them."""
    try:
        former = read_json(folder / "export.json", dict)
    except (OSError, ValueError):
        return
    files_then = {str(entry["file"]) for entry in former.values() if isinstance(entry, dict) and "file" in entry}
    for name in files_then - written:
        if name.endswith(suffix) and Path(name).name == name:
            (folder / name).unlink(missing_ok=True)


def default_folder(run: Run, mindir_version: int) -> Path:
    """The default folder for exported files of a run."""
    return run.folder.output / ("export_mindir1" if mindir_version == 1 else "export")


def _export_weights(run: Run, path: Path) -> dict[str, Any]:
    """Writes the generators' weights, not folded; returns the entry in export.json."""
    weights = dict(run.model.parameters_and_names())
    files.write_weights(weights, path)
    return {"file": path.name, "outputs": {name: list(weight.shape) for name, weight in weights.items()}}


def _export_decoder(run: Run, path: Path, count: int | None, lite2: bool) -> dict[str, Any]:
    """Writes the decoder; returns its entry in export.json. count: samples in a call; None: any number."""
    config, model, saved = run.config, run.model, cells.saved_checkpoint(run)
    if lite2:
        config = cells.full_precision(config)
        model = cells.make_loaded_model(config, saved)
    cell = cells.decoder(config, saved, onnx=path.suffix == ".onnx")
    latents = random_latents(cell, count or 2, 0, "export")
    expected = present(decode(model, *latents))
    names = [group.name for group in model.groups]
    difference = files.write(cell, latents, path, expected, [0] * len(latents) if count is None else (),
                             functools.partial(mindir1.rewrite, inputs=names) if lite2 else None)
    return {"file": path.name, "batch": count or "free",
            "inputs": {group.name: [count or -1, *group.shape] for group in model.groups},
            "outputs": {name: [count or -1, *value.shape[1:]] for name, value in zip(Decoded._fields, expected)},
            "difference": difference}


def _export_encoder(run: Run, path: Path, count: int, lite2: bool) -> dict[str, Any]:
    """Writes the encoder that initializes chains; returns its entry in export.json."""
    assert run.chain_encoder is not None
    model = run.model
    images = np.random.default_rng(0).random((count, model.channels, model.size, model.size), np.float32)
    expected = unseen.encode(run.chain_encoder, model.groups, images)
    difference = files.write(cells.encoder(run, path.suffix == ".onnx"), [images], path, expected,
                             rewrite=functools.partial(mindir1.rewrite, inputs=["image"]) if lite2 else None)
    return {"file": path.name, "batch": count, "inputs": {"image": list(images.shape)},
            "outputs": {group.name: [count, *group.shape] for group in model.groups}, "difference": difference}


def _export_inference(run: Run, cell: nn.Cell, sampler: langevin.Langevin, path: Path, count: int,
                      lite2: bool = False) -> dict[str, Any]:
    """Writes an inference Cell, which must agree with the sampler; returns its entry in export.json. lite2: whether to
    write MindIR 1."""
    model, steps, sigma = sampler.energy.model, sampler.steps, cfg.last_sigma(run.config)
    example = cells.example(model, count, steps)
    expected, _ = run_arrays(sampler, example.images, None, sigma, example.latents, example.noise)
    inputs = example.inputs(model.groups)
    difference = files.write(cell, list(inputs.values()), path, expected,
                             rewrite=functools.partial(mindir1.rewrite, inputs=list(inputs)) if lite2 else None)
    return {"file": path.name, "batch": count, "steps": steps, "sigma": sigma,
            "inputs": {name: list(value.shape) for name, value in inputs.items()},
            "outputs": {group.name: [count, *group.shape] for group in model.groups}, "difference": difference}
