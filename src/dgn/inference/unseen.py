"""Latents of images that were not trained on, the weights fixed: by Langevin dynamics, or by a VAE's encoder."""

from __future__ import annotations

from typing import Dict, Iterator, Optional, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import nn

from dgn.inference import langevin
from dgn.nets.model import LatentGroup, samples_at_once

Given = Dict[str, np.ndarray]  # latents (N, *shape) of the groups that are not sampled, or where chains of the others begin


def infer(sampler: langevin.Langevin, images: np.ndarray, steps: int, sigma: float, seed: int, first: int = 0,
          given: Optional[Given] = None, settle: int = 0, batch_size: Optional[int] = None) -> Tuple[np.ndarray, ...]:
    """Latents of images (N, ...), one (N, *shape) for each group, after at least `steps` Langevin steps (5.3: 300) from the
    prior's mean, or from what is given.

    The sampler's graph holds a fixed number of steps; it is called as often as needed. first: number of
    images inferred before these in the same job, for their noise. settle: so many further steps without noise, to the
    mode that the chain is near: for measures of a representation, whose posterior noise would only blur them.
    """
    model, found = sampler.energy.model, []
    batch_size = batch_size or samples_at_once(model)
    calls, quiet = -(-steps // sampler.steps), -(-settle // sampler.steps)
    for start, count, x, latents in _batches(model.groups, images, given, batch_size, padded=bool(first)):
        for call in range(calls + quiet):
            noise = langevin.draw_noise(model, sampler.steps, len(x), seed, "inference noise", first + start, call)
            if call >= calls:
                noise = tuple(np.zeros_like(n) for n in noise)
            latents, diagnostics = langevin.run(sampler, x, latents, noise, sigma)
            langevin.check_chains(diagnostics, latents, x[0].size, sigma, f"inference, call {call}",
                                  lambda row, at=first + start: f"image {at + row}")
        found.append([z[:count] for z in latents])
    return tuple(np.concatenate(group) for group in zip(*found))


def encode(encoder: nn.Cell, groups: Sequence[LatentGroup], images: np.ndarray, given: Optional[Given] = None,
           batch_size: int = 100) -> Tuple[np.ndarray, ...]:
    """Means of the encoder's q(z | x) for images (N, C, H, W), one (N, *shape) for each group."""
    found = []
    for _, count, x, latents in _batches(groups, images, given, batch_size):
        means = iter(encoder(ms.Tensor(x))[::2])
        found.append([(next(means).asnumpy() if group.sampled else z)[:count] for group, z in zip(groups, latents)])
    return tuple(np.concatenate(group) for group in zip(*found))


def _batches(groups: Sequence[LatentGroup], images: np.ndarray, given: Optional[Given], batch_size: int,
             padded: bool = False) -> Iterator[Tuple[int, int, np.ndarray, Tuple[np.ndarray, ...]]]:
    """(start, count, images, first latents) of each batch; a smaller last one is filled up, as it would compile anew."""
    given = given or {}
    for group in groups:
        if not group.sampled and group.name not in given:
            raise ValueError(f"{group.name} is not sampled and must be given")
    for start in range(0, len(images), batch_size):
        x = images[start:start + batch_size]
        latents = tuple(given[group.name][start:start + batch_size] if group.name in given else np.zeros((len(x), *group.shape), np.float32)
                        for group in groups)
        count = len(x)
        if count < batch_size and (start or padded):
            short = batch_size - count
            x, *latents = (np.concatenate([a, a[:1].repeat(short, 0)]) for a in (x, *latents))
        yield start, count, np.ascontiguousarray(x), tuple(latents)
