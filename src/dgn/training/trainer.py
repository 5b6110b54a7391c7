"""The interface between the epoch loop and a training method: one iteration on a batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from dgn.distributed import ProcessGroup
from dgn.inference.chains import Diagnostics, as_tensors
from dgn.inference.decorrelation import Decorrelation
from dgn.inference.energy import mask_or_ones
from dgn.inference.langevin import Langevin
from dgn.nets.model import Arrays, Model, Tensors
from dgn.training.optim import TrainStep


class Batch(NamedTuple):
    """n samples and the settings of one iteration."""

    x: np.ndarray  # (n, *shape)
    mask: np.ndarray | None  # clips: (n, F), 1 where a clip has the frame
    noise: Arrays  # standard normal, (draws, n, *shape of the group) for each latent group; see Trainer.draws
    sigma: float
    learning_rate: float
    iteration: int  # counted from 0 over the whole training


class StepMetrics(NamedTuple):
    """Metrics of one iteration on n samples, before the update of the weights."""

    loss: float
    squared_errors: np.ndarray  # (n,) squared errors of the reconstructions
    scalars: dict[str, float]  # other values for the log
    diagnostics: Diagnostics | None = None  # of the chains; None without chains


class Sums(NamedTuple):
    """Running sums of metrics over an epoch; additive over processes, and kept in checkpoints so that a resumed epoch
    reports the same values."""

    samples: int = 0
    images: int = 0  # of clips: frames
    loss: float = 0.0
    squared_error: float = 0.0
    measures: dict[str, Sequence[float]] = {}  # name -> (number of samples, sum over them); not changed in place

    def add(self, metrics: StepMetrics, images: int) -> Sums:
        """The sums with one more iteration, which had `images` images."""
        n, measures = len(metrics.squared_errors), dict(self.measures)
        for key, value in metrics.scalars.items():
            count, total = measures.get(key, (0, 0.0))
            measures[key] = (count + n, total + n * value)
        return Sums(self.samples + n, self.images + images, self.loss + n * metrics.loss,
                    self.squared_error + float(metrics.squared_errors.sum()), measures)

    def all_sum(self, processes: ProcessGroup) -> Sums:
        """The sums of all processes; a collective."""
        if processes.size == 1:
            return self
        keys = sorted(self.measures)  # equal in all processes, because they run the same steps
        values = [*self[:4], *(value for key in keys for value in self.measures[key])]
        samples, images, loss, error, *measures = processes.all_sum(values)
        return Sums(int(samples), int(images), loss, error, dict(zip(keys, zip(measures[::2], measures[1::2]))))

    def means(self) -> dict[str, float]:
        """Metrics of an epoch: loss, msre (squared error of an image), and the trainer's scalars."""
        n = max(self.samples, 1)
        return {"loss": self.loss / n, "msre": self.squared_error / max(self.images, 1),
                **{key: total / count for key, (count, total) in self.measures.items() if count}}


class Trainer:
    """Base class of a training method with a model.

    networks: Cells by checkpoint file name; "weights" is the model.
    optimizers: optimizers by checkpoint file name, needed only to resume.
    draws: number of standard normal values that a step needs for each latent dimension.
    update: update of the weights (with a critic, of the generators' weights).
    encoder: the network that infers latents, or None.
    sampler: Langevin dynamics on the model.
    decorrelation: decorrelation of Z^a from Z^g, or None.
    """

    networks: dict[str, nn.Cell]
    optimizers: dict[str, nn.Cell]
    draws: int
    encoder: nn.Cell | None = None
    decorrelation: Decorrelation | None = None

    def __init__(self, sampler: Langevin, update: TrainStep) -> None:
        self.sampler, self.update = sampler, update
        self.networks, self.optimizers = {"weights": self.model}, {"optimizer": update.optimizer}

    @property
    def model(self) -> Model:
        """The generator."""
        return self.sampler.energy.model

    def step(self, batch: Batch, latents: Arrays) -> tuple[Arrays, StepMetrics]:
        """Infers the latents (n, *shape) of each group from their present values, then updates the weights."""
        raise NotImplementedError


class MicroBatch(NamedTuple):
    """A part of a batch on the device. `noise` stays in host memory until a step needs it."""

    x: Tensor
    mask: Tensor
    sigma: Tensor
    latents: Tensors
    noise: Arrays


def micro_batches(batch: Batch, latents: Arrays, count: int) -> Iterator[MicroBatch]:
    """Splits a batch into `count` parts of equal size."""
    sigma, groups = ms.Tensor(batch.sigma, ms.float32), len(latents)
    arrays = (batch.x, mask_or_ones(len(batch.x), batch.mask), *latents)
    for x, mask, *rest in zip(*(np.split(a, count) for a in arrays), *(np.split(n, count, 1) for n in batch.noise)):
        images, frames = as_tensors((x, mask))
        yield MicroBatch(images, frames, sigma, as_tensors(rest[:groups]), tuple(rest[groups:]))
