"""Infers the latents of many new images or clips in bounded memory, and writes them to a folder with pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dgn import console
from dgn.data.frames import strip
from dgn.data.images import write_image
from dgn.data.open import check_new_images
from dgn.data.source import Source, to_images
from dgn.errors import UserError
from dgn.evaluation.reconstruction import reconstruction_errors
from dgn.figures.animation import save_animation
from dgn.figures.draw import draw_overview
from dgn.files import new_folder, png_name, png_names, write_array, write_arrays
from dgn.inference.latents import given_latents
from dgn.inference.unseen import ChainSettings
from dgn.nets.model import Decoded, rows, samples_per_batch
from dgn.run import Run

BATCHES = 5  # batches of about 100 images or frames that are inferred and written together


def infer_folder(run: Run, source: Source, output: Path, chains: ChainSettings) -> dict[str, Any]:
    """Infers the latents of all samples, and writes latents.npz, pictures of each sample and overview.png to a new
    folder (see `dgn infer --help`).

    chains: from Run.chain_settings.
    Returns the errors of the reconstructions (msre, psnr), the number of samples ("count") and the values of
    Run.inference_settings. Raises UserError if `output` is not empty, if two samples have the same name, if a file
    cannot be used, or if there are no steps and no encoder.
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
    new_folder(output)
    latents, errors, frames = [], [], []
    shown: tuple[Any, ...] = ()
    chunk = BATCHES * samples_per_batch(run.model)
    with console.progress(total=len(source), unit="clip" if run.model.frames else "image") as bar:
        for first in range(0, len(source), chunk):
            indices = np.arange(first, min(first + chunk, len(source)))
            samples, mask = source.read(indices), source.mask(indices)
            labels = {name: values[indices] for name, values in given.items()}
            z = run.infer_batch(samples, replace(chains, first=first), mask, labels)
            decoded = run.decode(*z)
            lengths = None if mask is None else mask.sum(1).astype(int)
            if lengths is not None:
                frames.append(lengths)
                for name, clip, reconstruction, length in zip(names[first:], samples, decoded.image, lengths):
                    path = (output / "animation" / png_name(name)).with_suffix(".gif")
                    save_animation(path, [[clip[:length], reconstruction[:length]]])
            write_decoded(output, names[first:first + len(samples)], decoded, lengths)
            shown = shown or (samples, decoded, lengths)
            latents.append(z)
            errors.append(reconstruction_errors(to_images(samples, mask), to_images(decoded.image, mask)))
            bar.update(len(samples))
    groups = {group.name: np.concatenate(parts) for group, parts in zip(run.model.groups, zip(*latents))}
    if frames:  # number of frames of each clip; latents of other frames follow the prior
        groups["frames"] = np.concatenate(frames)
    write_arrays(output / "latents.npz", names=np.array(names), **groups)
    samples, decoded, lengths = shown
    draw_overview(output / "overview.png", samples, decoded, names, "Inferred", lengths)
    images = sum(part["images"] for part in errors)
    means = {key: sum(part[key] * part["images"] for part in errors) / images for key in ("msre", "psnr")}
    return {**means, "count": len(source), **run.inference_settings(chains)}


def write_decoded(output: Path, names: list[str], decoded: Decoded, lengths: np.ndarray | None = None) -> None:
    """Writes pictures and displacements of samples. lengths: frames of each clip; padding is not written."""
    for row, name in enumerate(names):
        sample = rows(decoded, row)
        image, appearance, displacement = sample
        if lengths is not None:
            image, appearance, displacement = rows(sample, slice(lengths[row]))
            image, appearance = strip(image), None if appearance is None else strip(appearance)
        write_image(output / "reconstruction" / png_name(name), image)
        if appearance is not None and displacement is not None:
            write_image(output / "appearance" / png_name(name), appearance)
            write_array(output / "displacement" / f"{name}.npy", displacement)
