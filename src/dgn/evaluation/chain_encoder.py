"""Compares chains of unseen images that start at encoder latents with chains that start at the prior mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from dgn.data.source import Source, Subset
from dgn.indices import evenly_spaced
from dgn.inference.latents import given_latents
from dgn.run import Run

log = logging.getLogger(__name__)

OTHER_IMAGES, OTHER_VALUES = 1000, 2 ** 26  # largest numbers of given images, and of values in them
ENCODER_STEPS = (0, 5, 10, 20)  # Langevin steps after which chains from encoder latents are measured
PLAIN_STEPS = (20, 50, 100, 300)  # the same for chains from the prior mean


def unseen_samples(run: Run, images: Source | None = None) -> Source | None:
    """The run's first evaluation.images held-out samples, or evenly spaced samples of `images`, limited by OTHER_IMAGES
    and OTHER_VALUES. None if no samples are held out."""
    if images is None:
        images, most = run.sources.held_out, run.config.evaluation.images
        return Subset(images, images.indices(most)) if images is not None else None
    most = min(OTHER_IMAGES, max(OTHER_VALUES // int(np.prod(images.shape)), 1))
    if len(images) > most:
        log.warning("%d of the %d samples are measured, evenly spaced", most, len(images))
    return Subset(images, evenly_spaced(len(images), most))


def compare(run: Run, unseen: Source | None) -> dict[str, list[dict[str, float]]]:
    """Mean energy (Eq. 8) and MSRE of unseen images along chains from encoder latents and from the prior mean.

    unseen: see unseen_samples; at most evaluation.images of them are used. Returns for "encoder" and "mean" a list of
    {"steps", "energy", "msre"}; {} if no encoder initializes the run's chains, or if there are no images.
    """
    if run.chain_encoder is None or unseen is None:
        return {}
    subset = Subset(unseen, evenly_spaced(len(unseen), run.config.evaluation.images))
    return {"encoder": _measures(run, subset, ENCODER_STEPS, True), "mean": _measures(run, subset, PLAIN_STEPS, False)}


def _measures(run: Run, source: Source, steps: Sequence[int], use_encoder: bool) -> list[dict[str, float]]:
    """Measures after each number of steps, rounded up to whole calls of the graph; each has separate chains."""
    images, given = source.read(source.indices()), given_latents(run.model.groups, source)
    measures = []
    for count in sorted({run.chain_settings(count).steps for count in steps}):
        latents = run.infer_batch(images, run.chain_settings(count, use_encoder=use_encoder), given=given)
        errors = np.square(images - run.decode(*latents).image).sum((1, 2, 3))
        measures.append({"steps": count, "energy": float(run.energy(images, latents).mean()),
                         "msre": float(errors.mean())})
    return measures


def table(result: dict[str, list[dict[str, float]]]) -> str:
    """The measures as lines of text."""
    rows = [f"chains from {start} {', '.join(_cell(entry) for entry in result[key])}"
            for key, start in (("encoder", "the encoder"), ("mean", "the mean   "))]
    return "\n".join(["unseen images     energy (MSRE) after Langevin steps", *(f"  {row}" for row in rows)])


def _cell(entry: dict[str, float]) -> str:
    return f"{entry['steps']:.0f}: {entry['energy']:.1f} ({entry['msre']:.1f})"
