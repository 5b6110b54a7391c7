"""Converts the pixels of an image to a sample: crop, resize, RGB or greyscale."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dgn.config import Data

Crop = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the upright image; right and bottom exclusive


@dataclass(frozen=True)
class Cut:
    """The part of an image that is used, and the size of a sample.

    size: height and width of a sample in pixels.
    crop: the part that is resized to this size, stretched if it is not square; None: the largest centred square.
    grey: one channel instead of RGB; images of the other kind are converted.
    """

    size: int
    crop: Crop | None = None
    grey: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of a sample."""
        return 1 if self.grey else 3, self.size, self.size

    def box(self, height: int, width: int) -> Crop:
        """The crop in an image of this size. Raises ValueError if it reaches outside of the image."""
        if self.crop is None:
            side = min(height, width)
            left, top = (width - side) // 2, (height - side) // 2
            return left, top, left + side, top + side
        if not self.fits(height, width):
            left, top, right, bottom = self.crop
            raise ValueError(f"crop (left {left}, top {top}, right {right}, bottom {bottom}) reaches outside of this "
                             f"image of {width} x {height} pixels (width x height); data.crop=null takes its middle "
                             "square")
        return self.crop

    def fits(self, height: int, width: int) -> bool:
        """Whether the crop lies within an image of this size."""
        return self.crop is None or self.crop[2] <= width and self.crop[3] <= height

    def enlarges(self, height: int, width: int) -> bool:
        """Whether the crop of an image of this size is smaller than a sample. Raises ValueError like `box`."""
        left, top, right, bottom = self.box(height, width)
        return min(right - left, bottom - top) < self.size

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """A sample, `shape` uint8, from an image (H, W) or (H, W, 3) uint8. Raises ValueError like `box`."""
        left, top, right, bottom = self.box(*pixels.shape[:2])
        pixels = resize(pixels[top:bottom, left:right], self.size)
        if self.grey:
            return (pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[None]
        return np.ascontiguousarray(in_colour(pixels).transpose(2, 0, 1))


def cut_of(data: Data) -> Cut:
    """The crop and size in a config."""
    return Cut(data.size, data.crop, data.grey)


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """Converts an image (H, W) or (H, W, 3) to (H, W, 3)."""
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """An image (H, W) or (H, W, C) as size x size pixels. An axis that shrinks is averaged over areas; one that grows
    is interpolated (bicubic)."""
    for height, width, method in ((min(pixels.shape[0], size), min(pixels.shape[1], size), cv2.INTER_AREA),
                                  (size, size, cv2.INTER_CUBIC)):
        if pixels.shape[:2] != (height, width):
            pixels = cv2.resize(pixels, (width, height), interpolation=method)
    return pixels
