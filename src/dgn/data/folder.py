"""Base of image and clip folders: samples by name, which are decoded when they are read, and cached as 8-bit pixels."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from dgn import console, machine
from dgn.config import Data
from dgn.data.decoding import quiet_opencv
from dgn.data.pixels import PixelCache, to_unit
from dgn.data.source import Check, Source
from dgn.errors import Unreadable, UserError

log = logging.getLogger(__name__)
Result = TypeVar("Result")
_LISTED = 10  # files that are left out, in the log
_CHUNK = 64  # samples that are submitted to the workers together; limits the decoded samples in memory


@dataclass(frozen=True)
class Reading:
    """How the files of a folder are read.

    corrupt: "error": `read` raises UserError for a file that cannot be used; "skip": all files are decoded when the
        folder is opened, except those in `known_usable`, and files that cannot be used are left out.
    cache_mb: megabytes of decoded pixels kept in memory.
    pattern: select only files (or clips) whose relative path, or its last part, matches, such as "*-11.jpg".
    only_names: select only files with these names; None: all.
    known_usable: names of files that are known to be usable.
    """

    corrupt: str = "error"
    cache_mb: int = 256
    pattern: str | None = None
    only_names: frozenset[str] | None = None
    known_usable: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.corrupt not in ("error", "skip"):
            raise UserError(f"corrupt={self.corrupt!r}: must be 'error' or 'skip'")


def reading_of(data: Data) -> Reading:
    """The settings of a config for reading files."""
    return Reading(data.corrupt, data.cache_mb, data.pattern)


def digest(names: list[str]) -> str:
    """16 hexadecimal digits of the SHA-256 of these names in this order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


class Inspected(NamedTuple):
    """The result of `Folder.inspect`."""

    small: bool  # the image is smaller than a sample
    pixels: np.ndarray | None  # the decoded sample, if it was decoded


