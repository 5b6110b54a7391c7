"""Image files of many kinds give the same upright, opaque pixels; truncated ones are refused."""

from __future__ import annotations

import os
import runpy
import struct
import threading
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from dgn.data import decoding
from dgn.data.decoding import decode, quick_size, turn_upright

# Pillow's mode and the file's format; the last three have alpha
KINDS = [("L", "JPEG"), ("RGB", "JPEG"), ("L", "PNG"), ("RGB", "PNG"), ("P", "PNG"), ("I;16", "PNG"), ("L", "TIFF"),
         ("RGB", "TIFF"), ("RGB", "WEBP"), ("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF")]


def mosaic(mode: str) -> Image.Image:
    """48 x 32 pixels (width x height) of 16 x 16 blocks without any symmetry."""
    levels = np.array([[10, 200, 90], [240, 60, 150]], np.uint8).repeat(16, 0).repeat(16, 1)
    if mode == "I;16":
        return Image.fromarray(levels.astype(np.uint16) * 257)
    colours = np.stack([levels, levels // 2 + 40, 255 - levels, np.where(levels > 100, 255, 100)], -1).astype(np.uint8)
    picture = Image.fromarray(colours if mode == "RGBA" else colours[..., :3])
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(levels), Image.fromarray(colours[..., 3])])
    return picture.quantize(8) if mode == "P" else picture.convert(mode)


def on_white(picture: Image.Image) -> np.ndarray:
    """RGB pixels of a picture laid on white, as Pillow composes them."""
    if picture.mode == "I;16":
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")).astype(int)


@pytest.mark.parametrize("mode, format", KINDS)
def test_every_orientation_of_every_format_is_turned_upright(tmp_path, mode, format):
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 98, "subsampling": 0}}.get(format, {})
        path = tmp_path / f"{orientation}.{format.lower()}"
        mosaic(mode).save(path, format, exif=exif, **options)
        pixels = decode(path)
        expected = turn_upright(on_white(mosaic(mode)), orientation)
        pixels = pixels if pixels.ndim == 3 else pixels[..., None].repeat(3, 2)
        assert pixels.shape == expected.shape, orientation
        assert np.abs(pixels - expected).max() <= (12 if format == "JPEG" else 1), orientation
        assert quick_size(path) in (None, pixels.shape[:2])
        assert pixels.shape == ((48, 32, 3) if orientation >= 5 else (32, 48, 3))


def test_orientations_are_those_of_exif():
    corners = np.array([[1, 2], [3, 4]])
    turned = {1: [[1, 2], [3, 4]], 2: [[2, 1], [4, 3]], 3: [[4, 3], [2, 1]], 4: [[3, 4], [1, 2]],
              5: [[1, 3], [2, 4]], 6: [[3, 1], [4, 2]], 7: [[4, 2], [3, 1]], 8: [[2, 4], [1, 3]]}
    for orientation, expected in turned.items():
        np.testing.assert_array_equal(turn_upright(corners, orientation), expected, err_msg=str(orientation))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(depth: int, colour: int, row: bytes, key: bytes) -> bytes:
    """A PNG of 2 x 1 pixels with a transparent colour (tRNS)."""
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, colour, 0, 0, 0))
            + chunk(b"tRNS", key) + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b""))


@pytest.mark.parametrize("depth, colour, row, key, second", [
    (1, 0, bytes([0b10000000]), struct.pack(">H", 1), [0]),
    (8, 0, bytes([10, 20]), struct.pack(">H", 10), [20]),
    (8, 2, bytes([1, 2, 3, 1, 2, 4]), struct.pack(">HHH", 1, 2, 3), [1, 2, 4]),
    (16, 2, struct.pack(">6H", 257, 514, 771, 257, 514, 1028), struct.pack(">HHH", 257, 514, 771), [1, 2, 4]),
])
def test_a_transparent_colour_is_white_as_in_the_rgba_twin(tmp_path, depth, colour, row, key, second):
    (tmp_path / "key.png").write_bytes(png(depth, colour, row, key))
    first, other = decode(tmp_path / "key.png")[0]
    assert (first == 255).all() and np.atleast_1d(other).tolist() == second


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_channels_of_16_bits_are_rounded_to_8(tmp_path, name, channels):
    levels = np.random.default_rng(0).integers(0, 1 << 16, (20, 30, channels), np.uint16)
    cv2.imwrite(str(tmp_path / name), levels)
    expected = np.rint(levels[..., ::-1] / 257)
    np.testing.assert_array_equal(decode(tmp_path / name), expected if channels == 3 else expected[..., 0])


