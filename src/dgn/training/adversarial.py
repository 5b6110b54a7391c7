"""Adversarial training beside the likelihood (5.3, Eq. 22): the generators as actor, a discriminator as critic.

  T(theta, phi) = -lambda_1 L(theta) + E_z log(1 - D(F(z))) + E_x log D(x) - lambda_2 / 2 E_x ||grad D(x)||^2

Each iteration runs Langevin dynamics on z for the likelihood term, then one Adam step on the critic (ascent on T) and
one on the generators (descent). The paper prints R1 with a plus; a penalty must be subtracted from what the critic
ascends. D is the sigmoid of the score, and R1 is taken of the score, as in the R1 paper, by the critic's input, images
in [-1, 1]. In the non-saturating form the actor descends -log D(F(z)) in place of log(1 - D(F(z))).
"""

from __future__ import annotations

from typing import Dict, List, Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.inference import langevin
from dgn.inference.energy import Energy, squared_norm
from dgn.inference.langevin import Arrays, as_tensors
from dgn.nets.discriminator import INPUT_SCALE
from dgn.training.abp import AlternatingBackPropagation, MeanEnergy, chain_scalars, joined
from dgn.training.optim import TrainStep
from dgn.training.trainer import Batch, MicroBatch, StepMetrics


class Adversarial(AlternatingBackPropagation):
    """Algorithm 1 with Eq. 22 as its weight update (a Trainer).

    actor: the update of the generators, on an Actor; critic_with_r1: of the discriminator, on a Critic with R1;
    critic_without_r1: on one without, or None if R1 is in every iteration. Lazy R1: every `r1_interval` iterations with
    `r1_interval` times its weight.
    """

    def __init__(self, sampler: langevin.Langevin, actor: TrainStep, critic_with_r1: TrainStep,
                 critic_without_r1: Optional[TrainStep], langevin_steps: int, r1_interval: int = 1) -> None:
        super().__init__(sampler, actor, langevin_steps)
        self.r1_interval = r1_interval
        self.critic_with_r1, self.critic_without_r1 = critic_with_r1, critic_without_r1
        self.draws = langevin_steps + 2  # then prior samples for the critic's step and for the actor's
        self.networks["critic"] = critic_with_r1.objective.discriminator
        self.optimizers["critic_optimizer"] = critic_with_r1.optimizer

    def step(self, batch: Batch, latents: Arrays) -> Tuple[Arrays, StepMetrics]:
        """See Trainer."""
        parts, diagnostics = self.infer(batch, latents)
        critic_prior, actor_prior = ([as_tensors([n[self.langevin_steps + k] for n in part.noise]) for part in parts]
                                     for k in range(2))
        scalars = {**chain_scalars(diagnostics), **self.update_critic(batch, parts, critic_prior)}
        _, errors, energies, scores = zip(*self.generator(batch.learning_rate, [
            (part.x, part.mask, part.sigma, *part.latents, *prior) for part, prior in zip(parts, actor_prior)]))
        objective = self.generator.objective
        actor = objective.adversarial_loss(np.concatenate(scores))
        loss = objective.likelihood_weight * float(np.mean(energies)) + actor
        return joined(parts), StepMetrics(loss, np.concatenate(errors), {**scalars, "actor": actor}, diagnostics)

    def update_critic(self, batch: Batch, parts: List[MicroBatch], prior: List[langevin.Tensors]) -> Dict[str, float]:
        """One step of the critic on the batch's images and as many samples of the model; prior: their latents."""
        lazy = batch.iteration % self.r1_interval != 0
        update = self.critic_without_r1 if lazy and self.critic_without_r1 else self.critic_with_r1
        outputs = update(batch.learning_rate, [(part.x, self.model(*z)[0]) for part, z in zip(parts, prior)])
        _, real, fake, *r1 = map(np.stack, zip(*outputs))
        # from the scores: the last digit of MindSpore's own loss depends on the memory address of a tensor
        scalars = {"critic": _softplus(-real) + _softplus(fake), "score_real": float(real.mean()),
                   "score_made": float(fake.mean())}
        if r1:
            scalars["r1"] = float(r1[0].mean())
        return scalars


class Critic(nn.Cell):
    """(x, fake) (N, C, H, W) each -> (-log D(x) - log(1 - D(fake)) + r1_weight / 2 R1, scores (N,) of x and of fake,
    R1).

    discriminator: images in [0, 1] -> scores of INPUT_SCALE * x - 1, by which R1 is taken. r1_weight: lambda_2; 0: R1
        is neither computed nor returned.
    """

    def __init__(self, discriminator: nn.Cell, r1_weight: float) -> None:
        super().__init__()
        self.discriminator, self.r1_weight, self.softplus = discriminator, r1_weight, ops.Softplus()
        self.score_and_gradient = ms.value_and_grad(discriminator)

    def construct(self, x: Tensor, fake: Tensor) -> Tuple[Tensor, ...]:
        if self.r1_weight > 0:
            # the gradient of the scores' sum with respect to an image is that of its own score, and INPUT_SCALE times
            # that with respect to the critic's input
            real, gradient = self.score_and_gradient(x)
            unreal, r1 = self.discriminator(fake), ops.reduce_mean(squared_norm(gradient)) / INPUT_SCALE ** 2
            return self.loss(real, unreal) + 0.5 * self.r1_weight * r1, real, unreal, r1
        real, unreal = self.discriminator(x), self.discriminator(fake)
        return self.loss(real, unreal), real, unreal

    def loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Mean of -log D(x) - log(1 - D(fake)) for scores."""
        return ops.reduce_mean(self.softplus(-real) + self.softplus(fake))


class Actor(nn.Cell):
    """The generators' objective: (x, mask, sigma, inferred latents and prior samples of each group) -> (lambda_1 times
    the mean energy + the adversarial loss, squared error of each sample (N,), mean energy, scores (N,) of the prior's
    images).

    loss: "nonsaturating", -log D(F(z)); "minimax", log(1 - D(F(z))), Eq. 22 as it stands.
    """

    def __init__(self, energy: Energy, discriminator: nn.Cell, likelihood_weight: float, loss: str) -> None:
        super().__init__()
        self.objective, self.discriminator = MeanEnergy(energy), discriminator
        self.model, self.groups = energy.model, len(energy.model.groups)
        self.likelihood_weight, self.minimax, self.softplus = likelihood_weight, loss == "minimax", ops.Softplus()

    def construct(self, x: Tensor, mask: Tensor, sigma: Tensor, *latents: Tensor) -> Tuple[Tensor, ...]:
        energy, errors = self.objective(x, mask, sigma, *latents[:self.groups])
        score = self.discriminator(self.model(*latents[self.groups:])[0])
        adversarial = ops.reduce_mean(-self.softplus(score) if self.minimax else self.softplus(-score))
        return self.likelihood_weight * energy + adversarial, errors, energy, score

    def adversarial_loss(self, score: np.ndarray) -> float:
        """The adversarial loss of scores (N,)."""
        return -_softplus(score) if self.minimax else _softplus(-score)


def _softplus(x: np.ndarray) -> float:
    """Mean of log(1 + exp(x))."""
    return float(np.logaddexp(0, x.astype(np.float64)).mean())