class Folder(Source):
    """Samples of a folder. A subclass decodes one sample, and may change how samples become a batch.

    names: names of the samples, in order. shape: shape of a sample. With reading.corrupt "skip", `skipped` lists the
    omitted samples as (name, reason). sample_bytes: size of one cached sample; cache_bytes: capacity of the cache.
    Raises UserError if no sample is left. Several threads may call `read`.
    """

    def __init__(self, folder: Path, names: list[str], shape: tuple[int, ...], reading: Reading) -> None:
        self.shape = shape
        self.skipped: list[tuple[str, str]] = []
        self._names = (names if reading.only_names is None
                       else [name for name in names if name in reading.only_names])
        self._folder = folder
        self.sample_bytes, self.cache_bytes = math.prod(shape), reading.cache_mb * 2 ** 20
        self._cache, self._small = PixelCache(reading.cache_mb), set[str]()
        self._workers = ThreadPoolExecutor(max_workers=min(8, machine.cores()))
        self._checked = set[str]()  # samples that were decoded in this constructor
        if reading.corrupt == "skip" and self._names:
            self._skip_unusable(reading.known_usable)

    def decode(self, name: str) -> np.ndarray:
        """A sample's pixels, uint8. Raises ValueError with the reason (not the name) if it cannot be used."""
        raise NotImplementedError

    def inspect(self, name: str, decoded: bool) -> Inspected:
        """Checks one sample, by its header or by decoding it. Raises ValueError like `decode`."""
        raise NotImplementedError

    def stack(self, samples: list[np.ndarray]) -> np.ndarray:
        """Decoded samples as one batch, (n, *shape) float32 in [0, 1]."""
        return to_unit(np.stack(samples))

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """A sample's path relative to the folder, with forward slashes."""
        return self._names[index]

    def identity(self) -> str:
        """A digest of the samples' names, in order."""
        return self.identity_of(self.indices())

    def identity_of(self, indices: np.ndarray) -> str:
        """A digest of the names of the samples at `indices`, in order."""
        return f"folder {digest(self.files(indices))}"

    def files(self, indices: np.ndarray) -> list[str]:
        """Names of the samples at `indices`."""
        return [self._names[index] for index in indices]

    def paths(self, indices: np.ndarray) -> list[Path]:
        """The files (of clips of frames: the folders) of the samples at `indices`."""
        return [self._folder / self._names[index] for index in indices]

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The samples at `indices`, (n, *shape) float32 in [0, 1]. Raises Unreadable, which names the sample, if one
        cannot be used."""
        wanted = [int(index) for index in indices]
        missing = [index for index in dict.fromkeys(wanted) if self._cache.get(index) is None]
        loaded = dict(zip(missing, self._workers.map(self._load, missing)))
        return self.stack([self._cache.fetch(index, loaded.__getitem__) for index in wanted])

    def _load(self, index: int) -> np.ndarray:
        name = self._names[index]
        try:
            return self.decode(name)
        except ValueError as reason:
            raise Unreadable(f"{self._folder / name}: {reason}", "replace or remove it (a training leaves such files "
                             "out with data.corrupt=skip)") from None

    def check(self, indices: np.ndarray, decoded: bool) -> Check:
        """Checks samples by their headers. If `decoded` is set, or if all samples fit into the cache, they are decoded
        and cached."""
        decoded = decoded or len(indices) * self.sample_bytes <= self.cache_bytes
        unread = [int(index) for index in indices
                  if self._names[index] not in self._checked and self._cache.get(int(index)) is None]
        unusable = []
        for index, (name, result) in zip(unread, self._inspect([self._names[index] for index in unread], decoded)):
            if isinstance(result, str):
                unusable.append((str(self._folder / name), result))
            elif result.pixels is not None:
                self._cache.add(index, result.pixels)
        return Check(unusable, sum(self._names[index] in self._small for index in indices))

    def _skip_unusable(self, known: frozenset[str]) -> None:
        """Leaves out the samples that cannot be decoded. known: samples that are usable, and not decoded here."""
        usable: list[str] = []
        inspected = self._inspect([name for name in self._names if name not in known], True)
        for name in self._names:
            result = None if name in known else next(inspected)[1]
            if isinstance(result, str):
                self.skipped.append((name, result))
                continue
            if result is not None:
                self._checked.add(name)
                if result.pixels is not None:
                    self._cache.add(len(usable), result.pixels)
            usable.append(name)
        next(inspected, None)  # closes its progress bar
        for name, reason in self.skipped[:_LISTED] if usable else ():
            log.warning("left out: %s: %s", self._folder / name, reason)
        if usable and len(self.skipped) > _LISTED:
            log.warning("left out: %d more files of %s", len(self.skipped) - _LISTED, self._folder)
        self._names = usable
        if not usable:
            name, reason = self.skipped[0]
            raise UserError(f"{self._folder}: none of {len(self.skipped)} files can be used; the first one, {name}: "
                            f"{reason}")

    def _inspect(self, names: list[str], decoded: bool) -> Iterator[tuple[str, Inspected | str]]:
        """(name, `inspect` of the sample, or the reason why it cannot be used); with a bar on a terminal."""
        def inspected(name: str) -> Inspected:
            result = self.inspect(name, decoded)
            if result.small:
                self._small.add(name)
            return result

        return map_files(inspected, names, self._workers, desc="checking", unit="file")


def map_files(function: Callable[[str], Result], names: list[str], workers: ThreadPoolExecutor,
              **bar: str) -> Iterator[tuple[str, Result | str]]:
    """(name, function(name) or the reason of its ValueError) for each file in order, computed by threads; with a
    progress bar on a terminal, and without messages of OpenCV."""
    def result(name: str) -> tuple[str, Result | str]:
        try:
            return name, function(name)
        except ValueError as reason:
            return name, str(reason)

    with quiet_opencv, console.progress(total=len(names), **bar) as progress:
        for start in range(0, len(names), _CHUNK):  # `map` submits all its tasks at once
            for pair in workers.map(result, names[start:start + _CHUNK]):
                yield pair
                progress.update()
