"""Image files: decoding to upright, opaque 8-bit pixels, and a fast check of a file's structure.

OpenCV decodes. It does not turn WebP and transparent PNG upright, drops the transparent colour of a grayscale PNG,
fills what a truncated file lacks without an error, and multiplies the colours of an 8-bit TIFF by its alpha; these
cases are handled here.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from pathlib import Path
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

import cv2
import numpy as np

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_TIFF = (b"II*\0", b"MM\0*")
_JPEG_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # a marker that is no stuffed byte and no restart
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN, _APP1 = 0xD8, 0xD9, 0xDA, 0xE1
_START_OF_FRAME = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_ORIENTATION, _EXTRA_SAMPLES = 0x112, 338  # TIFF tags, the first also of EXIF
_ASSOCIATED, _UNASSOCIATED = 1, 2  # values of ExtraSamples: colours multiplied by alpha, or not
_HEAD, _TAIL = 1 << 16, 1 << 10  # bytes that the fast check reads


def decode(path: Path) -> np.ndarray:
    """The pixels of an image file: (H, W) if it is grayscale, else (H, W, 3) RGB; uint8.

    16-bit channels are scaled to 8, a transparent image is laid on white, and the image is turned upright by its EXIF
    orientation. Of an animation the first image is used; bytes after the end of an image, such as the video of a motion
    photo, are ignored. Raises ValueError with the reason, without the name, if the file cannot be used.
    """
    data = read_file(path)
    if data.startswith(_JPEG) and not _is_whole_jpeg(data) or data.startswith(_PNG) and b"IEND" not in data:
        raise ValueError("the file is cut short")
    # IMREAD_UNCHANGED is the only way to alpha, and ignores the orientation of all formats but TIFF
    flags = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if data.startswith(_JPEG) else cv2.IMREAD_UNCHANGED
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"OpenCV refuses to decode it ({error.err})") from None
    if pixels is None:
        raise ValueError("not an image that OpenCV can decode: damaged, or another kind of file under this name")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"its channels are {pixels.dtype}, where 8 or 16 bits are needed")
    properties = _properties(data)
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        pixels = _with_white(pixels, properties.transparent_colour)
    multiplied = properties.alpha == _ASSOCIATED or properties.alpha == _UNASSOCIATED and pixels.dtype == np.uint8
    if pixels.dtype == np.uint16:
        pixels = cv2.convertScaleAbs(pixels, alpha=1 / 257)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = _on_white(pixels, multiplied)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return turn_upright(pixels, properties.orientation)


def check_file(path: Path) -> None:
    """Raises ValueError with the reason if a path is not a file with content: a named pipe would block, a device would
    never end."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is no regular file")
    if not status.st_size:
        raise ValueError("the file is empty")


def read_file(path: Path) -> bytes:
    """The content of a file. Raises ValueError with the reason if it cannot be read, or is empty."""
    check_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None


