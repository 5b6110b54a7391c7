"""The interface of all datasets: samples by index."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from dgn.errors import UserError


class Check(NamedTuple):
    """The result of `Source.check`."""

    unusable: list[tuple[str, str]]  # (path, reason)
    small: int  # images that are smaller than a sample and are enlarged


class Source:
    """Samples by index; only a bounded cache is kept in memory.

    shape: shape of a sample, (channels, height, width) for images, (frames, channels, height, width) for clips.
    """

    shape: tuple[int, ...]

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, chosen: int | slice) -> np.ndarray:
        """source[k]: sample k, (*shape); source[a:b]: samples, (n, *shape). Raises IndexError beyond the end."""
        everyone = self.indices()
        return self.read(everyone[chosen]) if isinstance(chosen, slice) else self.read(everyone[[chosen]])[0]

    def indices(self, most: int | None = None) -> np.ndarray:
        """Indices of the samples, of at most the first `most` (default: all)."""
        return np.arange(len(self))[:most]

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The samples at `indices`, (n, *shape) float32 in [0, 1]; frames beyond a clip's end are 0.

        Raises Unreadable, which names the sample, if a sample cannot be read; its file may disappear at any time.
        """
        raise NotImplementedError

    def mask(self, indices: np.ndarray) -> np.ndarray | None:
        """For clips (n, F) float32, 1 where a clip has the frame, 0 for padding; None for images."""
        return np.ones((len(indices), self.shape[0]), np.float32) if len(self.shape) == 4 else None

    def name(self, index: int) -> str:
        """Name of a sample in messages and files."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """The names of all samples, in order."""
        return [self.name(k) for k in range(len(self))]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} samples of {' x '.join(map(str, self.shape))})"

    def identity(self) -> str:
        """A text that changes if an index refers to another sample, because chains belong to samples by index."""
        raise NotImplementedError

    def identity_of(self, indices: np.ndarray) -> str:
        """The identity of the samples at `indices`, which does not depend on other files."""
        return f"{_range(indices)} of {self.identity()}"

    def files(self, indices: np.ndarray) -> list[str] | None:
        """Names of the samples at `indices` if they are separate files; else None."""
        return None

    def paths(self, indices: np.ndarray) -> list[Path] | None:
        """The file or folder of each sample at `indices`; None if samples have none of their own."""
        return None

    def check(self, indices: np.ndarray, decode: bool) -> Check:
        """Checks whether samples can be read, by their headers or by decoding them; raises no errors."""
        return Check([], 0)

    def labels(self, indices: np.ndarray) -> np.ndarray | None:
        """Class labels of the samples at `indices`, (n,) int; None if the source has none."""
        return None

    def classes(self) -> int | None:
        """The number of classes; None if unknown."""
        return None

    def people(self, names: Sequence[str] | None = None) -> list[str] | None:
        """The person in each sample, or in the samples with these names; None if any of them is unknown."""
        return None


class Sources(NamedTuple):
    """The samples of a run."""

    train: Source
    held_out: Source | None  # not used in training


class Subset(Source):
    """The samples of another source at `indices`, counted from 0."""

    def __init__(self, source: Source, indices: np.ndarray) -> None:
        self.source, self.chosen, self.shape = source, np.asarray(indices, np.int64), source.shape

    def __len__(self) -> int:
        return len(self.chosen)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.source.read(self.chosen[indices])

    def mask(self, indices: np.ndarray) -> np.ndarray | None:
        return self.source.mask(self.chosen[indices])

    def name(self, index: int) -> str:
        return self.source.name(int(self.chosen[index]))

    def identity(self) -> str:
        return self._identity

    @functools.cached_property
    def _identity(self) -> str:
        return self.source.identity_of(self.chosen)

    def former_identity(self) -> str:
        """`identity` in version 0.1, which depends on all files of the source."""
        return f"{_range(self.chosen)} of {self.source.identity()}"

    def identity_of(self, indices: np.ndarray) -> str:
        return self.source.identity_of(self.chosen[indices])

    def files(self, indices: np.ndarray) -> list[str] | None:
        return self.source.files(self.chosen[indices])

    def paths(self, indices: np.ndarray) -> list[Path] | None:
        return self.source.paths(self.chosen[indices])

    def check(self, indices: np.ndarray, decode: bool) -> Check:
        return self.source.check(self.chosen[indices], decode)

    def labels(self, indices: np.ndarray) -> np.ndarray | None:
        return self.source.labels(self.chosen[indices])

    def classes(self) -> int | None:
        return self.source.classes()

    def people(self, names: Sequence[str] | None = None) -> list[str] | None:
        people = self.source.people(names)
        return people if names is not None else people and [people[index] for index in self.chosen]


class Mirrored(Subset):
    """The samples of another source, then the mirror images of all of them in the same order."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, np.tile(source.indices(), 2))

    def read(self, indices: np.ndarray) -> np.ndarray:
        samples, flipped = super().read(indices), indices >= len(self.source)
        samples[flipped] = samples[flipped, ..., ::-1]
        return samples

    def name(self, index: int) -> str:
        return super().name(index) + (", mirrored" if index >= len(self.source) else "")

    def identity(self) -> str:
        return f"{self.source.identity()}, and mirrored"

    def check(self, indices: np.ndarray, decode: bool) -> Check:
        return super().check(np.unique(self.chosen[indices]), decode)  # each file once


