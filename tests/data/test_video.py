"""Videos as phones write them: rotated, of variable frame rate; animated GIFs; damaged files without chatter."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from dgn.data import decoding
from dgn.data.clips import ClipFolder
from dgn.data.cut import Cut
from dgn.data.frames import Clip, frames_of_video, read_clip
from dgn.errors import UserError

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
ROTATIONS = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}


def write_mp4(path, frames) -> bytes:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path.read_bytes()


def rewrite(boxes: bytes, changed: dict) -> bytes:
    """An MP4 with the content of some boxes replaced."""
    result, position = b"", 0
    while position < len(boxes):
        length, kind = struct.unpack(">I4s", boxes[position:position + 8])
        content = boxes[position + 8:position + length]
        content = rewrite(content, changed) if kind in CONTAINERS else changed.get(kind, lambda old: old)(content)
        result += struct.pack(">I4s", len(content) + 8, kind) + content
        position += length
    return result


def read(path, frames: int, resample: bool = False) -> list:
    return read_clip(Clip((path.name,), lambda *wanted: frames_of_video(path, *wanted)), frames, resample)


@pytest.mark.parametrize("degrees", ROTATIONS)
def test_a_rotated_video_is_upright(tmp_path, degrees):
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32], stored[24:, 32:] = 255, (255, 0, 0)  # blue below at the right
    a, b, c, d = (value << 16 for value in ROTATIONS[degrees])
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    data = write_mp4(tmp_path / "phone.mp4", 3 * [stored])
    (tmp_path / "phone.mp4").write_bytes(rewrite(data, {b"tkhd": lambda old: old[:40] + matrix + old[76:]}))
    expected = np.rot90(stored[..., ::-1], -degrees // 90)  # clockwise
    for frame in read(tmp_path / "phone.mp4", 2):
        assert frame.shape == expected.shape and np.abs(frame.astype(int) - expected).mean() < 12


def test_frames_of_a_variable_rate_are_spread_by_time(tmp_path):
    """Frames 0 to 5 every 0.1 s, then a second without one, frames 6 to 11 every 0.1 s: 2.0 s in all."""
    data = write_mp4(tmp_path / "steady.mp4", [np.full((32, 32, 3), 20 * k, np.uint8) for k in range(12)])

    def uneven(old: bytes) -> bytes:
        ticks, = struct.unpack(">I", old[12:16])
        return struct.pack(">2I6I", 0, 3, 5, ticks, 1, 10 * ticks, 6, ticks)
    # without the edit list, which gives the former duration
    (tmp_path / "uneven.mp4").write_bytes(rewrite(data, {b"stts": uneven}).replace(b"edts", b"free"))
    levels = {name: [round(frame.mean() / 20) for frame in read(tmp_path / name, 6, True)]
              for name in ("steady.mp4", "uneven.mp4")}
    assert levels == {"steady.mp4": [0, 2, 4, 7, 9, 11], "uneven.mp4": [0, 4, 5, 6, 7, 11]}
    assert [round(frame.mean() / 20) for frame in read(tmp_path / "uneven.mp4", 7)] == list(range(7))


def test_an_animated_gif_is_a_clip(tmp_path, monkeypatch):
    pictures = [Image.new("RGBA", (20, 16), (40 * k, 0, 100, 255)) for k in range(5)]
    pictures[0].paste((0, 0, 0, 0), (0, 0, 20, 8))  # transparent above: white
    times = [100, 100, 100, 700, 100]  # milliseconds
    pictures[0].save(tmp_path / "walk.gif", save_all=True, append_images=pictures[1:], duration=times)
    source = ClipFolder(tmp_path, "videos", 7, Cut(16))
    clip = np.rint(255 * source.read(np.array([0]))[0])
    assert source.mask(np.array([0])).tolist() == [5 * [1] + 2 * [0]]
    np.testing.assert_array_equal(clip[:5, 0, 8:], np.broadcast_to(40 * np.arange(5)[:, None, None], (5, 8, 16)))
    assert (clip[0, :, :8] == 255).all() and (clip[1, 0, :8] == 40).all()
    spread = ClipFolder(tmp_path, "videos", 3, Cut(16), resample=True).read(np.array([0]))[0, :, 0, 12, 0]
    # at 0, 0.5 and 1 s: frame 3, at 0.3 s, is the nearest to the second
    np.testing.assert_allclose(255 * spread, [0, 120, 160], atol=4)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # that of another program, as of notebooks
    assert ClipFolder(tmp_path, "videos", 5, Cut(16)).read(np.array([0])).shape == (1, 5, 3, 16, 16)
    with monkeypatch.context() as smaller:
        smaller.setattr(decoding, "MAX_PIXELS", 319)
        with pytest.raises(UserError, match="walk.gif: a GIF that cannot be decoded .it has more than 319 pixels"):
            ClipFolder(tmp_path, "videos", 5, Cut(16)).read(np.array([0]))
    whole = (tmp_path / "walk.gif").read_bytes()
    for damaged in (whole[:len(whole) // 2], whole[:-1], b"GIF89a;", b"no picture;"):
        (tmp_path / "walk.gif").write_bytes(damaged)
        with pytest.raises(UserError, match=r"walk.gif: (the file is cut short|not a GIF|a GIF that cannot)"):
            ClipFolder(tmp_path, "videos", 5, Cut(16)).read(np.array([0]))


def test_a_damaged_video_is_named_and_libraries_print_nothing(tmp_path, capfd, rng):
    whole = write_mp4(tmp_path / "a.mp4", [rng.integers(0, 256, (64, 64, 3), np.uint8) for _ in range(12)])
    damaged = bytearray(whole)
    damaged[200:2000:7] = bytes(len(damaged[200:2000:7]))
    for name, data in (("cut.mp4", whole[:len(whole) // 2]), ("bad.mp4", bytes(damaged)),
                       ("text.avi", b"RIFF" + bytes(90)), ("frame_%03d.mp4", b"no video")):
        (tmp_path / name).write_bytes(data)
    capfd.readouterr()
    (tmp_path / "empty.mp4").touch()
    for name, reason in (("empty.mp4", "the file is empty"), ("none.mp4", "No such file")):
        with pytest.raises(ValueError, match=reason):
            read(tmp_path / name, 5)
    for name in ("cut.mp4", "text.avi", "frame_%03d.mp4"):
        with pytest.raises(ValueError, match="not a video that OpenCV can decode"):
            read(tmp_path / name, 5)
    read(tmp_path / "bad.mp4", 12)
    assert capfd.readouterr() == ("", "")
