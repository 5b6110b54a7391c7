"""Alternating back-propagation (Algorithm 1 and 2): Langevin dynamics, then Eq. 9 (and 19) with the latents held."""

from __future__ import annotations

from typing import Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.inference import langevin
from dgn.inference.energy import Energy
from dgn.step import Learning, Step, adam
from dgn.training.method import Check, Latents, Visit


class AlternatingBackPropagation:
    """Steps 3 and 4 of Algorithm 1 and 2 (a Method).

    steps: of Langevin dynamics a visit, a multiple of those that the sampler has compiled.
    """

    encoder = None

    def __init__(self, sampler: langevin.Langevin, learning: Learning, steps: int) -> None:
        self.sampler, self.learning, self.draws = sampler, learning, steps
        self.cells = {"weights": sampler.energy.model, "optimizer": learning.step.optimizer}

    def visit(self, x: np.ndarray, latents: Latents, noise: Latents, sigma: float, rate: float, check: Check) -> Visit:
        """See Method."""
        groups, moved, diagnostics = len(latents), [], []
        parts = list(zip(*(np.split(a, self.learning.parts) for a in (x, *latents)),
                         *(np.split(n, self.learning.parts, 1) for n in noise)))
        for images, *state in parts:
            found, told = langevin.run(self.sampler, images, tuple(state[:groups]), tuple(state[groups:]), sigma)
            moved.append(found)
            diagnostics.append(told)
        latents = tuple(map(np.concatenate, zip(*moved)))
        told = langevin.Diagnostics(*(np.concatenate(values, -1) for values in zip(*diagnostics)))
        check(told, latents)
        width = ms.Tensor(sigma, ms.float32)
        losses, errors = zip(*self.learning(rate, [(ms.Tensor(part[0]), width, *langevin.as_tensors(found))
                                                   for part, found in zip(parts, moved)]))
        return Visit(latents, float(np.mean(losses)), np.concatenate(errors), {
            "gradient": float(told.gradient.mean()),  # norm of the energy's, averaged over steps and groups
            "energy_drop": float((told.energy[0] - told.energy[-1]).mean()),  # of the chains, from the first to the last step
            "non_finite": float((~np.isfinite(told.energy)).mean())})  # share of the energies that are no numbers


def learning_step(energy: Energy, beta1: float = 0.9, beta2: float = 0.999) -> Step:
    """(rate, x (N, ...), sigma, latents (N, *shape) of each group) -> (loss, squared error of each sample (N,)).

    The mean over samples stands for the 1/N of Eq. 9; Adam makes the scale of sigma^2 immaterial but for its epsilon.
    """
    return Step(MeanEnergy(energy), adam(energy.model.trainable_params(), beta1, beta2))


class MeanEnergy(nn.Cell):
    """The part of the energy that depends on the weights, averaged over a batch, as a function of latents; and the squared
    error of each sample."""

    def __init__(self, energy: Energy) -> None:
        super().__init__()
        self.energy, self.branches = energy, energy.model.branches

    def parts(self, latents: Tuple[Tensor, ...]) -> Tuple[Tensor, ...]:
        parts = ()
        for g in range(len(self.branches)):
            parts = parts + (self.branches[g](latents[g]),)
        return parts

    def construct(self, x: Tensor, sigma: Tensor, *latents: Tensor) -> Tuple[Tensor, Tensor]:
        parts = self.parts(latents)
        return ops.reduce_mean(self.energy.likelihood(x, parts, sigma)), self.energy.residual(x, parts)

    def residual(self, x: Tensor, *latents: Tensor) -> Tensor:
        """Squared error of each sample, (N,)."""
        return self.energy.residual(x, self.parts(latents))
