"""The processes of a training, one a device: which samples each owns, and the few numbers that they exchange.

Samples are dealt to the processes by index: process r of R owns those whose index leaves the remainder r when divided by R,
and only it ever moves their chains. Every batch holds as many samples of each process (data.source.epoch_order). Gradients
are averaged over processes; of the rest only sums of an epoch's measures, whether to stop, and digests of a checkpoint's files
cross the network.
"""

from __future__ import annotations

from typing import Iterable, List, Optional

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops


class Ranks:
    """This process among `count`; alone, nothing is exchanged and all is owned."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count
        self._reduce = _Total() if count > 1 else None

    @property
    def first(self) -> bool:
        """Whether this process writes logs and pictures, and puts checkpoints together."""
        return self.rank == 0

    def shards(self, count: int) -> range:
        """Which of so many shards of the data, a multiple of the processes, are of samples that this process owns."""
        return range(self.rank, count, self.count)

    def gather(self, data: bytes) -> List[bytes]:
        """What each process gives, as many bytes in all of them; all must call it.

        It travels by the one exchange that MindSpore documents for every device, a sum of float32: each process adds its
        bytes to zeros of the others, which rounds nothing.
        """
        if self._reduce is None:
            return [data]
        pieces = np.zeros((self.count, len(data)), np.float32)
        pieces[self.rank] = np.frombuffer(data, np.uint8)
        return [row.tobytes() for row in self._reduce(Tensor(pieces)).asnumpy().astype(np.uint8)]

    def values(self, values: Iterable[float]) -> np.ndarray:
        """The float64 values of every process, (processes, values); all must call it."""
        own = np.array(list(values), np.float64)
        return np.stack([np.frombuffer(data, np.float64) for data in self.gather(own.tobytes())])

    def total(self, values: Iterable[float]) -> np.ndarray:
        """The sum over processes of each value, in float64 and in one order, so the same in all of them; all must call it."""
        return self.values(values).sum(0)

    def wait(self) -> None:
        """Returns when all processes have called it."""
        self.gather(b".")

    def any(self, wish: bool) -> bool:
        """Whether any process wishes it; all must call it."""
        return bool(self.values([float(wish)]).any())

    def reducer(self, weights: ms.ParameterTuple) -> Optional[nn.Cell]:
        """Averages gradients of `weights` over processes; None for one process."""
        return nn.DistributedGradReducer(weights, mean=True, degree=self.count) if self.count > 1 else None


class _Total(nn.Cell):
    """The sum over all processes."""

    def __init__(self) -> None:
        super().__init__()
        self.all_reduce = ops.AllReduce(ops.ReduceOp.SUM)

    def construct(self, x: Tensor) -> Tensor:
        return self.all_reduce(x)
