"""Samples of a run with their latents, from which a reader of the page chooses; principal axes of each group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dgn.data.source import Source, Subset
from dgn.evaluation.evaluate import DESCENT_STEPS
from dgn.indices import evenly_spaced
from dgn.run import Run

SHOWN = 12  # samples of each set, at most


@dataclass(frozen=True)
class Samples:
    """Some samples of a set."""

    images: np.ndarray  # (n, C, H, W); of clips their first frames
    latents: tuple[np.ndarray, ...]  # (n, d) of each group
    errors: np.ndarray  # (n,) squared errors of the reconstructions
    unseen: bool


def shown_samples(run: Run, inferred: bool = True) -> list[Samples]:
    """Samples of the training set and of the held-out set, if there is one, with latents inferred without noise.

    inferred: False takes only training samples, with the latents of their chains, without inference.
    """
    train, held_out = run.sources
    subset = Subset(train, evenly_spaced(len(run.bank), SHOWN))
    if not inferred:
        return [_with_latents(run, subset, run.bank.read(subset.in_source), False)]
    sets = [_with_latents(run, subset, run.training_latents(DESCENT_STEPS, subset.in_source), False)]
    if held_out is not None:
        subset = Subset(held_out, evenly_spaced(len(held_out), SHOWN))
        sets.append(_with_latents(run, subset, run.infer(subset, descent_steps=DESCENT_STEPS), True))
    return sets


def _with_latents(run: Run, source: Source, latents: Sequence[np.ndarray], unseen: bool) -> Samples:
    images, decoded = source.read(source.indices()), run.decode(*latents).image
    errors, mask = np.square(images - decoded), source.mask(source.indices())
    if mask is not None:  # frames that a clip does not have
        errors = errors * mask.reshape(*mask.shape, 1, 1, 1)
    errors = errors.reshape(len(images), -1).sum(1)
    first = images if images.ndim == 4 else images[:, 0]
    return Samples(first, tuple(latents), errors, unseen)


def first_pair(samples: list[Samples]) -> list[tuple[int, int]]:
    """(set, index) of the two samples that the page shows at first: the training sample that is reconstructed best, and
    of the better half of the last set the one that differs most from it."""
    last = samples[-1]
    best, better = int(samples[0].errors.argmin()), last.errors <= np.median(last.errors)
    differences = np.square(last.images - samples[0].images[best]).reshape(len(last.images), -1).sum(1)
    return [(0, best), (len(samples) - 1, int(np.where(better, differences, -1).argmax()))]
