"""Alternating back-propagation (Algorithm 1): Langevin dynamics, then Eq. 9 (and 19) with the latents held."""

from __future__ import annotations

from typing import Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.inference import langevin
from dgn.inference.energy import Energy
from dgn.training.method import Check, Latents, Visit


class AlternatingBackPropagation:
    """Steps 3 and 4 of Algorithm 1 (a Method)."""

    encoder = None

    def __init__(self, sampler: langevin.Langevin, step: "LearningStep") -> None:
        self.sampler, self.step, self.draws = sampler, step, sampler.steps
        self.cells = {"weights": sampler.energy.model, "optimizer": step.optimizer}

    def visit(self, x: np.ndarray, latents: Latents, noise: Latents, sigma: float, rate: float, check: Check) -> Visit:
        """See Method."""
        latents, diagnostics = langevin.run(self.sampler, x, latents, noise, sigma)
        check(diagnostics, latents)
        loss, errors = self.step(ms.Tensor(x), ms.Tensor(sigma, ms.float32), ms.Tensor(rate, ms.float32), *langevin.as_tensors(latents))
        energy = diagnostics.energy
        return Visit(latents, float(loss.asnumpy()), errors.asnumpy(), {
            "gradient": float(diagnostics.gradient.mean()),  # norm of the energy's, averaged over steps and groups
            "energy_drop": float((energy[0] - energy[-1]).mean()),  # of the chains, from the first to the last step
            "non_finite": float((~np.isfinite(energy)).mean())})  # share of the energies that are no numbers


class LearningStep(nn.Cell):
    """One Adam step on the mean energy of a batch, as one compiled graph.

    The mean over samples stands for the 1/N of Eq. 9; Adam makes the scale of sigma^2 immaterial but for its epsilon.
    """

    def __init__(self, energy: Energy, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__()
        self.objective = MeanEnergy(energy)
        self.weights = ms.ParameterTuple(energy.model.trainable_params())
        # the rate is a tensor of every call, so a schedule needs no new graph
        self.optimizer = nn.Adam(self.weights, learning_rate=1e-3, beta1=beta1, beta2=beta2)
        self.gradient = ops.GradOperation(get_by_list=True)

    def construct(self, x: Tensor, sigma: Tensor, rate: Tensor, *latents: Tensor) -> Tuple[Tensor, Tensor]:
        """x (N, ...), latents (N, *shape) of each group, sigma and rate scalars.

        Returns (loss, squared error of each sample (N,)), both before the step.
        """
        loss = self.objective(x, sigma, *latents)
        slopes = self.gradient(self.objective, self.weights)(x, sigma, *latents)
        error = self.objective.residual(x, *latents)
        # both read the weights that the step is about to change
        loss, error = ops.depend((loss, error), slopes)
        ops.assign(self.optimizer.learning_rate, rate)
        return ops.depend((loss, error), self.optimizer(slopes))


class MeanEnergy(nn.Cell):
    """The part of the energy that depends on the weights, averaged over a batch, as a function of latents."""

    def __init__(self, energy: Energy) -> None:
        super().__init__()
        self.energy, self.branches = energy, energy.model.branches

    def parts(self, latents: Tuple[Tensor, ...]) -> Tuple[Tensor, ...]:
        parts = ()
        for g in range(len(self.branches)):
            parts = parts + (self.branches[g](latents[g]),)
        return parts

    def residual(self, x: Tensor, *latents: Tensor) -> Tensor:
        return self.energy.residual(x, self.parts(latents))

    def construct(self, x: Tensor, sigma: Tensor, *latents: Tensor) -> Tensor:
        return ops.reduce_mean(self.energy.likelihood(x, self.parts(latents), sigma))
