"""Adversarial training in addition to the likelihood (5.3, Eq. 22): the generators are the actor, a discriminator is
the critic.

  T(theta, phi) = -lambda_1 L(theta) + E_z log(1 - D(F(z))) + E_x log D(x) - lambda_2 / 2 E_x ||grad D(x)||^2

For clips there are two critics, as in MoCoGAN (Tulyakov et al. 2018): the first one gets a random frame of each clip,
the second one all frames as the channels of an image. T then contains the terms of D for both. Frames that a clip does
not have are 0 in samples, too.

Each iteration runs Langevin dynamics on z for the likelihood term, then one Adam step on the critic (ascent on T) and
one on the generators (descent). The paper prints R1 with a plus sign; as a penalty it is subtracted here, because the
critic maximizes T. D is the sigmoid of the score. R1 is the squared gradient norm of the score with respect to the
critic's input, images in [-1, 1]. In the non-saturating form the actor minimizes -log D(F(z)) instead of
log(1 - D(F(z))).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.inference import langevin
from dgn.inference.chains import as_tensors
from dgn.inference.energy import Energy, squared_norm
from dgn.nets.discriminator import INPUT_SCALE
from dgn.nets.model import Arrays, Tensors
from dgn.training.abp import AlternatingBackPropagation, GeneratorLoss, joined
from dgn.training.optim import TrainStep
from dgn.training.trainer import Batch, MicroBatch, StepMetrics

NETWORKS = ("critic", "clip_critic")  # checkpoint files of the critics: of images or frames, and of clips
PREFIXES = ("", "clip_")  # prefixes of their logged values


class Adversarial(AlternatingBackPropagation):
    """Algorithm 1 with Eq. 22 as its weight update.

    actor: update of the generators, on an ActorLoss. critic_with_r1: update of the discriminators, on CriticLosses with
    R1. critic_without_r1: the same without R1, or None if every iteration has R1. Lazy R1: only every `r1_interval`
    iterations, with `r1_interval` times its weight.
    """

    def __init__(self, sampler: langevin.Langevin, actor: TrainStep, critic_with_r1: TrainStep,
                 critic_without_r1: TrainStep | None, langevin_steps: int, r1_interval: int = 1) -> None:
        super().__init__(sampler, actor, langevin_steps)
        self.r1_interval = r1_interval
        self.critic_with_r1, self.critic_without_r1 = critic_with_r1, critic_without_r1
        # draws after those of the chains: prior samples for critics, for the actor, and the choice of a clip's frame
        self.critic_draw, self.actor_draw, self.frame_draw = range(langevin_steps, langevin_steps + 3)
        self.draws = self.frame_draw + 1 if self.model.frames else self.frame_draw
        self.networks.update(zip(NETWORKS, critic_with_r1.objective.discriminators))
        self.optimizers["critic_optimizer"] = critic_with_r1.optimizer

    def step(self, batch: Batch, latents: Arrays) -> tuple[Arrays, StepMetrics]:
        """See Trainer."""
        parts, diagnostics = self.infer(batch, latents)
        critic_prior, actor_prior = ([as_tensors([noise[draw] for noise in part.noise]) for part in parts]
                                     for draw in (self.critic_draw, self.actor_draw))
        frames = [self.random_frames(part) for part in parts]
        scalars = {"gradient": float(diagnostics.gradient.mean()),
                   **self.update_critic(batch, parts, critic_prior, frames)}
        _, errors, energies, *scores = zip(*self.update(batch.learning_rate, [
            (part.x, part.mask, part.sigma, *part.latents, *prior, *frame)
            for part, prior, frame in zip(parts, actor_prior, frames)]))
        objective = self.update.objective
        actor = sum(objective.adversarial_loss(np.concatenate(of_critic)) for of_critic in scores)
        loss = objective.likelihood_weight * float(np.mean(energies)) + actor
        return joined(parts), StepMetrics(loss, np.concatenate(errors), {**scalars, "actor": actor}, diagnostics)

    def random_frames(self, part: MicroBatch) -> Tensors:
        """(n, F), 1 at one random frame of each clip, else 0; () for images. It is the frame with the largest noise (of
        the motion's latents, at least F) among those that the clip has."""
        if not self.model.frames:
            return ()
        mask, (_, motion_noise) = part.mask.asnumpy(), part.noise
        frames = mask.shape[1]
        values = np.where(mask > 0, motion_noise[self.frame_draw, :, :frames], -np.inf)
        return as_tensors([np.eye(frames, dtype=np.float32)[values.argmax(1)]])

    def update_critic(self, batch: Batch, parts: list[MicroBatch], prior: list[Tensors],
                      frames: list[Tensors]) -> dict[str, float]:
        """One step of the critics on the batch and on equally many samples of the model.

        prior: latents of these samples; frames: see random_frames.
        """
        skip_r1 = batch.iteration % self.r1_interval != 0
        update = self.critic_without_r1 if skip_r1 and self.critic_without_r1 else self.critic_with_r1
        masked = self.sampler.energy.masked
        outputs = update(batch.learning_rate, [(part.x, masked(self.model(*z)[0], part.mask), *frame)
                                               for part, z, frame in zip(parts, prior, frames)])
        scalars = {}
        for prefix, (real, fake, *r1) in zip(PREFIXES, update.objective.by_critic(map(np.stack, zip(*outputs)))):
            # computed from the scores, because the last digit of MindSpore's loss depends on a tensor's memory address
            scalars[f"{prefix}critic"] = _softplus(-real) + _softplus(fake)
            scalars[f"{prefix}score_real"], scalars[f"{prefix}score_fake"] = float(real.mean()), float(fake.mean())
            if r1:
                scalars[f"{prefix}r1"] = float(r1[0].mean())
        return scalars


class CriticLoss(nn.Cell):
    """(x, fake) (N, ...) each -> (-log D(x) - log(1 - D(fake)) + r1_weight / 2 R1, scores of x and of fake, R1).

    discriminator: images x in [0, 1] -> scores of INPUT_SCALE * x - 1; R1 is with respect to the latter. r1_weight:
        lambda_2; 0: R1 is neither computed nor returned.
    """

    def __init__(self, discriminator: nn.Cell, r1_weight: float) -> None:
        super().__init__()
        self.discriminator, self.r1_weight, self.softplus = discriminator, r1_weight, ops.Softplus()
        self.score_and_gradient = ms.value_and_grad(discriminator)

    def construct(self, x: Tensor, fake: Tensor) -> tuple[Tensor, ...]:
        if self.r1_weight > 0:
            # the gradient of the sum of scores with respect to an image is the gradient of its own score, and
            # INPUT_SCALE times the gradient with respect to the critic's input
            real, gradient = self.score_and_gradient(x)
            fake_score, r1 = self.discriminator(fake), ops.reduce_mean(squared_norm(gradient)) * (1 / INPUT_SCALE ** 2)
            return self.loss(real, fake_score) + 0.5 * self.r1_weight * r1, real, fake_score, r1
        real, fake_score = self.discriminator(x), self.discriminator(fake)
        return self.loss(real, fake_score), real, fake_score

    def loss(self, real: Tensor, fake: Tensor) -> Tensor:
        """Mean of -log D(x) - log(1 - D(fake)) for scores."""
        return ops.reduce_mean(self.softplus(-real) + self.softplus(fake))


class CriticLosses(nn.Cell):
    """(x, fake, frames of clips; see critic_inputs) -> the sum of the losses of all critics, then the other outputs of
    each."""

    def __init__(self, discriminators: Sequence[nn.Cell], r1_weight: float) -> None:
        super().__init__()
        self.discriminators = tuple(discriminators)
        self.critics = nn.CellList([CriticLoss(discriminator, r1_weight) for discriminator in discriminators])
        self.outputs_of_critic = 3 if r1_weight > 0 else 2

    def construct(self, x: Tensor, fake: Tensor, *frames: Tensor) -> tuple[Tensor, ...]:
        of_real, of_fake = critic_inputs(x, *frames), critic_inputs(fake, *frames)
        outputs = self.critics[0](of_real[0], of_fake[0])
        for k in range(1, len(self.critics)):
            more = self.critics[k](of_real[k], of_fake[k])
            outputs = (outputs[0] + more[0],) + outputs[1:] + more[1:]
        return outputs

    def by_critic(self, outputs: Iterable[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        """For each critic the scores of x and of fake and, with R1, R1: the outputs without the sum of the losses."""
        values = itertools.islice(outputs, 1, None)
        return [tuple(itertools.islice(values, self.outputs_of_critic)) for _ in self.critics]


def critic_inputs(x: Tensor, *frames: Tensor) -> tuple[Tensor, ...]:
    """The input of each discriminator: images (N, C, H, W); for clips (N, F, C, H, W) one frame of each, (N, C, H, W),
    and the clips. frames: (N, F), 1 at that frame; only for clips."""
    if len(frames) == 0:
        return (x,)
    return ops.reduce_sum(x * frames[0].reshape(frames[0].shape + (1, 1, 1)), 1), x


class ActorLoss(nn.Cell):
    """The generators' objective: (x, mask, sigma, inferred latents and prior samples of each group, frames of clips) ->
    (lambda_1 times the mean energy plus the adversarial loss, squared error of each sample (N,), mean energy, and for
    each discriminator the scores (N,) of the prior samples' images).

    likelihood_weight: lambda_1; 0: the loss is only adversarial.
    loss: "nonsaturating", -log D(F(z)); "minimax", log(1 - D(F(z))) as in Eq. 22.
    """

    def __init__(self, energy: Energy, discriminators: Sequence[nn.Cell], likelihood_weight: float,
                 loss: str) -> None:
        super().__init__()
        self.energy, self.objective, self.discriminators = energy, GeneratorLoss(energy), nn.CellList(discriminators)
        self.model, self.groups = energy.model, len(energy.model.groups)
        self.likelihood_weight, self.minimax, self.softplus = likelihood_weight, loss == "minimax", ops.Softplus()

    def construct(self, x: Tensor, mask: Tensor, sigma: Tensor, *latents: Tensor) -> tuple[Tensor, ...]:
        energy, errors = self.objective(x, mask, sigma, *latents[:self.groups])
        prior, frames = latents[self.groups:2 * self.groups], latents[2 * self.groups:]
        fake, loss, scores = critic_inputs(self.energy.masked(self.model(*prior)[0], mask), *frames), 0.0, ()
        for k in range(len(self.discriminators)):
            score = self.discriminators[k](fake[k])
            loss = loss + ops.reduce_mean(-self.softplus(score) if self.minimax else self.softplus(-score))
            scores = scores + (score,)
        if self.likelihood_weight > 0:
            loss = self.likelihood_weight * energy + loss
        return (loss, errors, energy) + scores

    def adversarial_loss(self, score: np.ndarray) -> float:
        """The adversarial loss for the scores of one discriminator."""
        return -_softplus(score) if self.minimax else _softplus(-score)


def _softplus(x: np.ndarray) -> float:
    """Mean of log(1 + exp(x))."""
    return float(np.logaddexp(0, x.astype(np.float64)).mean())