def same_samples(source: Source, recorded: str) -> bool:
    """Whether an identity that a run recorded, also with version 0.1, belongs to the samples of `source`."""
    return recorded == source.identity() or isinstance(source, Subset) and recorded == source.former_identity()


def _range(indices: np.ndarray) -> str:
    first, count = int(indices[0]), len(indices)
    if np.array_equal(indices, np.arange(first, first + count)):
        return f"{first}+{count}"
    return f"{count} ({hashlib.sha256(indices.astype('<i8').tobytes()).hexdigest()[:16]})"


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Indices of at most `most` evenly spaced samples of `count`, from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))


def units(source: Source, indices: np.ndarray) -> np.ndarray:
    """The independent unit of each sample at `indices`, (n,): the person in it, or if people are unknown the sample; a
    mirror image belongs to the same unit as its original."""
    people = source.people()
    if people:
        return np.array(people)[indices]
    return source.chosen[indices] if isinstance(source, Subset) else np.asarray(indices)


def clip_lengths(source: Source, indices: np.ndarray) -> np.ndarray:
    """Number of frames of each clip at `indices`, (n,) int."""
    return np.asarray(source.mask(indices)).sum(1).astype(int)


def to_images(samples: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Images (n, C, H, W) unchanged; for clips (n, F, C, H, W) all frames in their mask (n, F), in order."""
    return samples if mask is None else samples[mask > 0]


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """(n,) labels 0 <= label < classes -> (n, classes) float32. Raises UserError for other labels."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise UserError(f"labels range from {labels.min()} to {labels.max()}, but model.z_app is {classes}; it must "
                        "be the number of labels")
    return np.eye(classes, dtype=np.float32)[labels]


Result = TypeVar("Result")


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
                own: Iterable[int] | None = None) -> np.ndarray:
    """Sample indices of the batches of an epoch in random order, (batches, batch_size).

    Every sample is used; if the last batch is too small, the first samples of the order fill it, because another batch
    size would be compiled again. These samples occur twice in the epoch: their chains take twice as many steps.

    shards: a sample belongs to shard index % shards; a batch holds equally many samples of each shard, one shard after
        the other. Processes that own equally many shards have equal parts of every batch.
    own: the shards whose parts are returned, (batches, len(own) * batch_size / shards); None: all.
    draw: returns the random generator of a shard, draw(*shard_key(shard, shards)).
    """
    share, largest = batch_size // shards, math.ceil(count / shards)  # samples of a shard in a batch, in the data
    number = math.ceil(largest / share)  # number of batches
    own = list(range(shards) if own is None else own)
    order = np.empty((number, len(own), share), np.int64)
    for place, shard in enumerate(own):
        members = draw(*shard_key(shard, shards)).permutation(len(range(shard, count, shards)))
        members *= shards
        members += shard
        order[:, place] = np.resize(members, number * share).reshape(number, share)
    return order.reshape(number, len(own) * share)


def shard_key(shard: int, shards: int) -> tuple[int, ...]:
    """The part of a random generator's key (dgn.randomness) for a shard; empty for a single shard."""
    return () if shards == 1 else (shard,)
