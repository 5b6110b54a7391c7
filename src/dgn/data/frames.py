"""The frames of a clip: of a video file, of numbered image files, of a strip."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageSequence

from dgn.data.decoding import check_file, decode, on_white, opened, quiet_opencv, read_file

# read when OpenCV opens its first video: FFmpeg prints up to 20 lines for a damaged file, whose reason is given here
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

# A video counts as damaged if it has less than this fraction of the frames in its header (often slightly wrong).
_COMPLETE = 0.9
_GIF_SECONDS = 0.1  # duration of GIF frames without a duration, as in browsers


class Frame(NamedTuple):
    """A frame of a clip."""

    number: int  # counted from 0
    seconds: float  # time at which it is shown; for images without times the number of the frame
    pixels: np.ndarray | None  # (H, W) or (H, W, 3) RGB uint8, upright; None if the frame is not wanted


# (wanted: number -> bool, last=None) -> the frames of a clip from the first to number `last`, or to the end. Raises
# ValueError with the reason if a frame cannot be read.
Frames = Callable[..., Iterator[Frame]]


class Clip(NamedTuple):
    """A clip in its folder."""

    files: tuple[str, ...]  # relative paths
    frames: Frames


def spread(seconds: Sequence[float], frames: int) -> np.ndarray:
    """Numbers of the frames that are nearest in time to `frames` evenly spaced times from the first to the last.

    seconds: the times of all frames. If they deviate from a constant rate by less than half a frame, or do not
    increase, the numbers of the frames are used instead.
    """
    times, numbers = np.asarray(seconds, np.float64), np.arange(len(seconds))
    constant = np.linspace(times[0], times[-1], len(times))
    if (np.diff(times) <= 0).any() or np.abs(times - constant).max() < 0.5 * (constant[-1] - constant[0]) / len(times):
        return np.rint(np.linspace(0, len(times) - 1, frames)).astype(int)
    return np.rint(np.interp(np.linspace(times[0], times[-1], frames), times, numbers)).astype(int)


def read_clip(clip: Clip, frames: int, resample: bool) -> list[np.ndarray]:
    """The pixels of the first `frames` frames of a clip, or of `frames` evenly spaced frames (resample). Raises
    ValueError if they cannot be read.

    The number of frames in a video's header is often wrong, so frames are counted; only selected frames are kept in
    memory.
    """
    with quiet_opencv:
        if resample:
            wanted = spread([frame.seconds for frame in clip.frames(lambda index: False)], frames)
        else:
            wanted = np.arange(frames)
        used = clip.frames(set(wanted.tolist()).__contains__, int(wanted.max()))
        read = {frame.number: frame.pixels for frame in used if frame.pixels is not None}
    return [read[index] for index in wanted if index in read]


def frames_of_files(folder: Path, files: Sequence[str], wanted: Callable[[int], bool],
                    last: int | None = None) -> Iterator[Frame]:
    """Frames in numbered image files; see Frames. The reason of an error names the file."""
    for index, file in enumerate(files if last is None else files[:last + 1]):
        try:
            yield Frame(index, index, decode(folder / file) if wanted(index) else None)
        except ValueError as reason:
            raise ValueError(f"its frame {file}: {reason}") from None


def frames_of_strip(path: Path, wanted: Callable[[int], bool], last: int | None = None) -> Iterator[Frame]:
    """Square frames side by side in an image file; see Frames."""
    frames = split_strip(decode(path))
    for index, pixels in enumerate(frames if last is None else frames[:last + 1]):
        yield Frame(index, index, pixels if wanted(index) else None)


def frames_of_video(path: Path, wanted: Callable[[int], bool], last: int | None = None) -> Iterator[Frame]:
    """Frames of a video file or animated GIF, upright; see Frames. Also raises ValueError if there are far fewer frames
    than the header says."""
    if path.suffix.lower() == ".gif":
        yield from _frames_of_gif(path, wanted, last)
        return
    check_file(path)
    # other backends of OpenCV interpret names as patterns of image files, or print to the terminal
    backend = cv2.CAP_FFMPEG if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG) else cv2.CAP_ANY
    video, index = cv2.VideoCapture(str(path.absolute()), backend), 0
    video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # off by default in some builds: videos of phones are stored rotated
    try:
        while (last is None or index <= last) and video.grab():
            pixels = _grabbed(video, index) if wanted(index) else None
            yield Frame(index, video.get(cv2.CAP_PROP_POS_MSEC) / 1000, pixels)
            index += 1
        count = video.get(cv2.CAP_PROP_FRAME_COUNT)
        if not index:
            raise ValueError("not a video that OpenCV can decode: damaged, or a codec that this OpenCV lacks")
        if (last is None or index <= last) and index < _COMPLETE * count:
            raise ValueError(f"only {index} of its {int(count)} frames can be read: the file is damaged or cut short")
    finally:
        video.release()


def _grabbed(video: cv2.VideoCapture, index: int) -> np.ndarray:
    """The frame (H, W, 3) RGB that was grabbed last. Raises ValueError if it cannot be decoded."""
    decoded, pixels = video.retrieve()
    if not decoded:
        raise ValueError(f"frame {index} cannot be decoded: the file is damaged")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _frames_of_gif(path: Path, wanted: Callable[[int], bool], last: int | None) -> Iterator[Frame]:
    """Frames of a GIF, with transparent pixels on white."""
    data = read_file(path)
    if not data.startswith(b"GIF8"):
        raise ValueError("not a GIF: another kind of file under this name")
    if not data.rstrip(b"\0\r\n").endswith(b";"):
        raise ValueError("the file is cut short")
    seconds, count = 0.0, None if last is None else last + 1
    try:
        with opened(io.BytesIO(data), ["GIF"]) as animation:
            for index, _ in enumerate(islice(ImageSequence.Iterator(animation), count)):
                frame = animation.convert("RGBA")  # decodes the frame also if it is not wanted, to find damage
                pixels = np.array(on_white(frame).convert("RGB")) if wanted(index) else None
                yield Frame(index, seconds, pixels)
                seconds += animation.info.get("duration", 0) / 1000 or _GIF_SECONDS
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"a GIF that cannot be decoded ({error})") from None


def split_strip(pixels: np.ndarray) -> list[np.ndarray]:
    """The square frames of a strip (H, n H, ...), from left to right. Raises ValueError for another width."""
    return np.split(pixels, strip_shape(*pixels.shape[:2])[0], axis=1)


def strip_shape(height: int, width: int) -> tuple[int, int, int]:
    """(frames, height, width of a frame) of a strip. Raises ValueError like `split_strip`."""
    if width % height:
        raise ValueError("a strip of square frames must be a multiple of its height wide; this image is "
                         f"{width} x {height} pixels (width x height)")
    return width // height, height, height


def strip(clip: np.ndarray) -> np.ndarray:
    """The frames of a clip (F, C, H, W) side by side, (C, H, F W)."""
    frames, channels, height, width = clip.shape
    return clip.transpose(1, 2, 0, 3).reshape(channels, height, frames * width)
