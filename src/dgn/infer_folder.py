"""Infers the latents of many new images or clips in bounded memory, and writes them to a folder with pictures.

While it is not finished, the folder holds unfinished/: settings.json, and the latents of each finished chunk.
"""

from __future__ import annotations

import dataclasses
import json
import logging
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
from dgn.files import disk_errors, locked, new_folder, png_name, png_names, sha256, write_arrays, write_json
from dgn.inference import unseen
from dgn.inference.latents import given_latents
from dgn.inference.unseen import ChainSettings
from dgn.nets.model import Decoded, rows, samples_per_batch
from dgn.reading import read_arrays, read_json
from dgn.run import Run
from dgn.training import chain_encoder
from dgn.training.checkpoint import MANIFEST

log = logging.getLogger(__name__)

SHOWN = 10  # samples of overview.png at most
UNFINISHED, SETTINGS = "unfinished", "settings.json"
UNNAMED = ("checkpoint", "encoder", "names", "inference")  # settings whose values are too long for a message
MEANS = ("msre", "psnr")


def infer_folder(run: Run, source: Source, output: Path, chains: ChainSettings,
                 latents_only: bool = False) -> dict[str, Any]:
    """Infers the latents of all samples, and writes latents.npz, pictures of each sample and overview.png to a new
    folder (see `dgn infer --help`). An interrupted inference with the same settings and samples is continued there.

    chains: from Run.chain_settings. latents_only: write only latents.npz and overview.png.
    Returns the errors of the reconstructions (msre, psnr), the number of samples ("count") and the values of
    Run.inference_settings. Raises UserError if `output` holds other files, if another process uses it, if two samples
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
    chunk = unseen.BATCHES * samples_per_batch(run.model)
    groups, unit = [group.name for group in run.model.groups], "clip" if run.model.frames else "image"
    with (unfinished(output, _settings(run, names, chains, chunk, latents_only)) as folder,
          console.progress(total=len(source), unit=unit) as bar):
        parts = []
        for first in range(0, len(source), chunk):
            indices = np.arange(first, min(first + chunk, len(source)))
            path = folder / f"{first:09d}.npz"
            if not path.exists():
                samples, mask, of_chunk = source.read(indices), source.mask(indices), [names[k] for k in indices]
                labels = {name: values[indices] for name, values in given.items()}
                z = run.infer_batch(samples, replace(chains, first=first), mask, labels, of_chunk)
                decoded = run.decode(*z)
                # number of frames of each clip; latents of other frames follow the prior
                lengths = {} if mask is None else {"frames": mask.sum(1).astype(int)}
                if not latents_only:
                    write_decoded(output, of_chunk, samples, decoded, lengths.get("frames"))
                errors = reconstruction_errors(to_images(samples, mask), to_images(decoded.image, mask))
                # last: a chunk with this file has its pictures
                write_arrays(path, **dict(zip(groups, z)), **lengths,
                             **{key: errors[key] for key in (*MEANS, "images")})
            parts.append(read_part(path))
            bar.update(len(indices))
        keys = [*groups, *(["frames"] if run.model.frames else [])]
        latents = {key: np.concatenate([part[key] for part in parts]) for key in keys}
        write_arrays(output / "latents.npz", names=np.array(names), **latents)
        shown = source.indices(SHOWN)
        draw_overview(output / "overview.png", source.read(shown), run.decode(*(latents[key][shown] for key in groups)),
                      names, "Inferred", latents["frames"][shown] if run.model.frames else None)
    images = sum(int(part["images"]) for part in parts)
    means = {key: float(sum(part[key] * part["images"] for part in parts)) / images for key in MEANS}
    return {**means, "count": len(source), **run.inference_settings(chains)}


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
    with locked(folder / ".lock", output):
        _check_settings(folder / SETTINGS, settings)
        done = len(list(folder.glob("[0-9]*.npz")))
        if done:
            log.info("%s: %d finished chunks of %d samples are kept; the inference continues after them", output, done,
                     settings["chunk"])
        yield folder
        with disk_errors(folder, "remove"):
            shutil.rmtree(folder)


def _settings(run: Run, names: list[str], chains: ChainSettings, chunk: int, latents_only: bool) -> dict[str, Any]:
    """Everything that the files of a chunk depend on, besides the images themselves."""
    assert run.checkpoint is not None
    encoder = run.folder.path / chain_encoder.FOLDER / chain_encoder.FILE
    return {"checkpoint": sha256(run.checkpoint / MANIFEST), "names": digest(names), "chunk": chunk,
            "encoder": sha256(encoder) if chains.start == "chain_encoder" else None, "latents_only": latents_only,
            "inference": dataclasses.asdict(run.config.inference), "momentum": run.config.evaluation.momentum,
            **dataclasses.asdict(chains)}


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Records the settings in a new folder of chunks. Raises UserError if others are recorded."""
    settings = json.loads(json.dumps(settings))  # with lists for tuples
    try:
        recorded = read_json(path, dict)
    except FileNotFoundError:
        write_json(path, settings)
        return
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}); choose another output folder") from None
    for key, value in settings.items():
        if recorded.get(key) != value:
            other = f"other {key}" if key in UNNAMED else f"{key} is {recorded.get(key)!r} there, {value!r} here"
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
