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
from dgn.training.abp import MeanEnergy
from dgn.training.method import Check, Latents, Visit


class Variational:
    """One ELBO step a visit (a Method). The latents that it returns are the encoder's means."""

    draws = 1

    def __init__(self, sampler: langevin.Langevin, step: "ElboStep") -> None:
        self.sampler, self.step = sampler, step
        self.encoder: Optional[nn.Cell] = step.elbo.encoder
        self.cells = {"weights": step.elbo.objective.energy.model, "encoder": self.encoder, "optimizer": step.optimizer}

    def visit(self, x: np.ndarray, latents: Latents, noise: Latents, sigma: float, rate: float, check: Check) -> Visit:
        """See Method; only the given groups of `latents` are used, and there are no chains to check."""
        groups = self.cells["weights"].groups
        drawn = tuple(n[0] if group.sampled else z for group, n, z in zip(groups, noise, latents))
        loss, errors, kl, *means = self.step(ms.Tensor(x), ms.Tensor(sigma, ms.float32), ms.Tensor(rate, ms.float32),
                                             *langevin.as_tensors(drawn))
        return Visit(tuple(z.asnumpy() for z in means), float(loss.asnumpy()), errors.asnumpy(), {"kl": float(kl.asnumpy())})


class ElboStep(nn.Cell):
    """One Adam step on the negative ELBO of a batch, by the weights of encoder and model, as one compiled graph."""

    def __init__(self, energy: Energy, encoder: nn.Cell, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__()
        self.elbo = NegativeElbo(energy, encoder)
        self.weights = ms.ParameterTuple([*energy.model.trainable_params(), *encoder.trainable_params()])
        self.optimizer = nn.Adam(self.weights, learning_rate=1e-3, beta1=beta1, beta2=beta2)
        self.gradient = ops.GradOperation(get_by_list=True)

    def construct(self, x: Tensor, sigma: Tensor, rate: Tensor, *drawn: Tensor) -> Tuple[Tensor, ...]:
        """x (N, ...); drawn: for each group standard normal noise (N, *shape), or its latents if they are given.

        Returns (negative ELBO, squared error of each sample (N,), mean KL, latents at the posterior's mean of each
        group), all before the step.
        """
        loss = self.elbo(x, sigma, *drawn)
        slopes = self.gradient(self.elbo, self.weights)(x, sigma, *drawn)
        found = (loss,) + self.elbo.measure(x, drawn)
        found = ops.depend(found, slopes)  # they read the weights that the step is about to change
        ops.assign(self.optimizer.learning_rate, rate)
        return ops.depend(found, self.optimizer(slopes))


class NegativeElbo(nn.Cell):
    """-ELBO averaged over a batch, with one draw of each latent (the reparameterisation z = mean + std * noise)."""

    def __init__(self, energy: Energy, encoder: nn.Cell) -> None:
        super().__init__()
        self.objective, self.encoder = MeanEnergy(energy), encoder
        self.sampled = tuple(group.sampled for group in energy.model.groups)

    def construct(self, x: Tensor, sigma: Tensor, *drawn: Tensor) -> Tensor:
        posterior = self.encoder(x)
        latents = self.latents(posterior, drawn, 1.0)
        return self.objective(x, sigma, *latents) + ops.reduce_mean(self.divergence(posterior))

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

    def measure(self, x: Tensor, drawn: Tuple[Tensor, ...]) -> Tuple[Tensor, ...]:
        """(squared error of each sample at the posterior's mean, mean KL, that mean for each group)."""
        posterior = self.encoder(x)
        means = self.latents(posterior, drawn, 0.0)
        return (self.objective.residual(x, *means), ops.reduce_mean(self.divergence(posterior))) + means
