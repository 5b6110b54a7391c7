"""Langevin dynamics on the latents, Eq. 7 (and 16): z <- z - delta^2 / 2 dE/dz + delta noise, the groups in turn."""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.errors import RunFailed
from dgn.inference.energy import Energy, observed, squared_norm
from dgn.randomness import generator

RUN_AWAY = 1e3  # times the energy of the worst picture, which no good chain has


class Diagnostics(NamedTuple):
    """What the chains did, per step and sample."""

    energy: np.ndarray  # (K, N): E(x, z) before each step
    gradient: np.ndarray  # (K, G, N): norm of dE/dz of each latent group


class GroupEnergy(nn.Cell):
    """E(x, z) summed over the batch, as a function of one latent group's z with the other groups' parts held (Eq. 8)."""

    def __init__(self, energy: Energy, g: int) -> None:
        super().__init__()
        self.energy, self.branch, self.g = energy, energy.model.branches[g], g

    def construct(self, z: Tensor, x: Tensor, sigma: Tensor, *parts: Tensor) -> Tensor:
        moved = parts[:self.g] + (self.branch(z),) + parts[self.g + 1:]
        return ops.reduce_sum(self.energy.likelihood(x, moved, sigma) + self.energy.latent_prior(z))


class Langevin(nn.Cell):
    """K steps of all chains of a batch as one compiled graph.

    A pure function: noise comes in (zeros make it gradient descent), new latents and diagnostics come out. A group's
    branch runs once for each new value of its latents; the other branches' parts are reused.

    order: "alternating", each group sees the others' newest value, as the paper has it; "simultaneous", all move from
    one state.
    per_frame: a latent that has a part in several of the frames that a clip has takes steps smaller by the root of their number,
    for the energy is steeper so many times in it; the chains' stationary distribution is the same.
    """

    def __init__(self, energy: Energy, step_size: float, steps: int, order: str = "alternating", per_frame: bool = False) -> None:
        super().__init__()
        self.energy, self.branches, self.steps = energy, energy.model.branches, steps
        self.step_size, self.per_frame = step_size, per_frame and energy.clips
        self.matmul = ops.MatMul()
        self.part_in = tuple(Tensor(group.part_in) for group in energy.model.groups) if self.per_frame else ()
        self.moving = tuple(g for g, group in enumerate(energy.model.groups) if group.sampled)
        self.alternating = order == "alternating"
        self.group_energies = nn.CellList([GroupEnergy(energy, g) for g in range(len(self.branches))])
        self.gradient = ops.GradOperation()  # with respect to the first argument

    def construct(self, x: Tensor, sigma: Tensor, *state: Tensor) -> Tuple[Tuple[Tensor, ...], Tensor, Tensor]:
        """x (N, ...); sigma scalar; state: the latents (N, *shape) of each group, then the noise (K, N, *shape) of each.

        Returns (latents, energy (K, N), gradient norms (K, G, N)), G the number of sampled groups.
        (One flat list, because the graph compiler takes a tuple argument for a constant, which has no gradient.)
        """
        groups = len(self.branches)
        latents, noise = state[:groups], state[groups:]
        parts, step_sizes = (), ()
        for g in range(groups):
            parts = parts + (self.branches[g](latents[g]),)
            step_sizes = step_sizes + (self.step_size_of(g, latents[g], x),)
        energies, norms = (), ()
        for k in range(self.steps):
            energies = energies + (self.total(x, latents, parts, sigma),)
            seen = parts
            for g in self.moving:
                if self.alternating:
                    seen = parts
                slope = self.gradient(self.group_energies[g])(latents[g], x, sigma, *seen)
                delta = step_sizes[g]
                z = latents[g] - 0.5 * delta * delta * slope + delta * noise[g][k]
                latents = latents[:g] + (z,) + latents[g + 1:]
                parts = parts[:g] + (self.branches[g](z),) + parts[g + 1:]
                norms = norms + (ops.sqrt(squared_norm(slope)),)
        shape = (self.steps, len(self.moving), x.shape[0])
        return latents, ops.stack(energies), ops.stack(norms).reshape(shape)

    def step_size_of(self, g: int, z: Tensor, x: Tensor):
        """delta of Eq. 7 for a group's latents: a number, or one for each of (N, d)."""
        if not self.per_frame:
            return self.step_size
        frames = self.matmul(observed(x).reshape(x.shape[:2]), self.part_in[g][:x.shape[1], :z.shape[1]])
        return self.step_size / ops.sqrt(ops.maximum(frames, 1.0))  # 1: a latent of frames that are not there follows its prior

    def total(self, x: Tensor, latents: Tuple[Tensor, ...], parts: Tuple[Tensor, ...], sigma: Tensor) -> Tensor:
        energy = self.energy.likelihood(x, parts, sigma)
        for g in self.moving:
            energy = energy + self.energy.latent_prior(latents[g])
        return energy


