"""Training as a variational autoencoder (the baseline of Table 1): an encoder, and one Adam step on the ELBO.

  -ELBO = E_q(z|x) [ ||x - F(z)||^2 / (2 sigma^2) [+ smoothness / 2 * ||grad displacement||^2] ]
          + KL(q(z|x) || N(0, I)),    q = N(mean(x), exp(log-variance(x)))

The expectation is that of the sampler's energy without the prior of the latents, with the same sigma and reductions, so
every model with an energy can be trained in this way. Without the noise of q and the KL divergence it is an
autoencoder; with the deformable model, this is the Deforming Autoencoder (Shu et al. 2018; the baseline of Table 2).
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from dgn.inference import langevin
from dgn.inference.energy import Energy
from dgn.nets.model import Arrays
from dgn.training.abp import GeneratorLoss
from dgn.training.optim import TrainStep
from dgn.training.trainer import Batch, StepMetrics, Trainer, micro_batches


class AutoEncoder(Trainer):
    """One step of encoder and generator in each iteration. The latents are the encoder's means.

    update: update of the weights, on a NegativeElbo.
    """

    draws = 1

    def __init__(self, sampler: langevin.Langevin, update: TrainStep) -> None:
        super().__init__(sampler, update)
        self.encoder = self.networks["encoder"] = update.objective.encoder

    def step(self, batch: Batch, latents: Arrays) -> tuple[Arrays, StepMetrics]:
        """See Trainer; of `latents` only groups that are not sampled are used, and there are no chains."""
        draws = tuple(n[0] if group.sampled else z for group, n, z in zip(self.model.groups, batch.noise, latents))
        parts = micro_batches(batch._replace(noise=()), draws, self.update.micro_batches)
        outputs = self.update(batch.learning_rate, [(part.x, part.mask, part.sigma, *part.latents) for part in parts])
        losses, errors, *rest = zip(*outputs)
        scalars = {"kl": float(np.mean(rest.pop(0)))} if self.update.objective.variational else {}
        return tuple(map(np.concatenate, rest)), StepMetrics(float(np.mean(losses)), np.concatenate(errors), scalars)


class NegativeElbo(nn.Cell):
    """-ELBO averaged over a batch, with one draw of each latent (the reparameterization z = mean + std * noise).

    (x (N, ...), mask, sigma, draws) -> (-ELBO, squared error of each sample (N,), mean KL, posterior means of each
    group). draws: standard normal noise (N, *shape) for each sampled group, latents for other groups.
    variational: False decodes the means and omits the KL divergence, as a term and as an output.
    """

    def __init__(self, energy: Energy, encoder: nn.Cell, variational: bool = True) -> None:
        super().__init__()
        self.objective, self.encoder, self.variational = GeneratorLoss(energy), encoder, variational
        self.sampled = tuple(group.sampled for group in energy.model.groups)

    def construct(self, x: Tensor, mask: Tensor, sigma: Tensor, *draws: Tensor) -> tuple[Tensor, ...]:
        posterior = self.encoder(x)
        if not self.variational:
            means = self.latents(posterior, draws, noisy=False)
            return self.objective(x, mask, sigma, *means) + means
        energy, _ = self.objective(x, mask, sigma, *self.latents(posterior, draws, noisy=True))
        divergence = ops.reduce_mean(self.divergence(posterior))
        means = self.latents(posterior, draws, noisy=False)
        return (energy + divergence, self.objective.squared_error(x, mask, *means), divergence) + means

    def latents(self, posterior: tuple[Tensor, ...], draws: tuple[Tensor, ...], noisy: bool) -> tuple[Tensor, ...]:
        """The mean of sampled groups, plus std * noise if noisy; the given latents of other groups."""
        latents, k = (), 0
        for g in range(len(self.sampled)):
            z = draws[g]
            if self.sampled[g]:
                z = posterior[k]
                if noisy:
                    z = z + ops.exp(0.5 * posterior[k + 1]) * draws[g]
                k += 2
            latents = latents + (z,)
        return latents

    def divergence(self, posterior: tuple[Tensor, ...]) -> Tensor:
        """KL(q || N(0, I)) of each sample, (N,), over all sampled groups."""
        total = 0.0
        for k in range(0, len(posterior), 2):
            mean, log_variance = posterior[k], posterior[k + 1]
            total = total + 0.5 * ops.reduce_sum(ops.exp(log_variance) + ops.square(mean) - 1 - log_variance, 1)
        return total
