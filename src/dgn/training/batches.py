"""The batches of an epoch: samples in random order, and noise. Each batch is read while the one before is used."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from dgn import config as cfg
from dgn.errors import UserError
from dgn.inference.chains import draw_noise
from dgn.nets.model import Arrays
from dgn.randomness import generator
from dgn.training.build import TrainingState
from dgn.training.checkpoint import Position
from dgn.training.trainer import Batch

Result = TypeVar("Result")


def batch_size(training: cfg.Training, count: int) -> int:
    """Number of samples in a batch: as in the config, or fewer if there are fewer samples. Raises UserError if
    micro-batches would be empty."""
    unit = training.shards * training.micro_batches
    size = min(training.batch_size, count - count % unit)
    if not size:
        raise UserError(f"{count} samples cannot be divided into {training.shards} shards of {training.micro_batches} "
                        "micro-batches (training.shards, training.micro_batches)")
    return size


def order_of_epoch(training: cfg.Training, state: TrainingState, epoch: int) -> np.ndarray:
    """Indices of this process's samples in each batch of an epoch, (batches, samples)."""
    count, draw = len(state.source), functools.partial(generator, training.seed, "order", epoch)
    owned = state.processes.shards(training.shards)
    return epoch_order(count, batch_size(training, count), draw, training.shards, owned)


def batches(config: cfg.Config, state: TrainingState, order: np.ndarray,
            start: Position) -> Iterator[tuple[np.ndarray, Batch]]:
    """(indices of samples, batch) for the rows of an epoch's order, beginning with row start.step."""
    sigma = cfg.value_at(config.inference.sigma, start.epoch)
    learning_rate = cfg.value_at(config.training.learning_rate, start.epoch)

    def load(number: int, indices: np.ndarray) -> tuple[np.ndarray, Batch]:
        step = start.step + number
        noise = _noise(config.training, state, Position(start.epoch, step), len(indices))
        return indices, Batch(state.source.read(indices), state.source.mask(indices), noise, sigma, learning_rate,
                              start.epoch * len(order) + step)

    return prefetch(load, order[start.step:])


def _noise(training: cfg.Training, state: TrainingState, position: Position, count: int) -> Arrays:
    """Noise for `count` samples. It depends on shard and position, not on the number of processes; a process draws only
    the noise of its own shards."""
    owned, model = state.processes.shards(training.shards), state.trainer.model
    parts = [draw_noise(model, state.trainer.draws, count // len(owned), training.seed, "noise", *position,
                        *shard_key(shard, training.shards)) for shard in owned]
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(noise, 1) for noise in zip(*parts))


def prefetch(load: Callable[[int, np.ndarray], Result], order: Iterable[np.ndarray]) -> Iterator[Result]:
    """load(number, indices) for every index array in `order`, counted from 0; the next one is loaded by another thread
    while the present one is used."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = None
        for number, indices in enumerate(order):
            following = reader.submit(load, number, indices)
            if waiting:
                yield waiting.result()
            waiting = following
        if waiting:
            yield waiting.result()


def epoch_order(count: int, batch_size: int, draw: Callable[..., np.random.Generator], shards: int = 1,
                owned: Iterable[int] | None = None) -> np.ndarray:
    """Sample indices of the batches of an epoch in random order, (batches, batch_size).

    Every sample is used; if the last batch is too small, the first samples of the order fill it, because another batch
    size would be compiled again. These samples occur twice in the epoch: their chains take twice as many steps.

    shards: a sample belongs to shard index % shards; a batch holds equally many samples of each shard, one shard after
        the other. Processes that own equally many shards have equal parts of every batch.
    owned: the shards whose parts are returned, (batches, len(owned) * batch_size / shards); None: all.
    draw: returns the random generator of a shard, draw(*shard_key(shard, shards)).
    """
    share, largest = batch_size // shards, math.ceil(count / shards)  # samples of a shard in a batch, in the data
    number = math.ceil(largest / share)  # number of batches
    owned = list(range(shards) if owned is None else owned)
    order = np.empty((number, len(owned), share), np.int64)
    for k, shard in enumerate(owned):
        members = draw(*shard_key(shard, shards)).permutation(len(range(shard, count, shards)))
        members *= shards
        members += shard
        order[:, k] = np.resize(members, number * share).reshape(number, share)
    return order.reshape(number, len(owned) * share)


def shard_key(shard: int, shards: int) -> tuple[int, ...]:
    """The part of a random generator's key (dgn.randomness) for a shard; empty for a single shard."""
    return () if shards == 1 else (shard,)
