"""Inference for images that were not trained on: new chains from the prior's mean, many steps, weights fixed."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from dgn.inference import langevin


def infer(sampler: langevin.Langevin, images: np.ndarray, steps: int, sigma: float, seed: int, first: int = 0,
          batch_size: int = 100) -> Tuple[np.ndarray, ...]:
    """Latents of images (N, ...), one (N, *shape) for each group, after at least `steps` Langevin steps (5.3: 300).

    The sampler's graph holds a fixed number of steps; it is called as often as needed. first: number of
    images inferred before these in the same job, for their noise.
    """
    model, found = sampler.energy.model, []
    calls = -(-steps // sampler.steps)
    for start in range(0, len(images), batch_size):
        x = images[start:start + batch_size]
        count = len(x)
        if count < batch_size and (start or first):  # a smaller last batch would compile anew
            x = np.concatenate([x, x[:1].repeat(batch_size - count, 0)])
        latents = tuple(np.zeros((len(x), *group.shape), np.float32) for group in model.groups)
        for call in range(calls):
            noise = langevin.draw_noise(model, sampler.steps, len(x), seed, "inference noise", first + start, call)
            latents, diagnostics = langevin.run(sampler, x, latents, noise, sigma)
            langevin.check_chains(diagnostics, latents, f"inference, call {call}", lambda row, at=first + start: f"image {at + row}")
        found.append([z[:count] for z in latents])
    return tuple(np.concatenate(group) for group in zip(*found))
