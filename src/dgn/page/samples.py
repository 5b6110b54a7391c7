"""Samples of a run with their latents, from which a reader of the page chooses; principal axes of each group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np

from dgn.data.source import Source, Subset
from dgn.evaluation.axes import Axes, group_axes
from dgn.evaluation.evaluate import DESCENT_STEPS
from dgn.nets.model import Decoded, decode, state_sizes
from dgn.run import Run

SHOWN = 12  # samples of each set, at most
AXES_VALUES = 24 * 64 * 64  # pixels of the images at which axes are measured, about


@dataclass(frozen=True)
class Samples:
    """Some samples of a set."""

    images: np.ndarray  # (n, C, H, W); of clips their first frames
    latents: Tuple[np.ndarray, ...]  # (n, d) of each group
    errors: np.ndarray  # (n,) squared errors of the reconstructions
    unseen: bool


def shown_samples(run: Run, inferred: bool = True) -> List[Samples]:
    """Samples of the training set and of the held-out set, if there is one, with latents inferred without noise.

    inferred: False takes training samples alone with the latents of their chains, which costs next to nothing.
    """
    train, held_out = run.sources
    if not inferred:
        few = Subset(train, _spread(len(run.bank)))
        return [_with_latents(run, few, run.bank.read(few.indices), False)]
    found = [_training_samples(run, train)]
    if held_out is not None and len(held_out):
        few = Subset(held_out, _spread(len(held_out)))
        found.append(_with_latents(run, few, run.infer(few, descent_steps=DESCENT_STEPS), True))
    return found


def _training_samples(run: Run, source: Source) -> Samples:
    few = Subset(source, _spread(len(run.bank)))
    if run.encoder is not None:
        return _with_latents(run, few, run.infer(few), False)
    everyone = np.arange(len(few))
    chains = dict(zip((group.name for group in run.model.groups), run.bank.read(few.indices)))
    latents = run.infer_batch(few.read(everyone), run.chains(0, DESCENT_STEPS), few.mask(everyone), chains)
    return _with_latents(run, few, latents, False)


def _with_latents(run: Run, source: Source, latents: Sequence[np.ndarray], unseen: bool) -> Samples:
    images, decoded = source.read(np.arange(len(source))), run.decode(*latents).image
    errors = np.square(images - decoded).reshape(len(images), -1).sum(1)
    first = images if images.ndim == 4 else images[:, 0]
    return Samples(first, tuple(latents), errors, unseen)


def first_pair(samples: List[Samples]) -> List[Tuple[int, int]]:
    """(set, index) of the two samples that the page shows at first: the training sample that is reconstructed best, and
    of the better half of the last set the one that differs most from it."""
    last = samples[-1]
    best, better = int(samples[0].errors.argmin()), last.errors <= np.median(last.errors)
    differences = np.square(last.images - samples[0].images[best]).reshape(len(last.images), -1).sum(1)
    return [(0, best), (len(samples) - 1, int(np.where(better, differences, -1).argmax()))]


def _spread(count: int) -> np.ndarray:
    """Indices of at most SHOWN evenly spaced samples of `count`."""
    return np.unique(np.linspace(0, count - 1, min(SHOWN, count)).astype(int))


def axes_of_groups(run: Run, latents: Sequence[np.ndarray]) -> List[Optional[Axes]]:
    """Principal axes of each sampled group at the given latents (n, d); of clips those of Z_0, at the first frame.

    The output of a plain model's only group is the image.
    """
    model = run.model
    count = int(np.clip(AXES_VALUES // model.size ** 2, 4, len(latents[0])))
    at = [z[:count, :length] for z, length in zip(latents, state_sizes(model))]

    def decode_first(*moved: np.ndarray) -> Decoded:
        decoded = decode(model, *moved, batch_size=count)
        if model.frames:
            decoded = Decoded(*(part if part is None else part[:, 0] for part in decoded))
        return decoded if decoded.appearance is not None else Decoded(decoded.image, decoded.image)

    return [group_axes(decode_first, at, g) if group.sampled else None for g, group in enumerate(model.groups)]