def draw_noise(model: nn.Cell, steps: int, count: int, seed: int, purpose: str, *place: int) -> Tuple[np.ndarray, ...]:
    """Standard normal noise for `count` chains, (steps, count, *shape) float32 for each latent group."""
    rng = generator(seed, purpose, *place)
    return tuple(rng.standard_normal((steps, count, *group.shape), np.float32) for group in model.groups)


def check_chains(diagnostics: Diagnostics, latents: Tuple[np.ndarray, ...], values: int, sigma: float, where: str,
                 names: Callable[[int], str]) -> None:
    """Stops the run if a chain is no longer a number or ran away.

    latents: those after the last step; values: of a sample, with which, and with sigma, its energy grows; where: the epoch and step,
    for the message; names: row -> how to call the sample. Raises RunFailed with the step of the chain, the samples, and what to
    change.
    """
    energy, limit = diagnostics.energy, RUN_AWAY * values / (2 * sigma ** 2)
    bad = ~np.isfinite(energy) | (energy > limit) | ~np.isfinite(diagnostics.gradient).all(1)
    for z in latents:  # what the last step led to; its energy is not known yet
        bad[-1] |= ~np.isfinite(z.reshape(len(z), -1)).all(1)
    if not bad.any():
        return
    step = int(np.argmax(bad.any(1)))
    samples = np.flatnonzero(bad[step])
    shown = ", ".join(names(s) for s in samples[:5]) + (" ..." if len(samples) > 5 else "")
    value = energy[step, samples[0]]
    what = f"reached {value:.3g}" if value > limit and np.isfinite(value) else "is not a number"
    raise RunFailed(
        f"{where}, Langevin step {step}: the energy of {len(samples)} of {energy.shape[1]} chains {what} ({shown}). "
        "The chains run away: lower inference.step_size, raise inference.sigma, or lower training.learning_rate")


def check_errors(errors: Sequence[float], where: str) -> None:
    """Raises RunFailed if an error or a loss is not a number although the chains were good: the weights have gone."""
    if not np.isfinite(errors).all():
        raise RunFailed(f"{where}: the weights give errors or losses that are no numbers; lower training.learning_rate")


def as_tensors(arrays: Tuple[np.ndarray, ...]) -> Tuple[Tensor, ...]:
    """NumPy arrays as a tuple of tensors."""
    return tuple(ms.Tensor(np.ascontiguousarray(a)) for a in arrays)


def run(sampler: Langevin, x: np.ndarray, latents: Tuple[np.ndarray, ...], noise: Tuple[np.ndarray, ...],
        sigma: float) -> Tuple[Tuple[np.ndarray, ...], Diagnostics]:
    """As many steps as there is noise for, a multiple of those that are compiled, NumPy in and out."""
    images, width, told = ms.Tensor(x), ms.Tensor(sigma, ms.float32), []
    moved = as_tensors(latents)
    for start in range(0, len(noise[0]), sampler.steps):
        now = as_tensors(tuple(n[start:start + sampler.steps] for n in noise))
        moved, *measured = sampler(images, width, *moved, *now)
        told.append([m.asnumpy() for m in measured])
    return tuple(z.asnumpy() for z in moved), Diagnostics(*(np.concatenate(values) for values in zip(*told)))