def test_chunks_of_a_png_that_are_not_its_pixels_do_not_matter(tmp_path):
    """EXIF behind the pixels, a wrong checksum of the time, a text of 2 MB."""
    path = tmp_path / "a.png"
    mosaic("RGB").save(path)
    whole, upright = path.read_bytes(), np.asarray(mosaic("RGB"))
    exif = Image.Exif()
    exif[0x112] = 6
    end = whole.rindex(b"IEND") - 4
    path.write_bytes(whole[:end] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + whole[end:])
    np.testing.assert_array_equal(decode(path), turn_upright(upright, 6))
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * 2 ** 21))
    for extra in (chunk(b"tIME", bytes(7))[:-4] + b"\0\0\0\0", text):
        path.write_bytes(whole[:33] + extra + whole[33:])  # behind IHDR
        np.testing.assert_array_equal(decode(path), upright)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_is_ignored(tmp_path):
    photo, path = jpeg_of(32), tmp_path / "photo.jpg"
    path.write_bytes(photo)
    expected = decode(path)
    for exif in (bytes(20), b"MM\0*" + bytes(range(20)), b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x03\0\0\0abc\0"):
        content = b"Exif\0\0" + exif
        path.write_bytes(photo[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + photo[2:])
        np.testing.assert_array_equal(decode(path), expected)
        assert quick_size(path) == (32, 32)


def jpeg_of(side: int) -> bytes:
    """A JPEG of noise with an EXIF thumbnail, which has end marks of its own."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    thumbnail = cv2.imencode(".jpg", noise[:16, :16])[1].tobytes()
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    content = b"Exif\0\0" + thumbnail
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]


def test_the_video_behind_a_motion_photo_is_ignored_and_half_a_photo_is_refused(tmp_path):
    photo, path = jpeg_of(64), tmp_path / "photo.jpg"
    path.write_bytes(photo)
    expected = decode(path)
    # a video's bytes hold marks by chance: here the start of a scan after the last end of an image
    video = b"\0\0\0\x18ftypmp42" + np.random.default_rng(1).bytes(2000) + b"\xff\xd9\xff\xda" + bytes(3000)
    path.write_bytes(photo + video)
    np.testing.assert_array_equal(decode(path), expected)
    for cut in (len(photo) // 2, len(photo) - 2):
        path.write_bytes(photo[:cut])
        with pytest.raises(ValueError, match="cut short"):
            decode(path)
        assert quick_size(path) is None


@pytest.mark.parametrize("side", [16, 300])
def test_the_quick_check_gives_the_size_of_whole_files_only(tmp_path, side):
    noise = np.random.default_rng(0).integers(0, 256, (side, 2 * side, 3), np.uint8)
    for name, data in (("a.png", cv2.imencode(".png", noise)[1].tobytes()), ("a.jpg", jpeg_of(side)),
                       ("b.jpg", cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())):
        path = tmp_path / name
        path.write_bytes(data)
        assert quick_size(path) == decode(path).shape[:2]
        for end in (0, 1, 20, 100, len(data) // 2, len(data) - 3):
            path.write_bytes(data[:end])
            assert quick_size(path) is None, end
        path.unlink()
        assert quick_size(path) is None


@pytest.mark.parametrize("damage", [b"", chunk(b"tIME", bytes(7))[:-4] + b"\0\0\0\0"])
def test_images_of_too_many_pixels_and_files_of_too_many_bytes_are_refused(tmp_path, damage):
    """Pillow does not know a PNG with this damage, which OpenCV would decode."""
    path, side = tmp_path / "a.png", 2 ** 14 + 1
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + damage + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(ValueError, match="more than 268435456 pixels|exceeds limit of 268435456 pixels"):
        decode(path)
    assert quick_size(path) is None
    os.truncate(path, 2 ** 31 + 1)
    with pytest.raises(ValueError, match="the file has more than 2 GiB"):
        decode(path)


def test_the_limits_and_warnings_of_the_program_stay(tmp_path, monkeypatch):
    """Pillow's limits are global. A program may have stricter ones than dgn, which reads in several threads."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 50)
    filters = list(warnings.filters)
    runpy.run_path(decoding.__file__)
    path, inside, done = tmp_path / "a.png", threading.Barrier(2, timeout=10), []
    mosaic("RGBA").save(path)
    convert = decoding._by_pillow
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_by_pillow", lambda image: inside.wait() and None or convert(image))
        threads = [threading.Thread(target=lambda: done.append(decode(path))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [pixels.shape for pixels in done] == [(32, 48, 3)] * 2 and quick_size(path) == (32, 48)
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match="not an image"):
        decode(path)
    assert (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK) == (100, 50) and warnings.filters == filters


def test_a_named_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert quick_size(tmp_path / "pipe.png") is None
    with pytest.raises(ValueError, match="no regular file"):
        decode(tmp_path / "pipe.png")
