"""Images in memory: a data set of them, and checks of arrays that are given to a Run."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from dgn.data.cut import Cut
from dgn.data.pixels import to_unit
from dgn.data.source import Source
from dgn.errors import UserError


class ArrayImages(Source):
    """The images of an array, named by their index.

    pixels: (N, H, W) or (N, H, W, 1) greyscale, or (N, H, W, 3) RGB, uint8; cut: crop and size of every sample. Raises
    UserError for another array, or one in which the crop does not fit.
    """

    def __init__(self, pixels: np.ndarray, cut: Cut) -> None:
        if pixels.ndim == 4 and pixels.shape[3] == 1:
            pixels = pixels[..., 0]
        grey = pixels.ndim == 3 and pixels.shape[2] > 4  # else it is a single image (H, W, C)
        if pixels.dtype != np.uint8 or not len(pixels) or not (grey or pixels.ndim == 4 and pixels.shape[3] == 3):
            raise UserError(f"images are {pixels.dtype} {pixels.shape}; they must be the path of a folder, or an array "
                            "(N, H, W) or (N, H, W, 3) of uint8 (from values in [0, 1]: np.rint(255 * "
                            "images).astype(np.uint8))")
        try:
            cut.box(*pixels.shape[1:3])
        except ValueError as reason:
            raise UserError(f"images {pixels.shape}: {reason}") from None
        self.shape, self._pixels, self._cut = cut.shape, pixels, cut

    def __len__(self) -> int:
        return len(self._pixels)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return to_unit(np.stack([self._cut.apply(self._pixels[index]) for index in indices]))

    def name(self, index: int) -> str:
        return f"{index:06d}"

    def identity(self) -> str:
        return f"array {self._pixels.shape} {hashlib.sha256(self._pixels.tobytes()).hexdigest()[:16]}"


def checked_images(images: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Images or clips (N, *shape) as float32. Raises UserError for another type or shape, or values outside [0, 1]."""
    wanted = f"an array (N, {', '.join(map(str, shape))}) of float32 in [0, 1]"
    if not isinstance(images, np.ndarray):
        raise UserError(f"images are {type(images).__name__}, not {wanted}; dgn.images(path, like=run) opens the "
                        "images of a folder")
    if images.shape[1:] != shape or not len(images) or images.dtype.kind != "f":
        remedy = ("dgn.images(folder, like=run) opens a folder of clips, also shorter ones" if len(shape) == 4 else
                  "dgn.images(array, like=run) crops and resizes uint8 images (N, H, W, 3)")
        raise UserError(f"images are {images.dtype} {images.shape}; they must be {wanted}. {remedy}")
    if not (images.min() >= -0.01 and images.max() <= 1.01):  # also false for NaN; interpolation may overshoot
        raise UserError(f"images have values from {images.min():.3g} to {images.max():.3g}; they must be {wanted} "
                        "(np.clip(images, 0, 1), or divide by 255)")
    return np.ascontiguousarray(images, np.float32)


def checked_mask(mask: np.ndarray | None, samples: np.ndarray, clips: bool) -> np.ndarray | None:
    """The mask (N, F) of clips (N, F, C, H, W), ones by default; None for images. Raises UserError for a mask of
    images, or of another shape."""
    if not clips:
        if mask is not None:
            raise UserError("a mask says which frames clips have, and this model makes images; pixels cannot be masked")
        return None
    if mask is not None and np.shape(mask) != samples.shape[:2]:
        raise UserError(f"mask has the shape {np.shape(mask)}; it must be {samples.shape[:2]}, 1 where a clip has the "
                        "frame, else 0")
    return np.ones(samples.shape[:2], np.float32) if mask is None else np.asarray(mask, np.float32)
