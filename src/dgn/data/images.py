"""A folder of images of any size, read when they are needed."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Tuple

import cv2
import numpy as np

from dgn.data.folder import Folder, find_files
from dgn.errors import UserError
from dgn.files import disk_errors

Crop = Tuple[int, int, int, int]

EXTENSIONS = (".bmp", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".tif", ".tiff",
              ".webp")

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


class ImageFolder(Folder):
    """The images under a folder (a Source), sorted by relative path, each cropped and resized to size x size.

    size: height and width of a sample, pixels.
    crop: (left, top, right, bottom) in pixels of the upright image, right and bottom exclusive, or None for the largest
        centred square. A crop that is not square is stretched to one.
    grey: one channel instead of RGB; images of the other kind are converted.
    corrupt, cache_mb: see Folder.
    pattern: only the files whose relative path, or its last part, matches, such as "*-11.jpg".
    names: these files, in this order, instead of all.
    first, limit: the part files[first:][:limit] of the sorted files, as slices, before any are skipped: the last 200
        are first=-200, all others limit=-200.
    Raises UserError where the folder or the arguments are wrong; `read` raises it where a file is.
    """

    def __init__(self, folder: str | Path, size: int, crop: Crop | None, grey: bool, corrupt: str = "error",
                 limit: int | None = None, first: int = 0, cache_mb: int = 256, pattern: str | None = None,
                 names: list[str] | None = None) -> None:
        check_cut(size, crop)
        self._crop = crop
        found = find_images(Path(folder)) if names is None else names
        if pattern is not None:
            found = matching(found, pattern, folder)
        chosen = found[first:][:limit]
        if not chosen:
            raise UserError(f"{folder}: first={first}, limit={limit} selects none of its {len(found)} images")
        super().__init__(Path(folder), chosen, (1 if grey else 3, size, size), corrupt, cache_mb)

    def decode(self, name: str) -> np.ndarray:
        """(C, size, size) uint8."""
        return prepare(decode(self._folder / name), self._crop, self.shape[0], self.shape[1])

    def people(self) -> list[str] | None:
        """Whom each image shows, if a file of identities tells it of all of them (read_identities)."""
        known = read_identities(self._folder)
        people = [known.get(PurePosixPath(name).name) for name in self._names]
        return people if all(people) else None


def read_identities(folder: Path) -> dict[str, str]:
    """File name -> person, from identity.txt in the folder or the one above it, as CelebA has it: lines of a file's name and a
    person. Empty without such a file. Raises UserError for a line that is not so."""
    path = next((path for path in (folder / "identity.txt", folder.resolve().parent / "identity.txt") if path.is_file()), None)
    if path is None:
        return {}
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    for number, row in enumerate(rows, 1):
        if len(row) != 2:
            raise UserError(f"{path}, line {number}: must be a file's name and a person, such as 000001.jpg 2880")
    return {name: person for name, person in rows}


def check_cut(size: int, crop: Crop | None) -> None:
    """Raises UserError for a size or crop that no image can have."""
    if size < 1:
        raise UserError(f"image size {size}: must be at least 1 pixel")
    if crop is not None and not (0 <= crop[0] < crop[2] and 0 <= crop[1] < crop[3]):
        raise UserError(f"crop {tuple(crop)}: must be (left, top, right, bottom) in pixels with 0 <= left < right and "
                        "0 <= top < bottom")


def matching(names: list[str], pattern: str, folder: str | Path) -> list[str]:
    """The names whose path, or its last part, matches. Raises UserError if none does."""
    chosen = [name for name in names if PurePosixPath(name).match(pattern)]
    if not chosen:
        raise UserError(f"{folder}: none of its {len(names)} images or clips matches data.files = {pattern!r}")
    return chosen


def prepare(pixels: np.ndarray, crop: Crop | None, channels: int, size: int) -> np.ndarray:
    """Decoded pixels, cut and resized, (channels, size, size) uint8; ValueError if the crop is outside."""
    pixels = fit(cut(pixels, crop), size)
    if channels == 1:
        pixels = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        return pixels[None]
    pixels = pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def find_images(folder: Path) -> list[str]:
    """The image files under `folder` by extension, as sorted relative paths with forward slashes; UserError if none."""
    return find_files(folder, is_image, f"images in it or its subfolders; looked for {' '.join(EXTENSIONS)}")


def is_image(name: str) -> bool:
    """Whether a file's name is one of an image that OpenCV may read."""
    return name.lower().endswith(EXTENSIONS)


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


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an image (C, H, W) in [0, 1] as PNG; its folder is made. Raises RunFailed if the disk refuses."""
    pixels = np.rint(255 * np.clip(image, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.shape[2] == 3 else pixels
    data = cv2.imencode(".png", pixels)[1]
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
