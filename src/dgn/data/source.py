"""What every data set looks like to the rest of the program: samples by index."""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterable, Iterator, Optional, Protocol, Tuple

import numpy as np

from dgn.errors import UserError

MISSING = -1.0  # every value of a frame that a clip does not have


def observed(samples: np.ndarray) -> np.ndarray:
    """Which frames the clips (n, F, C, H, W) have, (n, F)."""
    return samples[:, :, 0, 0, 0] >= 0


def as_images(samples: np.ndarray) -> np.ndarray:
    """Images (n, C, H, W) as they are; of clips (n, F, C, H, W) all frames that they have, one after the other."""
    return samples if samples.ndim == 4 else samples[observed(samples)]


def count_images(samples: np.ndarray) -> int:
    """How many images the samples hold."""
    return len(samples) if samples.ndim == 4 else int(observed(samples).sum())


class Source(Protocol):
    """Samples by index; nothing is held in memory beyond a bounded cache.

    shape: of one sample: (channels, height, width) for an image, (frames, channels, height, width) for a clip.
    """

    shape: Tuple[int, ...]

    def __len__(self) -> int: ...

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The samples at `indices`, (n, *shape) float32 in [0, 1]; the frames after a shorter clip's end are MISSING."""

    def name(self, index: int) -> str:
        """How a sample is called in messages and files."""

    def identity(self) -> str:
        """Changes when an index stands for another sample: chains belong to samples by index."""


class Subset:
    """The samples of another source at `indices`, counted from 0."""

    def __init__(self, source: Source, indices: np.ndarray) -> None:
        self.source, self.indices, self.shape = source, np.asarray(indices, np.int64), source.shape

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.source.read(self.indices[indices])

    def name(self, index: int) -> str:
        return self.source.name(int(self.indices[index]))

    def identity(self) -> str:
        return f"{self._which()} of {self.source.identity()}"

    def labels(self, indices: np.ndarray) -> Optional[np.ndarray]:
        """Labels of the samples at `indices`, (n,); None if the source has none."""
        labels = getattr(self.source, "labels", None)
        return labels(self.indices[indices]) if labels else None

    def _which(self) -> str:
        first, count = int(self.indices[0]), len(self)
        if np.array_equal(self.indices, np.arange(first, first + count)):
            return f"{first}+{count}"
        return f"{count} ({hashlib.sha256(self.indices.astype('<i8').tobytes()).hexdigest()[:16]})"


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """(n,) labels 0 <= label < classes -> (n, classes) float32. Raises UserError for others."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"labels go from {labels.min()} to {labels.max()}, and model.z_app is {classes}; it must be the number of labels")
    return np.eye(classes, dtype=np.float32)[labels]


def batches(source: Source, order: Iterable[np.ndarray]) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """(indices, samples) for every index array of `order`, the next batch read while the present one is used."""
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = None
        for indices in order:
            following = (indices, reader.submit(source.read, indices))
            if waiting:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting:
            yield waiting[0], waiting[1].result()


def epoch_order(count: int, batch_size: int, draw: Callable[..., np.random.Generator], shards: int = 1,
                own: Optional[Iterable[int]] = None) -> np.ndarray:
    """A random division of 0..count-1 into batches, (batches, batch_size); what is short of a last one is filled up from the
    start of the order.

    Every compiled graph sees one batch size, and every sample is visited each epoch (a few of them twice).
    shards: each batch has as many samples of each remainder that indices leave when divided by this, one shard after the
    other; so many processes, or a divisor of it, then have equal parts of every batch.
    own: only the parts of these shards, (batches, own shards * batch_size / shards): memory is for them alone.
    draw(*shard_place(shard, shards)) gives the random numbers of a shard.
    """
    share, largest = batch_size // shards, math.ceil(count / shards)
    number = math.ceil(largest / share)  # of batches
    own = list(range(shards) if own is None else own)
    order = np.empty((number, len(own), share), np.int64)
    for place, shard in enumerate(own):
        members = draw(*shard_place(shard, shards)).permutation(len(range(shard, count, shards)))
        members *= shards
        members += shard
        order[:, place] = np.resize(members, number * share).reshape(number, share)
    return order.reshape(number, len(own) * share)


def shard_place(shard: int, shards: int) -> Tuple[int, ...]:
    """What a shard adds to the place of its random numbers (dgn.randomness); the only one adds nothing."""
    return () if shards == 1 else (shard,)
