"""The interface of all datasets: samples by index."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

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

    def __getitem__(self, key: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """source[k]: sample k, (*shape); source[a:b], source[[1, 5]]: samples, (n, *shape). Raises IndexError beyond
        the end."""
        chosen = self.indices()[key]
        return self.read(chosen) if np.ndim(chosen) else self.read(np.array([chosen]))[0]

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
        """Identifies the samples and their order. A resumed run compares it, because chains are stored by index."""
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

    def stored(self, indices: np.ndarray) -> list[Path]:
        """All files from which the samples at `indices` are read; empty for samples in memory."""
        return self.paths(indices) or []

    def check(self, indices: np.ndarray, decoded: bool) -> Check:
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
    """The samples of another source at `indices`, counted from 0. in_source: index of each sample there."""

    def __init__(self, source: Source, indices: np.ndarray) -> None:
        self.source, self.in_source, self.shape = source, np.asarray(indices, np.int64), source.shape

    def __len__(self) -> int:
        return len(self.in_source)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.source.read(self.in_source[indices])

    def mask(self, indices: np.ndarray) -> np.ndarray | None:
        return self.source.mask(self.in_source[indices])

    def name(self, index: int) -> str:
        return self.source.name(int(self.in_source[index]))

    @property
    def names(self) -> list[str]:
        names = self.source.names  # at once: a packed file takes a millisecond for a single name
        return [names[index] for index in self.in_source]

    def identity(self) -> str:
        return self._identity

    @functools.cached_property
    def _identity(self) -> str:
        return self.source.identity_of(self.in_source)

    def former_identity(self) -> str:
        """`identity` in version 0.1, which depends on all files of the source."""
        return f"{_range(self.in_source)} of {self.source.identity()}"

    def identity_of(self, indices: np.ndarray) -> str:
        return self.source.identity_of(self.in_source[indices])

    def files(self, indices: np.ndarray) -> list[str] | None:
        return self.source.files(self.in_source[indices])

    def paths(self, indices: np.ndarray) -> list[Path] | None:
        return self.source.paths(self.in_source[indices])

    def stored(self, indices: np.ndarray) -> list[Path]:
        return self.source.stored(self.in_source[indices])

    def check(self, indices: np.ndarray, decoded: bool) -> Check:
        return self.source.check(self.in_source[indices], decoded)

    def labels(self, indices: np.ndarray) -> np.ndarray | None:
        return self.source.labels(self.in_source[indices])

    def classes(self) -> int | None:
        return self.source.classes()

    def people(self, names: Sequence[str] | None = None) -> list[str] | None:
        people = self.source.people(names)
        return people if names is not None else people and [people[index] for index in self.in_source]


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

    @property
    def names(self) -> list[str]:
        return [name + mirrored for mirrored in ("", ", mirrored") for name in self.source.names]

    def identity(self) -> str:
        return f"{self.source.identity()}, and mirrored"

    def check(self, indices: np.ndarray, decoded: bool) -> Check:
        return super().check(np.unique(self.in_source[indices]), decoded)  # each file once


def originals(source: Source) -> Source:
    """A source without the mirror images of its samples."""
    return source.source if isinstance(source, Mirrored) else source


def same_samples(source: Source, recorded: str) -> bool:
    """Whether an identity that a run recorded, also with version 0.1, belongs to the samples of `source`."""
    return recorded == source.identity() or isinstance(source, Subset) and recorded == source.former_identity()


def _range(indices: np.ndarray) -> str:
    first, count = int(indices[0]), len(indices)
    if np.array_equal(indices, np.arange(first, first + count)):
        return f"{first}+{count}"
    return f"{count} ({hashlib.sha256(indices.astype('<i8').tobytes()).hexdigest()[:16]})"


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
