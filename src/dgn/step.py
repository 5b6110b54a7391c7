"""One step of an optimiser on an objective: what every learning method, and every regressor, does."""

from __future__ import annotations

from typing import Iterable, List, Optional, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops


class Step(nn.Cell):
    """Gradient and optimiser as one compiled graph: (rate, inputs of the objective) -> what the objective gives, before the step.

    objective: a Cell that gives (loss, ...), the loss a mean over the batch; optimizer: of the weights to move.
    The rate is a tensor of every call, so a schedule needs no new graph. reducer: averages the gradients over processes.
    """

    def __init__(self, objective: nn.Cell, optimizer: nn.Optimizer, reducer: Optional[nn.Cell] = None) -> None:
        super().__init__()
        self.objective, self.optimizer, self.reducer = objective, optimizer, reducer
        self.slopes = ms.value_and_grad(objective, None, optimizer.parameters, has_aux=True)

    def construct(self, rate: Tensor, *inputs: Tensor) -> Tuple[Tensor, ...]:
        found, slopes = self.slopes(*inputs)
        found = ops.depend(found, slopes)  # it reads the weights that the step is about to change
        if self.reducer is not None:
            slopes = self.reducer(slopes)
        ops.assign(self.optimizer.learning_rate, rate)
        return ops.depend(found, self.optimizer(slopes))


def adam(weights: Iterable[ms.Parameter], beta1: float = 0.9, beta2: float = 0.999) -> nn.Optimizer:
    """Adam; its rate comes with every step."""
    return nn.Adam(ms.ParameterTuple(weights), learning_rate=1e-3, beta1=beta1, beta2=beta2)


def restart_adam(optimizer: nn.Optimizer, beta1: float = 0.9, beta2: float = 0.999) -> None:
    """Moments of zero and the correction of the first steps begun again, one step in: the first is three quarters of what a
    fresh optimiser's is. Compiled graphs see it. (The correction is one number for all weights, so it cannot begin anew for
    some of them.)"""
    for moment in (*optimizer.moment1, *optimizer.moment2):
        ops.assign(moment, ops.zeros_like(moment))
    for power, beta in ((optimizer.beta1_power, beta1), (optimizer.beta2_power, beta2)):
        ops.assign(power, Tensor(beta, power.dtype))


class _Sum(nn.Cell):
    """Gradients of one part of a batch, added to those of the parts before it."""

    def __init__(self, step: Step, sums: ms.ParameterTuple) -> None:
        super().__init__()
        self.slopes, self.sums = step.slopes, sums

    def construct(self, keep: Tensor, *inputs: Tensor) -> Tuple[Tensor, ...]:
        """keep: 0 for the first part, 1 for the others. Returns what the objective gives."""
        found, slopes = self.slopes(*inputs)
        for k in range(len(self.sums)):
            found = ops.depend(found, ops.assign(self.sums[k], keep * self.sums[k] + slopes[k]))
        return found


class _Move(nn.Cell):
    """Adam's step along the mean of the parts' gradients."""

    def __init__(self, step: Step, sums: ms.ParameterTuple) -> None:
        super().__init__()
        self.optimizer, self.reducer, self.sums = step.optimizer, step.reducer, sums

    def construct(self, rate: Tensor, parts: Tensor) -> Tensor:
        means = ()
        for total in self.sums:
            means = means + (total / parts,)
        if self.reducer is not None:
            means = self.reducer(means)
        ops.assign(self.optimizer.learning_rate, rate)
        return self.optimizer(means)


class Learning:
    """A Step on batches that come in `parts` of equal size: the memory of one part is then enough."""

    def __init__(self, step: Step, parts: int = 1) -> None:
        self.step, self.parts = step, parts
        if parts > 1:
            sums = step.optimizer.parameters.clone(prefix="sum", init="zeros")
            self.add, self.move = _Sum(step, sums), _Move(step, sums)

    def __call__(self, rate: float, batch: Sequence[Tuple[Tensor, ...]]) -> List[Tuple[np.ndarray, ...]]:
        """One step on a batch given as the inputs of its parts; for each part what the objective gives."""
        speed = ms.Tensor(rate, ms.float32)
        if self.parts == 1:
            found = [self.step(speed, *batch[0])]
        else:
            found = [self.add(ms.Tensor(float(part > 0), ms.float32), *inputs) for part, inputs in enumerate(batch)]
            self.move(speed, ms.Tensor(self.parts, ms.float32))
        return [tuple(value.asnumpy() for value in values) for values in found]
