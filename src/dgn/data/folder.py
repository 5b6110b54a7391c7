"""What folders of images and of clips have in common: samples by name, decoded when they are needed, kept in 8 bits."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

import cv2
import numpy as np
from tqdm import tqdm

from dgn.data.source import Source
from dgn.errors import UserError

log = logging.getLogger(__name__)
_CHECKED_AT_ONCE = 512


class PixelCache:
    """Decoded samples by index, the first that were asked for, in as many megabytes as are allowed."""

    def __init__(self, megabytes: float) -> None:
        self.nbytes, self._room = 0, megabytes * 2 ** 20
        self._kept: Dict[int, np.ndarray] = {}
        self._filling = threading.Lock()

    def get(self, index: int) -> Optional[np.ndarray]:
        return self._kept.get(index)

    def fetch(self, index: int, make: Callable[[int], np.ndarray]) -> np.ndarray:
        """The sample as it is kept, or made now."""
        pixels = self.get(index)
        if pixels is None:
            pixels = make(index)
            self.keep(index, pixels)
        return pixels

    def keep(self, index: int, pixels: np.ndarray) -> None:
        with self._filling:
            if index not in self._kept and self.nbytes + pixels.nbytes <= self._room:
                self._kept[index] = pixels
                self.nbytes += pixels.nbytes


def digest(names: List[str]) -> str:
    """16 hexadecimal digits that stand for these names in this order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


class Folder(Source):
    """Samples of a folder: a subclass decodes one of them and, where need be, puts several together.

    names: of the samples, in order; shape: of a sample. corrupt: "error" stops at the read of a sample that cannot be used;
    "skip" decodes every one now and leaves the unusable ones out: `skipped` lists them as (name, reason).
    Raises UserError if nothing is left; `read` raises it where a sample is unusable. `read` may be called from several threads.
    """

    def __init__(self, folder: Path, names: List[str], shape: Tuple[int, ...], corrupt: str, cache_mb: int) -> None:
        if corrupt not in ("error", "skip"):
            raise UserError(f"corrupt={corrupt!r}: must be 'error' or 'skip'")
        self.shape, self.skipped = shape, []
        self._folder, self._names, self._cache = folder, names, PixelCache(cache_mb)
        self._workers = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
        if corrupt == "skip":
            self._leave_out_unusable()

    def decode(self, name: str) -> np.ndarray:
        """A sample's pixels, uint8. ValueError says why it cannot be used, without naming it."""
        raise NotImplementedError

    def together(self, samples: List[np.ndarray]) -> np.ndarray:
        """Decoded samples as `read` gives them."""
        return to_unit(np.stack(samples))

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """A sample's path relative to the folder, with forward slashes."""
        return self._names[index]

    def identity(self) -> str:
        """A digest of the samples' names, in order."""
        return f"folder {digest(self._names)}"

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The samples at `indices`, (n, *shape) float32 in [0, 1], RGB; UserError names one that is unusable."""
        found = [self._cache.get(int(index)) for index in indices]
        missing = [place for place, pixels in enumerate(found) if pixels is None]
        for place, pixels in zip(missing, self._workers.map(self._load, [int(indices[place]) for place in missing])):
            found[place] = pixels
            self._cache.keep(int(indices[place]), pixels)
        return self.together(found)

    def _load(self, index: int) -> np.ndarray:
        name = self._names[index]
        try:
            return self.decode(name)
        except ValueError as reason:
            raise UserError(f"{self._folder / name}: {reason}; replace or remove it, or leave such ones out with data.corrupt=skip") from None

    def _leave_out_unusable(self) -> None:
        with quiet_opencv():
            reasons: List[Optional[str]] = []
            with tqdm(total=len(self._names), desc="checking", unit="file", disable=not sys.stderr.isatty()) as bar:
                for start in range(0, len(self._names), _CHECKED_AT_ONCE):  # a map submits all its tasks at once
                    reasons += self._workers.map(self._fault, self._names[start:start + _CHECKED_AT_ONCE])
                    bar.update(len(reasons) - bar.n)
        self.skipped = [(name, reason) for name, reason in zip(self._names, reasons) if reason]
        self._names = [name for name, reason in zip(self._names, reasons) if not reason]
        if not self._names:
            name, reason = self.skipped[0]
            raise UserError(f"{self._folder}: none of {len(self.skipped)} files can be used; the first, {name}: {reason}")
        for name, reason in self.skipped:
            log.warning("left out: %s: %s", self._folder / name, reason)

    def _fault(self, name: str) -> Optional[str]:
        try:
            self.decode(name)
        except ValueError as reason:
            return str(reason)
        return None


class quiet_opencv:
    """OpenCV's own messages are kept off the terminal. Their level is one for the whole program, so of several threads the
    first lowers it and the last to leave restores it."""

    _changing, _inside, _level = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with quiet_opencv._changing:
            if quiet_opencv._inside == 0:
                quiet_opencv._level = cv2.getLogLevel()
                cv2.setLogLevel(0)
            quiet_opencv._inside += 1

    def __exit__(self, *_) -> None:
        with quiet_opencv._changing:
            quiet_opencv._inside -= 1
            if quiet_opencv._inside == 0:
                cv2.setLogLevel(quiet_opencv._level)


def find_files(folder: Path, wanted: Callable[[str], bool], what: str) -> List[str]:
    """Files below a folder, as sorted relative paths with forward slashes; symbolic links to folders are not followed, and
    names that start with a dot are left out. Raises UserError, saying `what` was looked for, if there are none."""
    if not folder.exists():
        raise UserError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file, where a folder is needed")
    names = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = Path(parent).relative_to(folder).as_posix() + "/"
        prefix = "" if prefix == "./" else prefix
        names += [prefix + name for name in files if wanted(name) and not name.startswith(".")]
    if not names:
        raise UserError(f"{folder}: no {what}")
    return sorted(names)


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """uint8 0..255 to float32 [0, 1]."""
    return np.divide(pixels, np.float32(255), dtype=np.float32)
