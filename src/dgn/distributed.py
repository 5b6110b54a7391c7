"""The processes of a data-parallel training, one for each device: the samples that each owns, and their collectives.

Process r of R owns the samples whose index is r modulo R, and only it updates their chains. Every batch holds equally
many samples of each process (dgn.training.batches.epoch_order). Gradients are averaged over processes. Besides
gradients the processes exchange sums of metrics and statistics, stop requests, and digests.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
from mindspore import Tensor, communication, nn, ops

from dgn import device


class ProcessGroup:
    """This process in a group of `size`; in a group of one nothing is exchanged and every sample is owned."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._all_reduce = _AllReduce() if size > 1 else None

    @property
    def is_first(self) -> bool:
        """Whether this process (rank 0) writes logs and pictures, and completes checkpoints."""
        return self.rank == 0

    def shards(self, count: int) -> range:
        """Indices of the shards that this process owns, of `count` (a multiple of the group's size)."""
        return range(self.rank, count, self.size)

    def all_gather(self, data: bytes) -> list[bytes]:
        """The data of every process, which have equal lengths; a collective.

        It uses AllReduce of float32, which MindSpore documents for every device: each process adds its bytes to zeros,
        which is exact.
        """
        if self._all_reduce is None:
            return [data]
        pieces = np.zeros((self.size, len(data)), np.float32)
        pieces[self.rank] = np.frombuffer(data, np.uint8)
        return [row.tobytes() for row in self._all_reduce(Tensor(pieces)).asnumpy().astype(np.uint8)]

    def gather_values(self, values: Iterable[float]) -> np.ndarray:
        """float64 values of every process, (processes, values); a collective."""
        own = np.array(list(values), np.float64)
        return np.stack([np.frombuffer(data, np.float64) for data in self.all_gather(own.tobytes())])

    def all_sum(self, values: Iterable[float]) -> np.ndarray:
        """Sum of each value over processes, in float64 and rank order, so that it is equal in all; a collective."""
        return self.gather_values(values).sum(0)

    def barrier(self) -> None:
        """Returns when all processes have called it."""
        self.all_gather(b".")

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; a collective."""
        return bool(self.gather_values([float(flag)]).any())

    def gradient_reducer(self) -> nn.Cell | None:
        """Averages a tuple of gradients over processes; None for one process."""
        return _Mean(self.size) if self.size > 1 else None


@functools.cache  # its collectives are compiled once
def process_group() -> ProcessGroup:
    """The group that msrun started this process in, or a group of one; call dgn.device.start first."""
    if not device.launched_by_msrun():
        return ProcessGroup()
    return ProcessGroup(communication.get_rank(), communication.get_group_size())


class _AllReduce(nn.Cell):
    """Sum over all processes. fused: MindSpore may join all sums of a graph in one collective."""

    def __init__(self, fused: bool = False) -> None:
        super().__init__()
        self.all_reduce = ops.AllReduce(ops.ReduceOp.SUM)
        if fused:
            self.all_reduce.add_prim_attr("fusion", 1)

    def construct(self, x: Tensor) -> Tensor:
        return self.all_reduce(x)


class _Mean(nn.Cell):
    """Mean over all processes of each tensor of a tuple."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.all_reduce, self.size = _AllReduce(fused=True), size

    def construct(self, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        means: tuple[Tensor, ...] = ()
        for x in tensors:
            means = means + (self.all_reduce(x) / self.size,)
        return means
