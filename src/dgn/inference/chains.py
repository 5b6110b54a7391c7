"""Runs Langevin chains with NumPy arrays: noise, calls of the compiled graph, and the check that no chain diverges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor

from dgn.errors import RunFailed
from dgn.inference.energy import data_term, mask_or_ones
from dgn.inference.langevin import Langevin
from dgn.nets.model import Arrays, Model, Tensors
from dgn.randomness import generator

DIVERGED = 1e3  # times the largest energy of an image in [0, 1]; no stable chain reaches it
ADVICE = "Lower inference.step_size, raise inference.sigma, or lower training.learning_rate"  # advice in a training


class Diagnostics(NamedTuple):
    """Diagnostics of K Langevin steps of N chains."""

    energy: np.ndarray  # (K, N): E(x, z) before each step
    gradient: np.ndarray  # (K, G, N): norm of dE/dz for each of G sampled latent groups


def draw_noise(model: Model, steps: int, count: int, seed: int, purpose: str, *position: int) -> Arrays:
    """Standard normal noise for `count` chains, (steps, count, *shape) float32 for each latent group."""
    rng = generator(seed, purpose, *position)
    return tuple(rng.standard_normal((steps, count, *group.shape), np.float32) for group in model.groups)


def random_latents(model: Model, count: int, seed: int, purpose: str, *position: int) -> Arrays:
    """Standard normal latents of `count` samples, (count, *shape) float32 for each latent group."""
    return tuple(noise[0] for noise in draw_noise(model, 1, count, seed, purpose, *position))


def check_chains(diagnostics: Diagnostics, latents: Arrays, limit: float, where: str,
                 names: Callable[[int], str], advice: str = ADVICE) -> None:
    """Raises RunFailed if a chain is not finite or its energy exceeds `limit`.

    latents: state after the last step. where: epoch and batch, for the message. names: function from a row to the name
    of its sample. advice: which settings to change. The message names the step, the samples, and the settings.
    """
    energy = diagnostics.energy
    bad = ~np.isfinite(energy) | (energy > limit) | ~np.isfinite(diagnostics.gradient).all(1)
    for z in latents:  # the result of the last step, whose energy is not computed
        bad[-1] |= ~np.isfinite(z.reshape(len(z), -1)).all(1)
    if not bad.any():
        return
    step = int(np.argmax(bad.any(1)))
    samples = np.flatnonzero(bad[step])
    shown = ", ".join(names(s) for s in samples[:5]) + (" ..." if len(samples) > 5 else "")
    value = energy[step, samples[0]]
    exceeded = value > limit and np.isfinite(value)
    what = f"energy {value:.3g} above {limit:.3g}" if exceeded else "energy, gradient or latents not finite"
    raise RunFailed(
        f"{where}, Langevin step {step}: {len(samples)} of {energy.shape[1]} chains diverged, {what} ({shown}). "
        f"{advice}")


def energy_limit(values: int, sigma: float) -> float:
    """The energy above which a chain counts as diverged, for samples with this number of values."""
    return data_term(DIVERGED * values, sigma)


def as_tensors(arrays: Sequence[np.ndarray]) -> Tensors:
    """NumPy arrays on the device."""
    return tuple(ms.Tensor(np.ascontiguousarray(a)) for a in arrays)


def as_arrays(tensors: Sequence[Tensor]) -> Arrays:
    """Tensors as NumPy arrays."""
    return tuple(t.asnumpy() for t in tensors)


def run_steps(sampler: Langevin, x: Tensor, mask: Tensor, sigma: Tensor, state: Tensors,
              noise: Arrays) -> tuple[Tensors, Diagnostics]:
    """Runs len(noise[0]) Langevin steps, a multiple of sampler.steps; returns the new state (latents, and velocities
    with momentum) and the diagnostics of all steps."""
    records = []
    for start in range(0, len(noise[0]), sampler.steps):
        chunk = as_tensors([n[start:start + sampler.steps] for n in noise])
        state, *record = sampler(x, mask, sigma, *state, *chunk)
        records.append(record)  # converted at the end, so that no call waits for a copy to the host
    return state, Diagnostics(*(np.concatenate(values) for values in zip(*map(as_arrays, records))))


def run_arrays(sampler: Langevin, x: np.ndarray, mask: np.ndarray | None, sigma: float, state: Arrays,
               noise: Arrays) -> tuple[Arrays, Diagnostics]:
    """`run_steps` for NumPy arrays. mask: (N, F) for clips, else None."""
    inputs = ms.Tensor(np.ascontiguousarray(x)), ms.Tensor(mask_or_ones(len(x), mask)), ms.Tensor(sigma, ms.float32)
    result, diagnostics = run_steps(sampler, *inputs, as_tensors(state), noise)
    return as_arrays(result), diagnostics
