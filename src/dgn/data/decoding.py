"""Image files: decoding to upright, opaque 8-bit pixels, and a fast check that a file is complete.

Pillow reads the header. OpenCV decodes opaque images: JPEG takes about half the time, and 16-bit colours keep the lower
bits, which Pillow drops. Pillow decodes transparent images, and JPEG files whose last mark is not the end mark, because
OpenCV would fill missing parts without an error.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

import cv2
import numpy as np
from PIL import Image, PngImagePlugin, UnidentifiedImageError

from dgn.reading import file_size

Value = TypeVar("Value")

MAX_BYTES = 2 ** 31  # of a file
MAX_PIXELS = 2 ** 28  # of an image; a small file may hold many more
MAX_TEXT = 2 ** 26  # bytes of a text in a PNG; text is not used, so it is hardly a reason to refuse an image
_ORIENTATION = 0x112  # EXIF tag
_JPEG = ("JPEG", "MPO")  # MPO: a JPEG with further images behind it
_SCAN, _END, _PNG_END = b"\xff\xda", b"\xff\xd9", b"IEND\xaeB`\x82"  # marks of a JPEG; the last chunk of a PNG


def decode(path: Path) -> np.ndarray:
    """The pixels of an image file: (H, W) if it is greyscale, else (H, W, 3) RGB; uint8.

    16-bit channels are scaled to 8 bits, transparent images are put on white, and images are rotated upright according
    to their EXIF orientation. Animations give their first image; bytes after the end of an image, such as the video of
    a motion photo, are ignored. Raises ValueError with the reason (not the name) if the file cannot be used.
    """
    data = read_file(path)
    if data.startswith(b"\x89PNG") and _PNG_END not in data:
        raise ValueError("the file is cut short")
    try:
        with opened(io.BytesIO(data)) as image:
            if image.format == "PNG" and "exif" not in image.info and b"eXIf" in data:
                image.load()  # it may be behind the pixels
            orientation = _orientation(image)
            # a thumbnail's end mark is before the last scan; a video behind the image has such bytes by chance
            unsure = image.format in _JPEG and data.rfind(_END) < data.rfind(_SCAN)
            # Pillow would clip 16-bit greyscale, "I", when it converts it
            transparent = image.has_transparency_data and not image.mode.startswith("I")
            pixels = _by_pillow(image) if transparent or unsure else None
    except UnidentifiedImageError:
        if data.startswith(b"\x89PNG"):  # libpng tolerates damage outside of the pixels
            if int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big") > MAX_PIXELS:
                raise ValueError(f"it has more than {MAX_PIXELS} pixels") from None
            return _by_opencv(data)
        raise ValueError("not an image that can be decoded: damaged, or another kind of file under this name") from None
    except Exception as error:  # damaged files make Pillow raise exceptions of many kinds
        raise ValueError(f"Pillow refuses it: damaged, cut short or too large ({error})") from None
    pixels = _by_opencv(data) if pixels is None else pixels
    return turn_upright(pixels, orientation)


def check_file(path: Path) -> int:
    """The size of a file in bytes. Raises ValueError with the reason if it is empty or no regular file."""
    try:
        size = file_size(path)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror or error})") from None
    if not size:
        raise ValueError("the file is empty")
    return size


def read_file(path: Path) -> bytes:
    """The content of a file. Raises ValueError with the reason if it cannot be read, is empty or too large."""
    if check_file(path) > MAX_BYTES:
        raise ValueError(f"the file has more than {MAX_BYTES / 2 ** 30:g} GiB")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


def quick_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of the upright image in a JPEG or PNG file; only the header and the last bytes are read.

    None if they do not show a complete file of known size; then `decode` finds out whether it can be used.
    """
    try:
        check_file(path)
        with open(path, "rb") as file, opened(file) as image:
            end = _END if image.format in _JPEG else _PNG_END
            file.seek(-len(end), os.SEEK_END)
            if image.format not in (*_JPEG, "PNG") or file.read() != end:
                return None
            return image.size if _orientation(image) >= 5 else image.size[::-1]
    except Exception:  # as in `decode`
        return None


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """An image (H, W, ...) rotated and mirrored according to an EXIF orientation, 1 to 8; the result is contiguous."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels)


class Shared(Generic[Value]):
    """A global setting of a library, changed while a thread is in the block: the first that enters sets it, the last
    that leaves restores what was before, which is that of the program that imports dgn."""

    def __init__(self, read: Callable[[], Value], write: Callable[[Value], object], value: Value) -> None:
        self._read, self._write, self._value = read, write, value
        self._lock, self._inside, self._before = threading.Lock(), 0, value

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._read()
                self._write(self._value)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._write(self._before)


def _set_limits(limits: tuple[int | None, int]) -> None:
    Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = limits


_LIMITS = Shared[tuple[int | None, int]](lambda: (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK), _set_limits,
                                         (MAX_PIXELS, MAX_TEXT))
quiet_opencv = Shared(cv2.getLogLevel, cv2.setLogLevel, 0)  # OpenCV prints no messages


@contextmanager
def opened(file: BinaryIO, formats: Sequence[str] | None = None) -> Iterator[Image.Image]:
    """An image file opened by Pillow. formats: those of Pillow that are tried (default: all). Raises ValueError if the
    image has more than MAX_PIXELS."""
    with _LIMITS, Image.open(file, formats=formats) as image:
        if image.width * image.height > MAX_PIXELS:  # Pillow itself refuses more than twice its limit
            raise ValueError(f"it has more than {MAX_PIXELS} pixels")
        yield image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a JPEG, PNG or WebP; 1 without one, and for TIFF, which decoders rotate upright."""
    exif = Image.Exif()  # not image.getexif(), which decodes a PNG to its end
    try:
        exif.load(image.info.get("exif", b""))
        orientation = exif.get(_ORIENTATION, 1)
    except Exception:  # damaged
        return 1
    return orientation if orientation in range(1, 9) else 1


def _by_pillow(image: Image.Image) -> np.ndarray:
    """8-bit pixels, on white if the image is transparent."""
    mode = "L" if image.mode in ("1", "L", "LA") else "RGB"
    return np.array((on_white(image) if image.has_transparency_data else image).convert(mode))


def on_white(image: Image.Image) -> Image.Image:
    """A transparent image on white."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _by_opencv(data: bytes) -> np.ndarray:
    """8-bit pixels of an opaque image. Raises ValueError with the reason if it cannot be decoded."""
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"OpenCV refuses to decode it ({error.err})") from None
    if pixels is None:
        raise ValueError("damaged, cut short or of a kind that OpenCV lacks")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"its channels are {pixels.dtype}; they must have 8 or 16 bits")
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if pixels.ndim == 3 else pixels
