"""Infers the latents of many new images or clips in bounded memory, and writes them to a folder with pictures.

While it is not finished, the folder holds unfinished/: settings.json, and the latents of each finished chunk.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dgn import console
from dgn.data.folder import digest
from dgn.data.frames import strip
from dgn.data.images import write_image
from dgn.data.open import check_new_images
from dgn.data.source import Source, to_images
from dgn.errors import UserError
from dgn.evaluation.reconstruction import reconstruction_errors
from dgn.figures.animation import save_animation
from dgn.figures.draw import draw_overview
from dgn.files import (
    check_new_folder,
    disk_errors,
    locked_folder,
    new_folder,
    png_name,
    png_names,
    resolve_all,
    sha256,
    write_arrays,
    write_json,
)
from dgn.inference import unseen
from dgn.inference.latents import given_latents
from dgn.inference.unseen import ChainSettings, Given
from dgn.nets.model import Decoded, rows, samples_per_batch
from dgn.reading import read_arrays, read_json
from dgn.run import Run
from dgn.training import chain_encoder
from dgn.training.checkpoint import MANIFEST

log = logging.getLogger(__name__)

SHOWN = 10  # samples of overview.png at most
UNFINISHED, SETTINGS = "unfinished", "settings.json"
# settings whose values are too long for a message
TOO_LONG = ("checkpoint", "encoder", "names", "samples", "labels", "inference")
MEANS = ("msre", "psnr")


def infer_folder(run: Run, source: Source, output: Path, chains: ChainSettings,
                 latents_only: bool = False) -> dict[str, Any]:
    """Infers the latents of all samples, and writes latents.npz, pictures of each sample and overview.png to a new
    folder (see `dgn infer --help`). An interrupted inference with the same settings and samples is continued there.

    chains: from Run.chain_settings. latents_only: write only latents.npz and overview.png.
    Returns the errors of the reconstructions (msre, psnr), the number of samples ("count") and the values of
    ChainSettings.recorded. Raises UserError if `output` holds other files, if another process uses it, if two samples
    have the same name, if a file cannot be used, or if there are no steps and no encoder.
    """
    if chains.start == "encoder" and chains.descent_steps:
        raise UserError("descent_steps are Langevin steps without noise, and the encoder of this run gives the latents "
                        "without steps; add --no-encoder (use_encoder=False)")
    if chains.start == "mean" and not (chains.steps or chains.descent_steps):
        raise UserError("steps is 0, but no encoder is used; give steps, or descent_steps, of at least 1")
    given = given_latents(run.model.groups, source)
    names = source.names
    png_names(names)  # raises an error before the inference, not after it
    check_new_images(source)
    groups, unit = [group.name for group in run.model.groups], "clip" if run.model.frames else "image"
    with unfinished(output, _settings(run, source, given, chains, latents_only)) as folder:
        paths = {first: folder / f"{first:09d}.npz" for first in unseen.firsts(run.model, source)}
        parts = {first: read_part(path) for first, path in paths.items() if path.exists()}
        done = sum(len(part[groups[0]]) for part in parts.values())
        with console.progress(total=len(source), initial=done, unit=unit) as bar:
            for first, samples, mask, labels, of_chunk in unseen.chunks(run.model, source, given, skip=parts):
                z = run.infer_batch(samples, replace(chains, first=first), mask, labels, of_chunk)
                decoded = run.decode(*z)
                # number of frames of each clip; latents of other frames follow the prior
                lengths = {} if mask is None else {"frames": mask.sum(1).astype(int)}
                if not latents_only:
                    write_decoded(output, of_chunk, samples, decoded, lengths.get("frames"))
                errors = reconstruction_errors(to_images(samples, mask), to_images(decoded.image, mask))
                # last: a chunk with this file has its pictures
                parts[first] = {**dict(zip(groups, z)), **lengths, **{key: errors[key] for key in (*MEANS, "images")}}
                write_arrays(paths[first], **parts[first])
                bar.update(len(samples))
        keys = [*groups, *(["frames"] if run.model.frames else [])]
        latents = {key: np.concatenate([parts[first][key] for first in paths]) for key in keys}
        write_arrays(output / "latents.npz", names=np.array(names), **latents)
        shown = source.indices(SHOWN)
        batch = source.indices(max(SHOWN, samples_per_batch(run.model)))  # another number would be compiled again
        draw_overview(output / "overview.png", source.read(shown), run.decode(*(latents[key][batch] for key in groups)),
                      names, "Inferred", latents["frames"][shown] if run.model.frames else None)
    images = sum(int(part["images"]) for part in parts.values())
    means = {key: float(sum(part[key] * part["images"] for part in parts.values())) / images for key in MEANS}
    return {**means, "count": len(source), **chains.recorded()}


@contextmanager
def unfinished(output: Path, settings: dict[str, Any]) -> Iterator[Path]:
    """The folder for finished chunks within the folder `output`, for this process alone; removed at the end of the
    block unless it raises an exception.

    settings: what the chunks depend on. `output` is a new folder, or holds chunks with the same settings. Raises
    UserError otherwise, or if another process uses it.
    """
    folder = output / UNFINISHED
    if not folder.is_dir():
        new_folder(output)
        with disk_errors(folder):
            folder.mkdir(exist_ok=True)
    with locked_folder(output):
        if not folder.is_dir():  # another process has finished in the meantime
            check_new_folder(output)
        done = len(list(folder.glob("[0-9]*.npz")))
        _check_settings(folder / SETTINGS, settings, new=not done)
        if done:
            log.info("%s: %d chunks of %d samples are finished; continuing with the next one", output, done,
                     settings["chunk"])
        yield folder
        finished = output / f".{UNFINISHED}"
        with disk_errors(folder, "remove"):
            os.replace(folder, finished)  # at once: chunks without their settings could be those of other images
        shutil.rmtree(finished, ignore_errors=True)


def _settings(run: Run, source: Source, given: Given, chains: ChainSettings, latents_only: bool) -> dict[str, Any]:
    """Everything that the files of a chunk depend on. Images are distinguished by path, size and time of change."""
    assert run.checkpoint is not None
    encoder = run.folder.path / chain_encoder.FOLDER / chain_encoder.FILE
    stored = source.stored(source.indices())
    real = map(ascii, resolve_all(stored))  # the target of a link may have a name that is not UTF-8
    samples = [source.identity(), *map(_state, stored), *real]
    labels = [f"{name} {hashlib.sha256(values.tobytes()).hexdigest()}" for name, values in given.items()]
    return {"checkpoint": sha256(run.checkpoint / MANIFEST), "names": digest(source.names), "samples": digest(samples),
            "labels": digest(labels), "chunk": unseen.chunk_size(run.model),
            "encoder": sha256(encoder) if chains.start == "chain_encoder" else None, "latents_only": latents_only,
            "inference": dataclasses.asdict(run.config.inference), "momentum": run.config.evaluation.momentum,
            **dataclasses.asdict(chains)}


def _state(path: Path) -> str:
    """Size and time of the last change of a file; empty if it is missing."""
    try:
        state = path.stat()
    except OSError:  # reading it gives the reason
        return ""
    return f"{state.st_size} {state.st_mtime_ns}"


def _check_settings(path: Path, settings: dict[str, Any], new: bool) -> None:
    """Records the settings if the folder has no chunks (new). Raises UserError if others are recorded, or none for the
    chunks that are there."""
    settings = json.loads(json.dumps(settings))  # with lists for tuples
    try:
        recorded = read_json(path, dict)
    except FileNotFoundError:
        if not new:
            raise UserError(f"{path.parent} holds chunks without {path.name}, so it is unknown what they belong to; "
                            "choose another output folder") from None
        write_json(path, settings)
        return
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); choose another output folder") from None
    for key, value in settings.items():
        if recorded.get(key) != value:
            other = f"other {key}" if key in TOO_LONG else f"{key} is {recorded.get(key)!r} there, {value!r} here"
            raise UserError(f"{path.parents[1]} holds an unfinished inference with other settings ({other}); choose "
                            "another output folder")


def read_part(path: Path) -> dict[str, np.ndarray]:
    """The latents of a finished chunk, by group, and its errors. Raises UserError if the file is damaged."""
    try:
        part: dict[str, np.ndarray] = read_arrays(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it, and the inference is repeated there") from None
    return part


def write_decoded(output: Path, names: list[str], samples: np.ndarray, decoded: Decoded,
                  lengths: np.ndarray | None = None) -> None:
    """Writes pictures and displacements of samples, and of clips the animations. lengths: frames of each clip; padding
    is not written."""
    for row, name in enumerate(names):
        sample = rows(decoded, row)
        image, appearance, displacement = sample
        if lengths is not None:
            image, appearance, displacement = rows(sample, slice(lengths[row]))
            path = (output / "animation" / png_name(name)).with_suffix(".gif")
            save_animation(path, [[samples[row][:lengths[row]], image]])
            image, appearance = strip(image), None if appearance is None else strip(appearance)
        write_image(output / "reconstruction" / png_name(name), image)
        if appearance is not None and displacement is not None:
            write_image(output / "appearance" / png_name(name), appearance)
            write_displacement(output / "displacement" / f"{name}.npy", displacement)


def write_displacement(path: Path, displacement: np.ndarray) -> None:
    """Writes an .npy file as write_image writes a picture: it can be computed again and is not flushed to disk."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            np.save(file, displacement, allow_pickle=False)
