"""Adversarial learning beside the likelihood (5.3, Eq. 22): the generators as actor, a discriminator as critic.

  T(theta, phi) = -lambda_1 L(theta) + E_z log(1 - D(F(z))) + E_x log D(x) - lambda_2 / 2 E_x ||grad D(x)||^2

The critic ascends T, the actor descends it, each by one Adam step a visit; before, Langevin dynamics infers the latents of
the likelihood's term, as ever. (The paper prints R1 with a plus; a penalty must be subtracted from what the critic ascends.)
D is the sigmoid of the score, and R1 is taken of the score, as in the R1 paper. In the non-saturating form the actor
descends -log D(F(z)) in place of log(1 - D(F(z))).
"""

from __future__ import annotations

from typing import Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.inference import langevin
from dgn.inference.energy import Energy, squared_norm
from dgn.step import Learning
from dgn.training.abp import AlternatingBackPropagation, MeanEnergy
from dgn.training.method import Check, Latents, Visit


class Adversarial(AlternatingBackPropagation):
    """Algorithm 1 with Eq. 22 as its learning step (a Method).

    actor: the generators' step, on an Actor; critic: the discriminator's, on a Critic with R1; calm: on one without, or None.
    R1 is taken at every `r1_every`-th visit, with so many times its weight, and the others are calm.
    """

    def __init__(self, sampler: langevin.Langevin, actor: Learning, critic: Learning, calm: Optional[Learning], steps: int,
                 r1_every: int = 1) -> None:
        super().__init__(sampler, actor, steps)
        self.steps, self.critic, self.calm, self.r1_every = steps, critic, calm, r1_every
        self.draws = steps + 2  # after the chains': the prior's latents for the critic and for the actor
        self.visits = Counter()
        self.cells.update(critic=critic.step.objective.discriminator, critic_optimizer=critic.step.optimizer, visits=self.visits)

    def visit(self, x: np.ndarray, latents: Latents, noise: Latents, sigma: float, rate: float, check: Check) -> Visit:
        """See Method."""
        latents, measures = self.infer(x, latents, tuple(n[:self.steps] for n in noise), sigma, check)
        for_critic, for_actor = (tuple(n[self.steps + k] for n in noise) for k in range(2))
        measures.update(self.criticise(x, for_critic, rate))
        _, errors, energies, scores = zip(*self.learn(rate, sigma, x, *latents, *for_actor))
        objective = self.learning.step.objective
        actor = objective.adversarial_loss(np.concatenate(scores))
        loss = objective.likelihood * float(np.mean(energies)) + actor
        return Visit(latents, loss, np.concatenate(errors), {**measures, "actor": actor})

    def criticise(self, x: np.ndarray, prior: Latents, rate: float) -> dict:
        """One step of the critic on images x and as many that the generators make of the prior's latents."""
        learning = self.critic if self.visits.next() % self.r1_every == 0 else self.calm
        batch = [(ms.Tensor(images), self.sampler.energy.model(*langevin.as_tensors(tuple(own)))[0])
                 for images, *own in zip(*(np.split(a, learning.parts) for a in (x, *prior)))]
        _, real, unreal, *r1 = map(np.stack, zip(*learning(rate, batch)))
        # losses are told from the scores: MindSpore's own last digit depends on where in memory a tensor lies
        measures = {"critic": _softplus(-real) + _softplus(unreal), "score_real": float(real.mean()), "score_made": float(unreal.mean())}
        if r1:
            measures["r1"] = float(r1[0].mean())
        return measures


class Counter(nn.Cell):
    """Visits so far: what a resumed run must know to take R1 where the run that was never stopped takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.value = ms.Parameter(ms.Tensor([0], ms.int32), name="value", requires_grad=False)

    def next(self) -> int:
        """The number of this visit, from 0."""
        now = int(self.value.asnumpy()[0])
        ops.assign(self.value, ms.Tensor([now + 1], ms.int32))
        return now


class Critic(nn.Cell):
    """(x, made) (N, C, H, W) each -> (-log D(x) - log(1 - D(made)) + penalty / 2 R1, scores (N,) of x and of made, R1).

    penalty: lambda_2; 0: R1 is neither computed nor returned.
    """

    def __init__(self, discriminator: nn.Cell, penalty: float) -> None:
        super().__init__()
        self.discriminator, self.penalty, self.softplus = discriminator, penalty, ops.Softplus()
        self.score_and_slope = ms.value_and_grad(discriminator)

    def construct(self, x: Tensor, made: Tensor) -> Tuple[Tensor, ...]:
        if self.penalty > 0:
            # the gradient of all scores' sum to an image is that of its own score
            real, slope = self.score_and_slope(x)
            unreal, r1 = self.discriminator(made), ops.reduce_mean(squared_norm(slope))
            return self.loss(real, unreal) + 0.5 * self.penalty * r1, real, unreal, r1
        real, unreal = self.discriminator(x), self.discriminator(made)
        return self.loss(real, unreal), real, unreal

    def loss(self, real: Tensor, unreal: Tensor) -> Tensor:
        """-log D(x) - log(1 - D(made)), the mean."""
        return ops.reduce_mean(self.softplus(-real) + self.softplus(unreal))


class Actor(nn.Cell):
    """(x, sigma, latents of each group as inferred, and as drawn from the prior) -> (lambda_1 times the mean energy + the
    adversarial loss, squared error of each sample (N,), mean energy, scores (N,) of what was made of the prior's).

    form: "nonsaturating", -log D(F(z)); "minimax", log(1 - D(F(z))), Eq. 22 as it stands.
    """

    def __init__(self, energy: Energy, discriminator: nn.Cell, likelihood: float, form: str) -> None:
        super().__init__()
        self.objective, self.discriminator = MeanEnergy(energy), discriminator
        self.model, self.groups = energy.model, len(energy.model.groups)
        self.likelihood, self.saturates, self.softplus = likelihood, form == "minimax", ops.Softplus()

    def construct(self, x: Tensor, sigma: Tensor, *latents: Tensor) -> Tuple[Tensor, ...]:
        energy, errors = self.objective(x, sigma, *latents[:self.groups])
        score = self.discriminator(self.model(*latents[self.groups:])[0])
        adversarial = ops.reduce_mean(-self.softplus(score) if self.saturates else self.softplus(-score))
        return self.likelihood * energy + adversarial, errors, energy, score

    def adversarial_loss(self, score: np.ndarray) -> float:
        """The adversarial loss of scores (N,)."""
        return -_softplus(score) if self.saturates else _softplus(-score)


def _softplus(x: np.ndarray) -> float:
    """Mean of log(1 + exp(x))."""
    return float(np.logaddexp(0, x.astype(np.float64)).mean())
