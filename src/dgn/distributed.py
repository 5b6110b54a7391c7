"""The processes of a data-parallel training, one for each device: the samples that each owns, and their collectives.

Process r of R owns the samples whose index is r modulo R, and only it updates their chains. Every batch holds equally
many samples of each process (dgn.training.batches.epoch_order). Gradients are averaged over processes. Besides
gradients the processes exchange sums of metrics and statistics, stop requests, and digests.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Iterable

import numpy as np
from mindspore import Tensor, communication, nn, ops

from dgn.config import Config, changed
from dgn.errors import RunFailed, UserError, first_line
from dgn.launcher import launched_by_msrun, scheduler_answers

log = logging.getLogger(__name__)

# Samples per process below which a warning is logged. Chosen, not measured: on accelerators operator launches probably
# dominate the time, and their number does not depend on the batch size.
MIN_SAMPLES_PER_PROCESS = {"CPU": 8, "GPU": 64, "Ascend": 64}


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
        sent = np.array(list(values), np.float64).tobytes()
        return np.stack([np.frombuffer(data, np.float64) for data in self.all_gather(sent)])

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
    if not launched_by_msrun():
        return ProcessGroup()
    return ProcessGroup(communication.get_rank(), communication.get_group_size())


@functools.cache
def join() -> None:
    """Connects to the other processes and runs a first collective; the scheduler serves them here and exits. Raises
    RunFailed if they cannot connect."""
    variables = {name: os.environ.get(name) for name in ("MS_ROLE", "MS_WORKER_NUM", "MS_SCHED_HOST", "MS_SCHED_PORT")}
    missing = [name for name, value in variables.items() if not value]
    if missing:
        raise UserError(f"MS_ROLE is {variables['MS_ROLE']}, as msrun sets it, but {', '.join(missing)} is not set; "
                        "unset MS_ROLE for a training in one process")
    host, port = str(variables["MS_SCHED_HOST"]), str(variables["MS_SCHED_PORT"])
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL)  # init below blocks in C++
    try:
        if variables["MS_ROLE"] == "MS_WORKER" and not scheduler_answers(host, port):
            listed = ", ".join(f"{name}={value}" for name, value in variables.items())
            print(f"dgn: waiting for the scheduler and the other processes ({listed}); if this is not a process of "
                  "msrun, stop it and unset these variables", file=sys.stderr, flush=True)
        communication.init()
        process_group().barrier()  # HCCL connects in the first collective
    except RuntimeError as error:
        reason = first_line(error).rstrip(".")
        raise RunFailed(f"the {variables['MS_WORKER_NUM']} processes cannot connect through the scheduler at "
                        f"{host}:{port}: {reason}. On all hosts, MASTER_ADDR must be the address of the first host, "
                        "the port must be free and open, and the devices must reach each other (docs/devices.md, "
                        "Several hosts)") from None
    finally:
        signal.signal(signal.SIGINT, previous)


def for_processes(config: Config, size: int) -> Config:
    """The config with training.shards set for `size` processes. Raises UserError if training.batch_size is not
    divisible."""
    batch = config.training.batch_size
    if config.training.shards % size == 0:
        return config
    if batch % size:
        unit = size * config.training.micro_batches
        below = batch // unit * unit
        near = f"{below} or {below + unit}" if below else str(unit)
        raise UserError(f"training.batch_size is {batch}; it must be a multiple of the number of processes, {size}: "
                        f"set it to {near} with --set (for a launcher: in DGN_OPTIONS)")
    return changed(config, training={"shards": size})


def warn_of_few_samples(config: Config, size: int, name: str) -> None:
    """Logs a warning if each of several processes has too few samples of a batch for the device `name`."""
    samples, least = config.training.batch_size // size, MIN_SAMPLES_PER_PROCESS[name]
    if size > 1 and samples < least:
        log.warning("training.batch_size is %d, so each of %d processes computes %d samples, too few for %s; use fewer "
                    "processes or a larger batch, such as %d",
                    config.training.batch_size, size, samples, name, least * size)


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
