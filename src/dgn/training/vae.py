"""Learning by a variational auto-encoder (the baseline of Table 1): an encoder, and one Adam step on the ELBO.

  -ELBO = E_q(z|x) [ ||x - F(z)||^2 / (2 sigma^2) ] + KL(q(z|x) || N(0, I)),   q = N(mean(x), exp(log-variance(x)))

The first term is the energy's own likelihood, so sigma and every sum mean what they mean to the sampler; any model
with an energy can be learned so.
"""

from __future__ import annotations

from typing import Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.inference import langevin
from dgn.inference.energy import Energy
from dgn.ranks import Ranks
from dgn.step import Learning, Step, adam
from dgn.training.abp import MeanEnergy
from dgn.training.method import Check, Latents, Visit


class Variational:
    """One ELBO step a visit (a Method). The latents that it returns are the encoder's means."""

    draws = 1

    def __init__(self, sampler: langevin.Langevin, learning: Learning) -> None:
        self.sampler, self.learning = sampler, learning
        self.encoder: Optional[nn.Cell] = learning.step.objective.encoder
        self.cells = {"weights": sampler.energy.model, "encoder": self.encoder, "optimizer": learning.step.optimizer}

    def visit(self, x: np.ndarray, latents: Latents, noise: Latents, sigma: float, rate: float, check: Check) -> Visit:
        """See Method; only the given groups of `latents` are used, and there are no chains to check."""
        groups = self.cells["weights"].groups
        drawn = tuple(n[0] if group.sampled else z for group, n, z in zip(groups, noise, latents))
        width = ms.Tensor(sigma, ms.float32)
        parts = zip(*(np.split(a, self.learning.parts) for a in (x, *drawn)))
        found = self.learning(rate, [(ms.Tensor(images), width, *langevin.as_tensors(tuple(own))) for images, *own in parts])
        losses, errors, divergences, *means = zip(*found)
        return Visit(tuple(map(np.concatenate, means)), float(np.mean(losses)), np.concatenate(errors), {"kl": float(np.mean(divergences))})


def elbo_step(energy: Energy, encoder: nn.Cell, beta1: float = 0.9, beta2: float = 0.999, ranks: Ranks = Ranks()) -> Step:
    """(rate, x, sigma, drawn) -> what NegativeElbo gives; the weights of model and encoder move."""
    optimizer = adam([*energy.model.trainable_params(), *encoder.trainable_params()], beta1, beta2)
    return Step(NegativeElbo(energy, encoder), optimizer, ranks.reducer(optimizer.parameters))


class NegativeElbo(nn.Cell):
    """-ELBO averaged over a batch, with one draw of each latent (the reparameterisation z = mean + std * noise).

    (x (N, ...), sigma, drawn) -> (-ELBO, squared error of each sample (N,), mean KL, latents at the posterior's mean of each
    group); drawn: for each group standard normal noise (N, *shape), or its latents if they are given.
    """

    def __init__(self, energy: Energy, encoder: nn.Cell) -> None:
        super().__init__()
        self.objective, self.encoder = MeanEnergy(energy), encoder
        self.sampled = tuple(group.sampled for group in energy.model.groups)

    def construct(self, x: Tensor, sigma: Tensor, *drawn: Tensor) -> Tuple[Tensor, ...]:
        posterior = self.encoder(x)
        energy, _ = self.objective(x, sigma, *self.latents(posterior, drawn, 1.0))
        divergence = ops.reduce_mean(self.divergence(posterior))
        means = self.latents(posterior, drawn, 0.0)
        return (energy + divergence, self.objective.residual(x, *means), divergence) + means

    def latents(self, posterior: Tuple[Tensor, ...], drawn: Tuple[Tensor, ...], spread: float) -> Tuple[Tensor, ...]:
        """mean + spread * std * noise of the sampled groups; the given ones as they are."""
        latents, k = (), 0
        for g in range(len(self.sampled)):
            z = drawn[g]
            if self.sampled[g]:
                z = posterior[k] + spread * ops.exp(0.5 * posterior[k + 1]) * drawn[g]
                k += 2
            latents = latents + (z,)
        return latents

    def divergence(self, posterior: Tuple[Tensor, ...]) -> Tensor:
        """KL(q || N(0, I)) of each sample, (N,), over all sampled groups."""
        total = 0.0
        for k in range(0, len(posterior), 2):
            mean, log_variance = posterior[k], posterior[k + 1]
            total = total + 0.5 * ops.reduce_sum(ops.exp(log_variance) + ops.square(mean) - 1 - log_variance, 1)
        return total
