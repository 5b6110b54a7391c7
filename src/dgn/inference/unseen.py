"""Inference of the latents of unseen images with fixed weights: by Langevin dynamics, or by an encoder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from dgn import console
from dgn.config import NO_FACTOR, Schedule, value_at
from dgn.data.source import Source
from dgn.inference import langevin
from dgn.inference.chains import Diagnostics, check_chains, draw_noise, energy_limit, run_arrays
from dgn.nets.encoder import ChainEncoder, Encoder
from dgn.nets.model import IMAGES_PER_BATCH, Arrays, LatentGroup, Model, apply, pad, samples_per_batch

# latents (N, *shape) by group: constant labels of groups that are not sampled, initial values of other groups
Given = dict[str, np.ndarray]
# prior mean; latents of the encoder of `dgn encoder`; of a VAE or autoencoder, whose means are the result without steps
Start = Literal["mean", "chain_encoder", "encoder"]
# called with the position of a batch's first image, and the latents (n, *shape) of each group after a call of the
# compiled graph with the diagnostics of its steps
Observer = Callable[[int, Arrays, Diagnostics], None]
BATCHES = 5  # batches in a chunk of a source: about 500 images or frames are in memory
ADVICE = "Lower evaluation.step_factor or inference.step_size in the run's config.yaml"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChainSettings:
    """How the latents of unseen images are inferred.

    steps: Langevin steps with noise (5.3: 300).
    descent_steps: later steps without noise, towards the nearest mode, for measures that posterior noise would blur.
        Both are rounded up to whole calls of the compiled graph.
    sigma: standard deviation in the energy (Eq. 8).
    seed: random seed of the noise.
    first: position of the first image among all that are inferred; the noise of an image depends on its position.
    step_factor: factor on the step size as a function of the percentage of the steps with noise. Large steps mix
        faster; smaller final steps are more accurate, because the stationary distribution has a bias of O(delta^2)
        (none with momentum and a Gaussian posterior). The descent uses the first factor, at most 1, because such steps
        are known to be stable.
    sigma_factor: factor on sigma in the same format. With a larger sigma first, chains pass between modes (annealing).
        The descent uses the last factor.
    start: initial latents of the groups that are not given.
    """

    steps: int
    sigma: float
    seed: int
    descent_steps: int = 0
    first: int = 0
    step_factor: Schedule = NO_FACTOR
    sigma_factor: Schedule = NO_FACTOR
    start: Start = "mean"

    def recorded(self) -> dict[str, Any]:
        """The settings to record with results: "start", which is "encoder" or "mean" (the prior mean), "steps" and, if
        there are any, "descent_steps"."""
        if self.start == "encoder":
            return {"start": "encoder", "steps": 0}
        descent = {"descent_steps": self.descent_steps} if self.descent_steps else {}
        return {"start": "mean" if self.start == "mean" else "encoder", "steps": self.steps, **descent}


def infer(sampler: langevin.Langevin, images: np.ndarray, chains: ChainSettings, mask: np.ndarray | None = None,
          given: Given | None = None, batch_size: int | None = None, names: Sequence[str] | None = None,
          observe: Observer | None = None) -> Arrays:
    """Infers latents (N, *shape) of each group for images (N, ...) by Langevin chains.

    They start at the prior mean, or at the values in `given`; groups that are not sampled keep their given values.
    mask: (N, F) for clips. names: of the images, for messages (default: their positions). observe: called after every
    call of the graph. Warns of chains that end with a higher energy than correct ones can have on average. Raises
    RunFailed if a chain diverges.
    """
    model, results, rises = sampler.energy.model, [], []
    calls, descents = (graph_calls(sampler, steps) for steps in (chains.steps, chains.descent_steps))
    values, preconditioner = int(np.prod(images.shape[1:])), sampler.preconditioner
    batch_size = batch_size or samples_per_batch(model)
    for batch in _batches(model.groups, images, mask, given, batch_size, bool(chains.first)):
        state, position = sampler.initial_state(batch.latents), chains.first + batch.start
        of_batch = names[batch.start:] if names else [f"image {position + row}" for row in range(batch.size)]
        shown = f"images {position + 1} to {position + batch.size}"
        before, start, end = None, np.zeros(1), np.zeros(1)
        for call in console.progress(range(calls + descents), unit="call", desc=shown, leave=False):
            step_factor, sigma_factor = factors(chains, call, calls)
            sampler.set_step_factor(step_factor)
            sigma = chains.sigma * sigma_factor
            if preconditioner is not None:
                preconditioner.adapt_all(sigma)
            if call < calls:  # drawn for a whole batch, so that a sample's noise does not depend on the batch's size
                drawn = draw_noise(model, sampler.steps, batch_size, chains.seed, "inference noise", position, call)
                noise = tuple(n[:, :len(batch.x)] for n in drawn)
            else:
                noise = tuple(np.zeros((sampler.steps, *z.shape), np.float32) for z in batch.latents)
            state, diagnostics = run_arrays(sampler, batch.x, batch.mask, sigma, state, noise)
            diagnostics = Diagnostics(*(record[..., :batch.size] for record in diagnostics))  # without padding
            check_chains(diagnostics, tuple(z[:batch.size] for z in state), energy_limit(values, sigma),
                         f"inference, call {call}", of_batch.__getitem__, ADVICE)
            start = start if sigma == before else diagnostics.energy[0]
            if call < max(calls, 1):
                end = diagnostics.energy[-1]
            if observe is not None:
                observe(position, tuple(z[:batch.size] for z in state[:len(model.groups)]), diagnostics)
            before = sigma
        rises.append((start, end))
        results.append([z[:batch.size] for z in state[:len(model.groups)]])
    _warn_of_rise(sampler, *(np.concatenate(energies) for energies in zip(*rises)))
    return tuple(np.concatenate(group) for group in zip(*results))


def _warn_of_rise(sampler: langevin.Langevin, start: np.ndarray, end: np.ndarray) -> None:
    """Warns if chains cannot have sampled their posterior: near a mode of energy E, d sampled dimensions have the
    energy E + d / 2 with the variance d / 2, and no start is below the mode. The margin is four standard errors of the
    mean, and 0.1 d for the bias of a finite step. start, end: energies (N,) of the first and last step at one sigma."""
    groups = sampler.energy.model.groups
    dimensions = sum(int(np.prod(groups[g].shape)) for g in sampler.energy.sampled)
    highest = start.mean() + dimensions / 2 + 4 * np.sqrt(dimensions / (2 * len(end))) + 0.1 * dimensions
    if end.mean() > highest:
        log.warning("the mean energy rose from %.4g at the start of the chains to %.4g, more than correct sampling can "
                    "explain: the steps are too large. %s", start.mean(), end.mean(), ADVICE)


def graph_calls(sampler: langevin.Langevin, steps: int) -> int:
    """Number of calls of the compiled graph that run at least `steps` steps."""
    return -(-steps // sampler.steps)


def factors(chains: ChainSettings, call: int, calls: int) -> tuple[float, float]:
    """The factors on the step size and on sigma for call number `call` of `calls` with noise, of which the last one has
    the last factors; further calls are the descent."""
    if call >= calls:
        return min(chains.step_factor[0][1], 1.0), chains.sigma_factor[-1][1]
    percent = (100 * (call + 1) - 1) // calls
    return value_at(chains.step_factor, percent), value_at(chains.sigma_factor, percent)


class Chunk(NamedTuple):
    """Consecutive samples of a source."""

    first: int  # index of the first
    samples: np.ndarray
    mask: np.ndarray | None
    given: Given
    names: list[str]


def chunk_size(model: Model) -> int:
    """The number of samples in a chunk; the last one of a source may have fewer."""
    return BATCHES * samples_per_batch(model)


def firsts(model: Model, source: Source) -> range:
    """The index of the first sample of each chunk."""
    return range(0, len(source), chunk_size(model))


def chunks(model: Model, source: Source, given: Given, skip: Container[int] = ()) -> Iterator[Chunk]:
    """All samples of a source, few at a time, so that they need little memory. given: latents of all. skip: first
    samples of the chunks that are left out."""
    names = source.names  # at once: a packed file takes a millisecond for a single name
    for first in firsts(model, source):
        if first not in skip:
            indices = np.arange(first, min(first + chunk_size(model), len(source)))
            yield Chunk(first, source.read(indices), source.mask(indices),
                        {name: z[indices] for name, z in given.items()}, [names[index] for index in indices])


def encode(encoder: Encoder | ChainEncoder, groups: Sequence[LatentGroup], images: np.ndarray,
           given: Given | None = None, padded: bool = False) -> Arrays:
    """Encodes images (N, C, H, W): latents (N, *shape) of each group, the means of q(z | x). padded: pad also a single
    batch, because another size would be compiled again."""
    given, count = given or {}, len(images)
    images = pad(images, IMAGES_PER_BATCH) if padded else images
    means = iter(encoder.means(apply(encoder, images, batch_size=IMAGES_PER_BATCH)))
    return tuple(next(means)[:count] if group.sampled else given[group.name] for group in groups)


class _Batch(NamedTuple):
    start: int
    size: int  # without padding
    x: np.ndarray
    mask: np.ndarray | None
    latents: tuple[np.ndarray, ...]  # initial


def _batches(groups: Sequence[LatentGroup], images: np.ndarray, mask: np.ndarray | None, given: Given | None,
             batch_size: int, padded: bool) -> Iterator[_Batch]:
    """Batches of equal size; a smaller last batch is padded with its first sample, because another size would be
    compiled again. padded: pad also if there is only one batch."""
    given = given or {}
    for start in range(0, len(images), batch_size):
        chosen = slice(start, start + batch_size)
        x = images[chosen]
        latents = tuple(np.zeros((len(x), *group.shape), np.float32) if group.sampled and group.name not in given
                        else given[group.name][chosen] for group in groups)
        size, mask_part = len(x), None if mask is None else mask[chosen]
        if size < batch_size and (start or padded):
            x, latents = pad(x, batch_size), tuple(pad(z, batch_size) for z in latents)
            mask_part = None if mask_part is None else pad(mask_part, batch_size)
        yield _Batch(start, size, np.ascontiguousarray(x), mask_part, latents)
