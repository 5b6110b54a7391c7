"""Official files of MNIST (idx) and CIFAR-10 (binary version), read by mindspore.dataset into memory."""

from __future__ import annotations

import gzip
import math
import shutil
import tempfile
import zlib
from pathlib import Path

import mindspore.dataset as ds
import numpy as np

from dgn.data.cut import resize
from dgn.data.decoding import MAX_BYTES
from dgn.data.pixels import GREY, to_unit
from dgn.data.source import Source
from dgn.errors import UserError, dataset_cause

CATEGORIES = {
    "mnist": tuple("0123456789"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}
_FILES = {"mnist": ("*-images*idx3-ubyte*", "train-images-idx3-ubyte, t10k-labels-idx1-ubyte ... (also .gz)"),
          "cifar10": ("*_batch*.bin", "data_batch_1.bin ... test_batch.bin")}


class LabelledImages(Source):
    """Images with class labels, in memory.

    pixels: (n, C, H, W) uint8. labels: (n,) int64. count: number of classes. title: title of the dataset, for names and
    identity.
    """

    def __init__(self, pixels: np.ndarray, labels: np.ndarray, count: int, title: str) -> None:
        self.pixels, self.class_labels, self.count, self.title = pixels, labels, count, title
        self.shape = pixels.shape[1:]

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return to_unit(self.pixels[np.asarray(indices)])

    def labels(self, indices: np.ndarray) -> np.ndarray:
        return self.class_labels[np.asarray(indices)]

    def classes(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        return f"{self.title.replace(' ', '_')}_{int(index):05d}.png"

    def identity(self) -> str:
        return f"{self.title}, {len(self)} images"


def open_set(kind: str, folder: str, split: str, category: str | None, size: int, grey: bool) -> LabelledImages:
    """The images of an official dataset in `folder` as size x size pixels.

    kind: mnist or cifar10. split: all, train or test. category: a class in CATEGORIES, or None for all. 28x28 digits
    are padded to 32x32 before they are resized, because the generators double 4x4. Raises UserError if the files are
    missing or invalid, or if the category is unknown.
    """
    known = CATEGORIES[kind]
    if category is not None and category not in known:
        raise UserError(f"data.category is {category!r}; {kind} has {', '.join(known)}")
    pixels, classes = _read(kind, Path(folder), split)
    if category is not None:
        pixels, classes = (a[classes == known.index(category)] for a in (pixels, classes))
        if not len(pixels):
            raise UserError(f"{folder}: no image of {category} in its split {split}")
    if pixels.shape[1] == 28:
        pixels = np.pad(pixels, ((0, 0), (2, 2), (2, 2), (0, 0)))
    pixels = np.stack([resize(image, size).reshape(size, size, -1) for image in pixels])
    if pixels.shape[3] == 1 and not grey:
        pixels = pixels.repeat(3, 3)
    elif pixels.shape[3] == 3 and grey:
        pixels = np.rint(pixels @ np.array(GREY))[..., None].astype(np.uint8)
    title = " ".join(filter(None, (kind, split, category)))
    return LabelledImages(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), classes, len(known), title)


def _read(kind: str, folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, H, W, C) uint8 and (n,) int64."""
    pattern, expected = _FILES[kind]
    if not folder.is_dir() or not any(folder.glob(pattern)):
        raise UserError(f"{folder}: no {kind} files in it; looked for {expected}")
    reader = {"mnist": ds.MnistDataset, "cifar10": ds.Cifar10Dataset}[kind]
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = _unpacked(folder, Path(scratch))
        try:
            dataset = reader(str(unpacked), usage=split, shuffle=False, num_parallel_workers=1)
            rows = list(dataset.create_tuple_iterator(num_epochs=1, output_numpy=True))
        except (RuntimeError, ValueError) as error:
            raise UserError(f"{folder}: {kind}, split {split}, cannot be read: {dataset_cause(error)}") from None
    return np.stack([image for image, _ in rows]), np.array([int(label) for _, label in rows])


def _unpacked(folder: Path, scratch: Path) -> Path:
    """`folder`, or a copy of it in `scratch` with its .gz files unpacked, as mindspore.dataset needs them."""
    packed = sorted(folder.glob("*-ubyte.gz"))
    if not packed:
        return folder
    for path in packed:
        try:
            with gzip.open(path) as file:
                # reads at most one byte more than the header announces: a small file may unpack to gigabytes. The
                # header is two zeros, the type, the number of dimensions, and each extent in four bytes
                header = file.read(4)
                header += file.read(4 * header[3])
                size = math.prod(int.from_bytes(header[k:k + 4], "big") for k in range(4, len(header), 4))
                (scratch / path.name[:-3]).write_bytes(header + file.read(min(size + 1, MAX_BYTES)))
        except (OSError, EOFError, IndexError, zlib.error) as error:
            raise UserError(f"{path} cannot be unpacked: {error}") from None
    for path in folder.glob("*-ubyte"):
        shutil.copyfile(path, scratch / path.name)
    return scratch
