"""Images in memory as a data set."""

from __future__ import annotations

import hashlib

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
