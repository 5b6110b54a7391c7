"""The processes of a training, one a device: which samples each owns, and the few numbers that they exchange.

Samples are dealt to the processes by index: process r of R owns those whose index leaves the remainder r when divided by R,
and only it ever moves their chains. Every batch holds as many samples of each process (data.source.epoch_order). Gradients
are averaged over processes; of the rest only sums of an epoch's measures cross the network.
"""

from __future__ import annotations

from typing import Iterable, Optional

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops


class Ranks:
    """This process among `count`; alone, nothing is exchanged and all is owned."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count
        self._sum = _Total() if count > 1 else None

    @property
    def first(self) -> bool:
        """Whether this process writes logs, checkpoints and pictures."""
        return self.rank == 0

    @property
    def owned(self) -> slice:
        """The samples of this process, by index."""
        return slice(self.rank, None, self.count)

    def mine(self, indices: np.ndarray) -> np.ndarray:
        """Which of the samples at `indices` this process owns, as a mask."""
        return np.asarray(indices) % self.count == self.rank

    def total(self, values: Iterable[float]) -> np.ndarray:
        """The sum over processes of each value, float64 in and out by two float32 numbers. All processes must call it."""
        values = np.asarray(list(values), np.float64)
        if self._sum is None:
            return values
        coarse = values.astype(np.float32)
        fine = (values - coarse).astype(np.float32)
        found = self._sum(Tensor(np.concatenate([coarse, fine]))).asnumpy().astype(np.float64)
        return found[:len(values)] + found[len(values):]

    def wait(self) -> None:
        """Returns when all processes have called it."""
        self.total([0.0])

    def any(self, wish: bool) -> bool:
        """Whether any process wishes it; all must call it."""
        return bool(self.total([float(wish)])[0] > 0)

    def reducer(self, weights: ms.ParameterTuple) -> Optional[nn.Cell]:
        """Averages gradients of `weights` over processes; None for one process."""
        return nn.DistributedGradReducer(weights, mean=True, degree=self.count) if self.count > 1 else None


class _Total(nn.Cell):
    def __init__(self) -> None:
        super().__init__()
        self.all_reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, x: Tensor) -> Tensor:
        return self.all_reduce(x)
