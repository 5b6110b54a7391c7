"""Alternating back-propagation (Algorithm 1 and 2): Langevin dynamics on z, then Eq. 9 (and 19) with z held fixed."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from dgn.inference import langevin
from dgn.inference.chains import Diagnostics, as_arrays, run_steps
from dgn.inference.decorrelation import Decorrelation
from dgn.inference.energy import Energy
from dgn.nets.model import Arrays
from dgn.training.optim import TrainStep
from dgn.training.trainer import Batch, MicroBatch, StepMetrics, Trainer, micro_batches


class AlternatingBackPropagation(Trainer):
    """Steps 3 and 4 of Algorithm 1 and 2.

    update: update of the model's weights, on a GeneratorLoss. langevin_steps: Langevin steps of each iteration (l of
    Algorithm 1), a multiple of sampler.steps. decorrelation: decorrelates Z^a from Z^g after these steps.
    """

    def __init__(self, sampler: langevin.Langevin, update: TrainStep, langevin_steps: int,
                 decorrelation: Decorrelation | None = None) -> None:
        super().__init__(sampler, update)
        self.langevin_steps = self.draws = langevin_steps
        self.decorrelation = decorrelation
        if sampler.preconditioner is not None:
            self.networks["preconditioner"] = sampler.preconditioner
        if decorrelation is not None:
            self.networks["decorrelation"] = decorrelation

    def step(self, batch: Batch, latents: Arrays) -> tuple[Arrays, StepMetrics]:
        """See Trainer."""
        parts, diagnostics = self.infer(batch, latents)
        losses, errors = zip(*self.update(batch.learning_rate, [
            (part.x, part.mask, part.sigma, *part.latents) for part in parts]))
        scalars = {"gradient": float(diagnostics.gradient.mean())}
        return joined(parts), StepMetrics(float(np.mean(losses)), np.concatenate(errors), scalars, diagnostics)

    def infer(self, batch: Batch, latents: Arrays) -> tuple[list[MicroBatch], Diagnostics]:
        """Step 3: the micro-batches with their new latents, and the diagnostics of the chains."""
        parts, records = [], []
        for part in micro_batches(batch, latents, self.update.micro_batches):
            noise = tuple(n[:self.langevin_steps] for n in part.noise)
            z, record = run_steps(self.sampler, part.x, part.mask, part.sigma, part.latents, noise)
            if self.decorrelation is not None:
                z = (self.decorrelation(*z), z[1])
            parts.append(part._replace(latents=z))
            records.append(record)
        return parts, Diagnostics(*(np.concatenate(values, -1) for values in zip(*records)))


def joined(parts: list[MicroBatch]) -> Arrays:
    """The latents of all micro-batches in host memory."""
    return tuple(np.concatenate(group) for group in zip(*(as_arrays(part.latents) for part in parts)))


class GeneratorLoss(nn.Cell):
    """The energy's terms that depend on the weights, averaged over a batch, as a function of latents (Eq. 9 and 19).

    (x, mask, sigma, latents of each group) -> (mean energy, squared error of each sample (N,)). The mean over samples
    is the 1/N of Eq. 9. With Adam a constant factor 1 / sigma^2 has no effect, except relative to epsilon and to the
    other terms of the loss. Where the schedule lowers sigma, the updates are larger for some hundred iterations, until
    Adam's second moment has adapted.
    displacement_weight: weight of a penalty (beyond the paper), half the squared norm of the batch's mean displacement,
    which keeps the canonical frame in the middle of the images' frames. It requires a deformable model of images.
    """

    def __init__(self, energy: Energy, displacement_weight: float = 0.0) -> None:
        super().__init__()
        self.energy, self.displacement_weight = energy, displacement_weight

    def construct(self, x: Tensor, mask: Tensor, sigma: Tensor, *latents: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.energy.outputs(latents)
        loss = ops.reduce_mean(self.energy.energy_given_latents(x, mask, outputs, sigma))
        if self.displacement_weight > 0:
            mean_displacement = ops.reduce_mean(outputs[1], 0)
            loss = loss + 0.5 * self.displacement_weight * ops.reduce_sum(ops.square(mean_displacement))
        return loss, self.energy.squared_error(x, mask, outputs)

    def squared_error(self, x: Tensor, mask: Tensor, *latents: Tensor) -> Tensor:
        """Squared error of each sample, (N,)."""
        return self.energy.squared_error(x, mask, self.energy.outputs(latents))
