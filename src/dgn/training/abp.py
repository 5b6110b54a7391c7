"""Alternating back-propagation (Algorithm 1 and 2): Langevin dynamics, then Eq. 9 (and 19) with the latents held."""

from __future__ import annotations

from typing import Dict, List, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.inference import langevin
from dgn.inference.energy import Energy
from dgn.ranks import Ranks
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
        latents, measures = self.infer(x, latents, noise, sigma, check)
        losses, errors = zip(*self.learn(rate, sigma, x, *latents))
        return Visit(latents, float(np.mean(losses)), np.concatenate(errors), measures)

    def infer(self, x: np.ndarray, latents: Latents, noise: Latents, sigma: float, check: Check) -> Tuple[Latents, Dict[str, float]]:
        """Step 3: the chains after `steps` steps, and what they did."""
        groups, parts = len(latents), self.learning.parts
        batch = zip(*(np.split(a, parts) for a in (x, *latents)), *(np.split(n, parts, 1) for n in noise))
        moved, told = zip(*(langevin.run(self.sampler, images, tuple(state[:groups]), tuple(state[groups:]), sigma)
                            for images, *state in batch))
        latents = tuple(map(np.concatenate, zip(*moved)))
        done = langevin.Diagnostics(*(np.concatenate(values, -1) for values in zip(*told)))
        check(done, latents)
        return latents, {
            "gradient": float(done.gradient.mean()),  # norm of the energy's, averaged over steps and groups
            "energy_drop": float((done.energy[0] - done.energy[-1]).mean()),  # of the chains, from the first to the last step
            "non_finite": float((~np.isfinite(done.energy)).mean())}  # share of the energies that are no numbers

    def learn(self, rate: float, sigma: float, x: np.ndarray, *others: np.ndarray) -> List[Tuple[np.ndarray, ...]]:
        """Step 4; what the objective gives for each part of the batch. others: latents, and whatever else the objective takes."""
        width = ms.Tensor(sigma, ms.float32)
        return self.learning(rate, [(ms.Tensor(images), width, *langevin.as_tensors(tuple(own)))
                                    for images, *own in zip(*(np.split(a, self.learning.parts) for a in (x, *others)))])


def learning_step(energy: Energy, beta1: float = 0.9, beta2: float = 0.999, ranks: Ranks = Ranks()) -> Step:
    """(rate, x (N, ...), sigma, latents (N, *shape) of each group) -> (loss, squared error of each sample (N,)).

    The mean over samples stands for the 1/N of Eq. 9; Adam makes the scale of sigma^2 immaterial but for its epsilon.
    """
    optimizer = adam(energy.model.trainable_params(), beta1, beta2)
    return Step(MeanEnergy(energy), optimizer, ranks.reducer(optimizer.parameters))


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
