"""Pixels as bytes, as values in [0, 1], and in a cache."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue in a grey value, as OpenCV's


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Converts values, clipped to [0, 1], to uint8 0..255."""
    return np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """Converts uint8 0..255 to float32 in [0, 1]."""
    return np.divide(pixels, np.float32(255), dtype=np.float32)


def to_grey(image: np.ndarray) -> np.ndarray:
    """Converts an image (3, H, W) to (1, H, W)."""
    return np.tensordot(np.array(GREY, np.float32), image, 1)[None]


class PixelCache:
    """Pixels by sample index: of the samples that are read first, up to a limit in megabytes. Threads may share it."""

    def __init__(self, megabytes: float) -> None:
        self.nbytes, self._limit = 0, megabytes * 2 ** 20
        self._pixels: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def get(self, index: int) -> np.ndarray | None:
        """The cached pixels of a sample, or None."""
        return self._pixels.get(index)

    def fetch(self, index: int, make: Callable[[int], np.ndarray]) -> np.ndarray:
        """The cached pixels of a sample; if there are none, make(index), which is then cached."""
        pixels = self.get(index)
        if pixels is None:
            pixels = make(index)
            self.add(index, pixels)
        return pixels

    def add(self, index: int, pixels: np.ndarray) -> None:
        """Caches the pixels of a sample if the limit allows it."""
        with self._lock:
            if index not in self._pixels and self.nbytes + pixels.nbytes <= self._limit:
                # a view would keep the whole image that it is cut from
                self._pixels[index] = pixels if pixels.base is None else pixels.copy()
                self.nbytes += pixels.nbytes