def quick_size(path: Path) -> Optional[Tuple[int, int]]:
    """(height, width) of the upright image in a JPEG or PNG file, of which only the first and last bytes are read.

    None if these do not show a complete file of known size; `decode` then finds out whether it can be used.
    """
    try:
        check_file(path)
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            length = os.fstat(file.fileno()).st_size
            file.seek(max(length - _TAIL, 0))
            tail = file.read(_TAIL)
    except (OSError, ValueError):
        return None
    if head.startswith(_PNG) and tail[-8:-4] == b"IEND" and head[12:16] == b"IHDR":
        width, height = struct.unpack(">II", head[16:24])
        return _upright_size(height, width, _properties(head).orientation)
    if not head.startswith(_JPEG) or b"\xff\xd9" not in tail:
        return None
    end_mark, height, width, orientation = max(length - _TAIL, 0) + tail.rfind(b"\xff\xd9"), 0, 0, 1
    for marker, start, end in _jpeg_segments(head):
        if marker == _APP1 and head.startswith(b"Exif\0\0", start):
            orientation = _valid(_tiff_tags(head[start + 6:end]).get(_ORIENTATION, 1))
        elif marker in _START_OF_FRAME and end - start >= 6:
            height, width = struct.unpack(">HH", head[start + 1:start + 5])
        elif marker == _START_OF_SCAN:
            return _upright_size(height, width, orientation) if height and width and end_mark > end else None
    return None


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """An image (H, W, ...) turned and mirrored by an EXIF orientation, 1 to 8; the result is contiguous."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels)


def _upright_size(height: int, width: int, orientation: int) -> Tuple[int, int]:
    return (width, height) if orientation >= 5 else (height, width)


class _Properties(NamedTuple):
    """What a file says of its pixels that OpenCV does not apply."""

    orientation: int = 1
    transparent_colour: Optional[np.ndarray] = None  # of a PNG: BGR or gray, (channels,) in the pixels' own range
    alpha: Optional[int] = None  # ExtraSamples of a TIFF


def _properties(data: bytes) -> _Properties:
    """Properties of a PNG, WebP or TIFF."""
    if data.startswith(_PNG):
        chunks = {kind: data[start:end] for kind, start, end in _png_chunks(data)}
        orientation = _tiff_tags(chunks.get(b"eXIf", b"")).get(_ORIENTATION, 1)
        return _Properties(_valid(orientation), _transparent_colour(chunks))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        exif = next((data[start:end] for kind, start, end in _riff_chunks(data) if kind == b"EXIF"), b"")
        return _Properties(_valid(_tiff_tags(exif.removeprefix(b"Exif\0\0")).get(_ORIENTATION, 1)))
    if data.startswith(_TIFF):  # OpenCV turns it upright itself
        return _Properties(alpha=_tiff_tags(data).get(_EXTRA_SAMPLES))
    return _Properties()


def _valid(orientation: int) -> int:
    return orientation if 1 <= orientation <= 8 else 1


def _is_whole_jpeg(data: bytes) -> bool:
    """Whether a JPEG has its end mark: after the last start of a scan (an embedded thumbnail has marks of its own,
    before it), or at the end of its segments, where the video of a motion photo may follow."""
    return (data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
            or any(marker == _END_OF_IMAGE for marker, _, _ in _jpeg_segments(data)))


def _jpeg_segments(data: bytes) -> Iterator[Tuple[int, int, int]]:
    """(marker, start, end of its content) of the segments of a JPEG up to its end mark, or as far as they are there."""
    position = 2
    while True:
        match = _JPEG_MARKER.search(data, position)  # after a start of scan: the end of its entropy-coded data
        if match is None:
            return
        marker, start = match[0][-1], match.end()
        if marker == _END_OF_IMAGE:
            yield marker, start, start
            return
        if marker in (0x01, _START_OF_IMAGE):  # no content
            position = start
            continue
        if start + 2 > len(data):
            return
        position = start + int.from_bytes(data[start:start + 2], "big")
        yield marker, start + 2, position


def _png_chunks(data: bytes) -> Iterator[Tuple[bytes, int, int]]:
    """(kind, start, end) of the chunks of a PNG."""
    position = len(_PNG)
    while position + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[position:position + 8])
        yield kind, position + 8, position + 8 + length
        position += length + 12


def _riff_chunks(data: bytes) -> Iterator[Tuple[bytes, int, int]]:
    """(kind, start, end) of the chunks of a WebP."""
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack("<4sI", data[position:position + 8])
        yield kind, position + 8, position + 8 + length
        position += 8 + length + length % 2


def _tiff_tags(data: bytes) -> Dict[int, int]:
    """{tag: first value} of the 16-bit tags in the first directory of TIFF or EXIF data; empty if they are
    malformed."""
    if data[:4] not in _TIFF:
        return {}
    order = "<" if data[:1] == b"I" else ">"
    try:
        directory, = struct.unpack_from(f"{order}I", data, 4)
        count, = struct.unpack_from(f"{order}H", data, directory)
        entries = [struct.unpack_from(f"{order}HHIH", data, directory + 2 + 12 * k) for k in range(count)]
    except struct.error:
        return {}
    return {tag: value for tag, kind, _, value in entries if kind == 3}


def _transparent_colour(chunks: Dict[bytes, bytes]) -> Optional[np.ndarray]:
    """The colour that is transparent in a grayscale or RGB PNG (tRNS), as OpenCV decodes it."""
    header, key = chunks.get(b"IHDR", b""), chunks.get(b"tRNS", b"")
    if len(header) != 13 or header[9] not in (0, 2) or len(key) != (2 if header[9] == 0 else 6):
        return None
    depth, levels = header[8], np.frombuffer(key, ">u2")[::-1]
    if depth < 8:
        levels = levels * (255 // (2 ** depth - 1))
    return levels.astype(np.uint16)


def _with_white(pixels: np.ndarray, transparent: Optional[np.ndarray]) -> np.ndarray:
    """An image without alpha, with one colour replaced by white."""
    channels = pixels if pixels.ndim == 3 else pixels[..., None]
    if transparent is None or channels.shape[2] != len(transparent):
        return pixels
    channels[(channels == transparent).all(2)] = np.iinfo(pixels.dtype).max
    return pixels


def _on_white(pixels: np.ndarray, multiplied: bool) -> np.ndarray:
    """BGR of a BGRA image (H, W, 4) uint8 laid on white. multiplied: its colours are already multiplied by alpha."""
    alpha = pixels[..., 3:].astype(np.float32) / 255
    colours = pixels[..., :3].astype(np.float32) if multiplied else pixels[..., :3] * alpha
    return np.rint(np.minimum(colours + 255 * (1 - alpha), 255)).astype(np.uint8)
