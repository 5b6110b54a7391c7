"""The learning step of alternating back-propagation: Eq. 9 (and 19), with the latents held."""

from __future__ import annotations

from typing import Tuple

import mindspore as ms
from mindspore import Tensor, nn, ops

from dgn.inference.energy import Energy


class LearningStep(nn.Cell):
    """One Adam step on the mean energy of a batch, as one compiled graph.

    The mean over samples stands for the 1/N of Eq. 9; Adam makes the scale of sigma^2 immaterial but for its epsilon.
    """

    def __init__(self, energy: Energy, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__()
        self.objective = _Objective(energy)
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


class _Objective(nn.Cell):
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
