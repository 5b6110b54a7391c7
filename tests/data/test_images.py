"""Folders of images: what is read, bit for bit, and how each unusable file is named."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dgn.config import Data
from dgn.data.cut import Cut
from dgn.data.folder import Reading
from dgn.data.images import ImageFolder, write_image
from dgn.data.open import open_sources
from dgn.errors import UserError


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A random RGB picture (H, W, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write(path, pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[..., ::-1] if pixels.ndim == 3 and pixels.shape[2] == 3 else pixels)


def test_images_come_sorted_cropped_and_in_rgb(tmp_path):
    for k, name in enumerate(("b/2.png", "a.png", "b/1.png")):
        write(tmp_path / name, picture(40, 30, k))
    source = ImageFolder(tmp_path, Cut(16, (3, 5, 19, 21)))
    assert [source.name(k) for k in range(3)] == ["a.png", "b/1.png", "b/2.png"] and source.shape == (3, 16, 16)
    expected = picture(40, 30, 1)[5:21, 3:19].transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_array_equal(source.read(np.array([0]))[0], expected)
    np.testing.assert_array_equal(source.read(np.array([2, 0, 2])), source.read(np.arange(3))[[2, 0, 2]])


def test_without_a_crop_the_central_square_is_resized(tmp_path):
    flat = np.zeros((20, 60, 3), np.uint8)
    flat[:, 20:40] = (200, 100, 50)
    write(tmp_path / "wide.png", flat)
    image = ImageFolder(tmp_path, Cut(32)).read(np.array([0]))[0]
    np.testing.assert_allclose(image.mean((1, 2)) * 255, (200, 100, 50), atol=0.5)


def test_an_axis_that_shrinks_is_averaged_also_if_the_other_grows():
    """One line in ten is white: each sample of an averaged axis has a part of it."""
    lines = np.zeros((60, 640), np.uint8)
    lines[:, 5::10] = 255
    for pixels in (lines, np.ascontiguousarray(lines.T)):
        sample = Cut(64, (0, 0, *pixels.shape[::-1]), grey=True).apply(pixels)[0]
        assert sample.shape == (64, 64) and np.abs(sample.astype(int) - 25.5).max() <= 1
    ramp = np.broadcast_to(np.arange(60, dtype=np.uint8)[:, None] * 4, (60, 640))  # along the axis that grows
    grown = Cut(64, (0, 0, 640, 60), grey=True).apply(np.ascontiguousarray(ramp))[0, 2:-2, 0]
    np.testing.assert_allclose(grown, 4 * ((np.arange(64) + 0.5) * 60 / 64 - 0.5)[2:-2], atol=1)


def test_grey_colour_alpha_and_16_bit(tmp_path):
    colour = picture(16, 16)
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    write(tmp_path / "1.png", colour)
    write(tmp_path / "2.png", grey)
    write(tmp_path / "3.png", (grey.astype(np.uint16) * 257))
    clear = np.dstack([colour[..., ::-1], np.zeros((16, 16), np.uint8)])
    cv2.imwrite(str(tmp_path / "4.png"), clear)
    as_grey = ImageFolder(tmp_path, Cut(16, grey=True)).read(np.arange(4))
    np.testing.assert_array_equal(as_grey[0], as_grey[1])
    np.testing.assert_array_equal(as_grey[1], as_grey[2])
    assert (as_grey[3] == 1).all()  # wholly transparent: white
    in_colour = ImageFolder(tmp_path, Cut(16)).read(np.array([1]))[0]
    assert (in_colour[0] == in_colour[1]).all()


def harm(tmp_path) -> dict:
    """Unusable files by name, with a part of what should be said of each."""
    good = tmp_path / "a_good.png"
    write(good, picture(32, 32))
    jpg = cv2.imencode(".jpg", picture(64, 64))[1].tobytes()
    png = good.read_bytes()
    (tmp_path / "b_text.jpg").write_text("this is a letter, not a picture\n" * 40)
    (tmp_path / "c_short.jpg").write_bytes(jpg[:len(jpg) // 2])
    (tmp_path / "d_short.png").write_bytes(png[:len(png) // 2])
    (tmp_path / "e_empty.png").write_bytes(b"")
    return {"b_text.jpg": "not an image", "c_short.jpg": "cut short", "d_short.png": "cut short",
            "e_empty.png": "empty"}


def test_each_unusable_file_is_named_with_the_reason(tmp_path):
    reasons = harm(tmp_path)
    source = ImageFolder(tmp_path, Cut(16))
    source.read(np.array([0]))
    for index, (name, reason) in enumerate(reasons.items(), 1):
        with pytest.raises(UserError, match=f"{name}.*{reason}"):
            source.read(np.array([index]))


def test_skip_leaves_the_unusable_ones_out_from_the_start(tmp_path):
    reasons = harm(tmp_path)
    source = ImageFolder(tmp_path, Cut(16), Reading(corrupt="skip"))
    assert len(source) == 1 and source.name(0) == "a_good.png"
    assert {name for name, _ in source.skipped} == set(reasons)
    (tmp_path / "a_good.png").unlink()
    with pytest.raises(UserError, match="none of 4 files can be used"):
        ImageFolder(tmp_path, Cut(16), Reading(corrupt="skip"))


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_an_image_beyond_the_decoders_limit_is_named(tmp_path):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0))
    content = chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + content)
    with pytest.raises(UserError, match="huge.png.*refuses"):
        ImageFolder(tmp_path, Cut(16)).read(np.array([0]))


def test_orientation_tags_are_followed_and_trailing_bytes_ignored(tmp_path):
    upright = np.zeros((40, 40, 3), np.uint8)
    upright[:20] = 255  # white above
    jpg = cv2.imencode(".jpg", np.rot90(upright))[1].tobytes()  # white at the left; tag 6: turn right by 90 degrees
    tag = b"Exif\0\0II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x112, 3, 1, 6, 0, 0)
    segment = b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag
    (tmp_path / "turned.jpg").write_bytes(jpg[:2] + segment + jpg[2:] + bytes(64))
    image = ImageFolder(tmp_path, Cut(40, grey=True)).read(np.array([0]))[0, 0]
    assert image[:16].min() > 0.9 and image[24:].max() < 0.1


def test_wrong_arguments(tmp_path):
    write(tmp_path / "x.png", picture(16, 16))
    for crop in ((5, 0, 5, 9), (-1, 0, 5, 9), (0, 9, 5, 3), (0, -2, 5, 3)):
        with pytest.raises(UserError, match="left < right"):
            Data(crop=crop)
    with pytest.raises(UserError, match="'error' or 'skip'"):
        Reading(corrupt="maybe")
    with pytest.raises(UserError, match="none of its 1 images or clips matches data.pattern"):
        ImageFolder(tmp_path, Cut(16), Reading(pattern="y*"))


def test_a_crop_beyond_an_image_is_named_with_its_size(tmp_path):
    write(tmp_path / "small.png", picture(20, 30))
    with pytest.raises(UserError, match=r"small.png.*right 40.*30 x 20"):
        ImageFolder(tmp_path, Cut(16, (0, 0, 40, 20))).read(np.array([0]))


def test_wrong_folders(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        ImageFolder(tmp_path / "nowhere", Cut(16))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        ImageFolder(tmp_path / "file", Cut(16))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no images.*\.jpg"):
        ImageFolder(tmp_path / "empty", Cut(16))


def test_the_cache_is_bounded_and_changes_nothing(tmp_path):
    for k in range(12):
        write(tmp_path / f"{k:02d}.png", picture(300, 300, k))
    bounded = ImageFolder(tmp_path, Cut(256), Reading(cache_mb=1))  # 1 MiB holds 5 of 192 KiB
    free = ImageFolder(tmp_path, Cut(256), Reading(cache_mb=0))
    for _ in range(2):
        np.testing.assert_array_equal(bounded.read(np.arange(12)), free.read(np.arange(12)))
    cached = [[source._cache.get(k) is not None for k in range(12)] for source in (bounded, free)]
    assert cached == [[True] * 5 + [False] * 7, [False] * 12]


def test_written_images_come_back(tmp_path):
    image = picture(16, 16).transpose(2, 0, 1) / np.float32(255)
    write_image(tmp_path / "new" / "x.png", image)
    write_image(tmp_path / "new" / "y.png", image[:1])
    source = ImageFolder(tmp_path / "new", Cut(16))
    np.testing.assert_array_equal(source.read(np.array([0]))[0], image)
    np.testing.assert_array_equal(source.read(np.array([1]))[0], image[:1].repeat(3, 0))


def test_people_who_are_held_out_are_not_trained_on(tmp_path, caplog):
    """identity.txt above the images names people: no training image shows one of those held out."""
    people = [1, 2, 3, 4, 1, 5, 2, 6]
    for k in range(8):
        write_image(tmp_path / "images" / f"{k}.png", np.full((3, 16, 16), k / 10, np.float32))
    data = Data(path=str(tmp_path / "images"), size=16, held_out=3)
    assert [len(part) for part in open_sources(data)] == [5, 3]  # nothing is known of the people
    (tmp_path / "identity.txt").write_text("".join(f"{k}.png {person}\n" for k, person in enumerate(people)))
    train, held_out = open_sources(data)
    assert [train.name(k) for k in range(len(train))] == ["0.png", "2.png", "3.png", "4.png"]
    assert [held_out.name(k) for k in range(3)] == ["5.png", "6.png", "7.png"]
    assert open_sources(replace(data, limit=2)).train.identity() != train.identity()
    (tmp_path / "identity.txt").rename(tmp_path / "identity_CelebA.txt")  # the official name
    assert open_sources(data).train.names == train.names
    (tmp_path / "identity.txt").write_text("".join(f"{k}.png {person}\n" for k, person in enumerate(people[:6])))
    assert len(open_sources(data).train) == 5 and open_sources(data)
    assert [record.getMessage().split(": ")[0].split(" of ", 1)[1] for record in caplog.records] == [
        f"{tmp_path / 'images'} names no person for 2 of 8 files, such as 6.png"]
    (tmp_path / "identity.txt").write_text("0.png\n")
    with pytest.raises(UserError, match="identity.txt, line 1: must be a file's name and a person"):
        open_sources(data)


def test_one_file_without_a_person_leaves_the_others_protected(tmp_path, caplog):
    people = ["ann", "bob", "ann", "cem", None, "ann", None]
    for k in range(7):
        write_image(tmp_path / "images" / f"{k}.png", np.zeros((3, 16, 16), np.float32))
    (tmp_path / "identity.txt").write_text("".join(f"{k}.png {person}\n" for k, person in enumerate(people) if person))
    train, held_out = open_sources(Data(path=str(tmp_path / "images"), size=16, held_out=2))
    assert train.names == ["1.png", "3.png", "4.png"] and held_out.people() == ["ann", "6.png"]
    assert "names no person for 2 of 7 files, such as 4.png: each counts as another person" in caplog.text


def test_a_cached_sample_does_not_keep_the_image_it_is_cut_from(tmp_path):
    write(tmp_path / "grey.png", picture(64, 96)[..., 0])
    source = ImageFolder(tmp_path, Cut(16, (8, 8, 24, 24), grey=True))
    source.read(np.array([0]))
    np.testing.assert_array_equal(source._cache.get(0)[0], picture(64, 96)[8:24, 8:24, 0])
    assert source._cache.get(0).base is None
