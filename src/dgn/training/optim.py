"""Optimizer steps on an objective, with gradient accumulation over micro-batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.nets.model import Tensors


class TrainStep:
    """One optimizer step on a batch that consists of `micro_batches` parts of equal size.

    objective: a Cell that returns (loss, ...), where the loss is a mean over the batch. optimizer: holds the weights to
    update. reducer: averages the gradients over processes. The learning rate is an input, so schedules need no new
    graph.
    """

    def __init__(self, objective: nn.Cell, optimizer: nn.Optimizer, reducer: nn.Cell | None = None,
                 micro_batches: int = 1) -> None:
        self.objective, self.optimizer, self.micro_batches = objective, optimizer, micro_batches
        if micro_batches == 1:
            self.whole = GradientStep(objective, optimizer, reducer)
        else:
            sums = optimizer.parameters.clone(prefix="sum", init="zeros")
            self.accumulate = Accumulate(objective, optimizer.parameters, sums)
            self.update = Update(optimizer, reducer, sums)

    def __call__(self, learning_rate: float, batch: Sequence[Tensors]) -> list[tuple[np.ndarray, ...]]:
        """Runs one step on the inputs of each micro-batch; returns the objective's outputs before the step for each."""
        rate = ms.Tensor(learning_rate, ms.float32)
        if self.micro_batches == 1:
            outputs = [self.whole(rate, *batch[0])]
        else:
            outputs = [self.accumulate(ms.Tensor(float(k > 0), ms.float32), *inputs) for k, inputs in enumerate(batch)]
            self.update(rate, ms.Tensor(self.micro_batches, ms.float32))
        return [tuple(value.asnumpy() for value in values) for values in outputs]


class GradientStep(nn.Cell):
    """Gradient and optimizer as one graph: (learning rate, inputs of the objective) -> its outputs, before the step."""

    def __init__(self, objective: nn.Cell, optimizer: nn.Optimizer, reducer: nn.Cell | None = None) -> None:
        super().__init__()
        self.objective, self.optimizer, self.reducer = objective, optimizer, reducer
        self.value_and_grad = ms.value_and_grad(objective, None, optimizer.parameters, has_aux=True)

    def construct(self, learning_rate: Tensor, *inputs: Tensor) -> Tensors:
        outputs, gradients = self.value_and_grad(*inputs)
        outputs = ops.depend(outputs, gradients)  # outputs for the weights before the update
        if self.reducer is not None:
            gradients = self.reducer(gradients)
        ops.assign(self.optimizer.learning_rate, learning_rate)
        return ops.depend(outputs, self.optimizer(gradients))


class Accumulate(nn.Cell):
    """Adds the gradients of one micro-batch to running sums: (keep, inputs of the objective) -> its outputs.

    keep: 0 for the first micro-batch, 1 for the others.
    """

    def __init__(self, objective: nn.Cell, weights: ms.ParameterTuple, sums: ms.ParameterTuple) -> None:
        super().__init__()
        self.value_and_grad, self.sums = ms.value_and_grad(objective, None, weights, has_aux=True), sums

    def construct(self, keep: Tensor, *inputs: Tensor) -> Tensors:
        outputs, gradients = self.value_and_grad(*inputs)
        for k in range(len(self.sums)):
            outputs = ops.depend(outputs, ops.assign(self.sums[k], keep * self.sums[k] + gradients[k]))
        return outputs


class Update(nn.Cell):
    """Optimizer step along the mean of the accumulated gradients: (learning rate, micro-batches)."""

    def __init__(self, optimizer: nn.Optimizer, reducer: nn.Cell | None, sums: ms.ParameterTuple) -> None:
        super().__init__()
        self.optimizer, self.reducer, self.sums = optimizer, reducer, sums

    def construct(self, learning_rate: Tensor, micro_batches: Tensor) -> Tensor:
        gradients = ()
        for total in self.sums:
            gradients = gradients + (total / micro_batches,)
        if self.reducer is not None:
            gradients = self.reducer(gradients)
        ops.assign(self.optimizer.learning_rate, learning_rate)
        return self.optimizer(gradients)


def adam(weights: Iterable[ms.Parameter], beta1: float = 0.9, beta2: float = 0.999) -> nn.Optimizer:
    """Adam; the learning rate is set by each step."""
    return nn.Adam(ms.ParameterTuple(weights), learning_rate=1e-3, beta1=beta1, beta2=beta2)


def cosine(rate: float, done: float) -> float:
    """A learning rate that falls from `rate` to 1e-6 along a cosine. done: fraction of the training that is done."""
    return 0.5 * rate * (1 + np.cos(np.pi * done)) + 1e-6


def reset_adam(optimizer: nn.Optimizer) -> None:
    """Resets Adam's moments and bias correction to initial values; compiled graphs see the change.

    The bias correction is one number for all weights, so it cannot be reset for some of them only.
    """
    for moment in (*optimizer.moment1, *optimizer.moment2):
        ops.assign(moment, ops.zeros_like(moment))
    for power in (optimizer.beta1_power, optimizer.beta2_power):
        ops.assign(power, Tensor(1.0, power.dtype))
