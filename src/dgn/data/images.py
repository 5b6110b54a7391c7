"""A folder of images of any size, read when they are needed."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Optional, Tuple

import cv2
import numpy as np
from tqdm import tqdm

from dgn.errors import UserError
from dgn.files import disk_errors

Crop = Tuple[int, int, int, int]
log = logging.getLogger(__name__)
_CHECKED_AT_ONCE = 512

EXTENSIONS = (".bmp", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".tif", ".tiff",
              ".webp")

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


class ImageFolder:
    """The images under a folder (a Source), sorted by relative path, each cropped and resized to size x size.

    Symbolic links to folders are not followed and names that start with a dot are left out. Memory holds the paths
    and, up to `cache_mb`, the first images that were read, in 8 bits. `read` may be called from several threads.

    size: height and width of a sample, pixels.
    crop: (left, top, right, bottom) in pixels of the upright image, right and bottom exclusive, or None for the largest
        centred square. A crop that is not square is stretched to one.
    grey: one channel instead of RGB; images of the other kind are converted.
    corrupt: "error" stops at the read of a file that cannot be used; "skip" decodes every file now, and leaves the
        unusable ones out: `skipped` lists them as (relative path, reason).
    pattern: only the files whose relative path, or its last part, matches, such as "*-11.jpg".
    names: these files, in this order, instead of all.
    first, limit: the part files[first:][:limit] of the sorted files, as slices, before any are skipped: the last 200
        are first=-200, all others limit=-200.
    Raises UserError where the folder or the arguments are wrong; `read` raises it where a file is.
    """

    def __init__(self, folder: str | Path, size: int, crop: Crop | None, grey: bool, corrupt: str = "error",
                 limit: int | None = None, first: int = 0, cache_mb: int = 256, pattern: str | None = None,
                 names: list[str] | None = None) -> None:
        if size < 1:
            raise UserError(f"image size {size}: must be at least 1 pixel")
        if crop is not None and not (0 <= crop[0] < crop[2] and 0 <= crop[1] < crop[3]):
            raise UserError(f"crop {tuple(crop)}: must be (left, top, right, bottom) in pixels with 0 <= left < right and "
                            "0 <= top < bottom")
        if corrupt not in ("error", "skip"):
            raise UserError(f"corrupt={corrupt!r}: must be 'error' or 'skip'")
        self.shape = (1 if grey else 3, size, size)
        self.skipped: list[tuple[str, str]] = []
        self._folder, self._crop = Path(folder), crop
        self._workers = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))

        found = find_images(self._folder) if names is None else names
        if pattern is not None:
            every, found = len(found), [name for name in found if PurePosixPath(name).match(pattern)]
            if not found:
                raise UserError(f"{folder}: none of its {every} images matches data.files = {pattern!r}")
        self._names = found[first:][:limit]
        if not self._names:
            raise UserError(f"{folder}: first={first}, limit={limit} selects none of its {len(found)} images")
        if corrupt == "skip":
            self._leave_out_unusable()

        rows = min(len(self._names), cache_mb * 2**20 // int(np.prod(self.shape)))
        self._cache = np.empty((rows, *self.shape), np.uint8)
        self._slots = np.full(len(self._names), -1, np.int32)
        self._filled = 0
        self._filling = threading.Lock()

    def __len__(self) -> int:
        return len(self._names)

    def name(self, index: int) -> str:
        """The path of a sample's file relative to the folder, with forward slashes."""
        return self._names[index]

    def identity(self) -> str:
        """A digest of the files' names, in order."""
        return f"folder {hashlib.sha256(chr(10).join(self._names).encode()).hexdigest()[:16]}"

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The images at `indices`, (n, C, size, size) float32 in [0, 1], RGB; UserError names a file that is unusable."""
        indices = np.asarray(indices)
        images = np.empty((len(indices), *self.shape), np.uint8)
        slots = self._slots[indices]
        cached = slots >= 0
        images[cached] = self._cache[slots[cached]]
        missing = np.flatnonzero(~cached)
        for place, image in zip(missing, self._workers.map(self._load, indices[missing])):
            images[place] = image
            self._keep(indices[place], image)
        return to_unit(images)

    def _load(self, index: int) -> np.ndarray:
        path = self._folder / self._names[index]
        try:
            return self._prepare(path)
        except ValueError as reason:
            raise UserError(f"{path}: {reason}; replace or remove the file, or leave such files out with data.corrupt=skip") from None

    def _prepare(self, path: Path) -> np.ndarray:
        pixels = decode(path)
        pixels = fit(cut(pixels, self._crop), self.shape[1])
        if self.shape[0] == 1:
            pixels = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
            return pixels[None]
        pixels = pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
        return pixels.transpose(2, 0, 1)

    def _keep(self, index: int, image: np.ndarray) -> None:
        with self._filling:
            if self._filled < len(self._cache) and self._slots[index] < 0:
                self._cache[self._filled] = image
                # Only now: a reader on another thread must not see a slot before its image.
                self._slots[index] = self._filled
                self._filled += 1

    def _leave_out_unusable(self) -> None:
        level = cv2.getLogLevel()
        cv2.setLogLevel(0)
        try:
            reasons = []
            with tqdm(total=len(self._names), desc="checking images", unit="file", disable=not sys.stderr.isatty()) as bar:
                for start in range(0, len(self._names), _CHECKED_AT_ONCE):  # a map submits all its tasks at once
                    reasons += self._workers.map(self._fault, self._names[start:start + _CHECKED_AT_ONCE])
                    bar.update(len(reasons) - bar.n)
        finally:
            cv2.setLogLevel(level)
        self.skipped = [(name, reason) for name, reason in zip(self._names, reasons) if reason]
        self._names = [name for name, reason in zip(self._names, reasons) if not reason]
        if not self._names:
            name, reason = self.skipped[0]
            raise UserError(f"{self._folder}: none of {len(self.skipped)} images can be used; the first, {name}: {reason}")
        for name, reason in self.skipped:
            log.warning("left out: %s: %s", self._folder / name, reason)

    def _fault(self, name: str) -> Optional[str]:
        try:
            self._prepare(self._folder / name)
        except ValueError as reason:
            return str(reason)
        return None


def find_images(folder: Path) -> list[str]:
    """The image files under `folder` by extension, as sorted relative paths with forward slashes; UserError if none."""
    if not folder.exists():
        raise UserError(f"{folder}: no such folder")
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file, where a folder of images is needed")
    names = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = Path(parent).relative_to(folder).as_posix() + "/"
        prefix = "" if prefix == "./" else prefix
        names += [prefix + name for name in files if name.lower().endswith(EXTENSIONS) and not name.startswith(".")]
    if not names:
        raise UserError(f"{folder}: no images in it or its subfolders; looked for {' '.join(EXTENSIONS)}")
    return sorted(names)


def decode(path: Path) -> np.ndarray:
    """The pixels of an image file: (H, W) if it is grey, else (H, W, 3) RGB; uint8.

    16-bit channels are scaled to 8, a transparent image is laid on white, and an opaque one is turned upright by its
    EXIF orientation. ValueError says why the file cannot be used, without naming it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if not data:
        raise ValueError("the file is empty")
    # Older decoders fill what is missing with grey and say nothing. Bytes after the end are common and harmless.
    # In a JPEG the last end mark must follow the last start of scan: an embedded thumbnail has marks of its own.
    if (data.startswith(_JPEG) and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
            or data.startswith(_PNG) and b"IEND" not in data):
        raise ValueError("the file is cut short")

    buffer = np.frombuffer(data, np.uint8)
    oriented = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
    # OpenCV gives either alpha or orientation; only a JPEG is known beforehand to have no alpha.
    try:
        pixels = cv2.imdecode(buffer, oriented if data.startswith(_JPEG) else cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"OpenCV refuses to decode it ({error.err})") from None
    if pixels is None:
        raise ValueError("not an image that OpenCV can decode: damaged, or another kind of file under this name")
    transparent = pixels.ndim == 3 and pixels.shape[2] == 4
    if not transparent and (b"eXIf" in data or b"EXIF" in data) and not data.startswith(_JPEG):
        pixels = cv2.imdecode(buffer, oriented)

    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    if pixels.dtype != np.uint8:
        raise ValueError(f"its channels are {pixels.dtype}, where 8 or 16 bits are needed")
    if transparent:
        alpha = pixels[..., 3:].astype(np.float32) / 255
        pixels = np.rint(pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def cut(pixels: np.ndarray, crop: Crop | None) -> np.ndarray:
    """The part `crop` = (left, top, right, bottom) of an image, or its largest centred square; ValueError if outside."""
    height, width = pixels.shape[:2]
    if crop is None:
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        crop = (left, top, left + side, top + side)
    left, top, right, bottom = crop
    if right > width or bottom > height:
        raise ValueError(f"crop (left {left}, top {top}, right {right}, bottom {bottom}) reaches outside of this image of "
                         f"{width} x {height} pixels (width x height)")
    return pixels[top:bottom, left:right]


def fit(pixels: np.ndarray, size: int) -> np.ndarray:
    """An image resized to size x size."""
    height, width = pixels.shape[:2]
    if height == width == size:
        return pixels
    smaller = min(height, width) > size
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def to_unit(pixels: np.ndarray) -> np.ndarray:
    """uint8 0..255 to float32 [0, 1]."""
    return np.divide(pixels, np.float32(255), dtype=np.float32)


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an image (C, H, W) in [0, 1] as PNG; its folder is made. Raises RunFailed if the disk refuses."""
    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    data = cv2.imencode(".png", pixels)[1]
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
