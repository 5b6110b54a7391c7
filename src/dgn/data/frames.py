"""The frames of a clip: of a video file, of numbered image files, of a strip."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from dgn.data.decoding import decode
from dgn.data.folder import quiet_opencv

# Of the frames that a video's header counts: that count is often wrong by a few, in a damaged file by many.
_COMPLETE = 0.9

Frame = Tuple[int, Optional[np.ndarray]]  # index in the clip; (H, W) or (H, W, 3) RGB uint8 if it is wanted
# (wanted: index -> bool, last=None) -> the frames of a clip from its first to `last`, or to its end. Raises ValueError
# with the reason if one cannot be read.
Frames = Callable[..., Iterator[Frame]]


class Clip(NamedTuple):
    """A clip in its folder."""

    files: Tuple[str, ...]  # relative paths
    frames: Frames


def selected(length: int, frames: int, resample: bool) -> np.ndarray:
    """Indices of the frames that are used of `length`: those nearest to `frames` evenly spaced ones, or the first."""
    if resample:
        return np.rint(np.linspace(0, length - 1, frames)).astype(int)
    return np.arange(min(length, frames))


def read_clip(clip: Clip, frames: int, resample: bool) -> List[np.ndarray]:
    """The `selected` frames of a clip. Raises ValueError if they cannot be read.

    The number of frames in a video's header is often wrong, so they are counted; only the selected ones are in memory.
    """
    with quiet_opencv():
        length = sum(1 for _ in clip.frames(lambda index: False)) if resample else frames
        wanted = selected(length, frames, resample)
        pixels = {index: frame for index, frame in clip.frames(set(wanted.tolist()).__contains__, int(wanted.max()))
                  if frame is not None}
    return [pixels[index] for index in wanted if index in pixels]


def frames_of_files(folder: Path, files: Sequence[str], wanted: Callable[[int], bool],
                    last: Optional[int] = None) -> Iterator[Frame]:
    """Frames in numbered image files; see Frames. The reason of an error names the file."""
    for index, file in enumerate(files if last is None else files[:last + 1]):
        try:
            yield index, decode(folder / file) if wanted(index) else None
        except ValueError as reason:
            raise ValueError(f"its frame {file}: {reason}") from None


def frames_of_strip(path: Path, wanted: Callable[[int], bool], last: Optional[int] = None) -> Iterator[Frame]:
    """Square frames side by side in an image file; see Frames."""
    frames = split_strip(decode(path))
    for index, pixels in enumerate(frames if last is None else frames[:last + 1]):
        yield index, pixels if wanted(index) else None


def frames_of_video(path: Path, wanted: Callable[[int], bool], last: Optional[int] = None) -> Iterator[Frame]:
    """Frames of a video file; see Frames. ValueError also if the file ends long before its header says."""
    if not path.is_file():
        raise ValueError("cannot be read (no such file)")
    video, index = cv2.VideoCapture(str(path)), 0
    try:
        while (last is None or index <= last) and video.grab():
            pixels = None
            if wanted(index):
                decoded, pixels = video.retrieve()
                if not decoded:
                    raise ValueError(f"frame {index} cannot be decoded: the file is damaged")
                pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
            yield index, pixels
            index += 1
        count = video.get(cv2.CAP_PROP_FRAME_COUNT)
        if not index:
            raise ValueError("not a video that OpenCV can decode: damaged, or of a codec that this OpenCV lacks")
        if (last is None or index <= last) and index < _COMPLETE * count:
            raise ValueError(f"only {index} of its {int(count)} frames can be read: the file is damaged or cut short")
    finally:
        video.release()


def split_strip(pixels: np.ndarray) -> List[np.ndarray]:
    """The square frames of a strip (H, n H, ...), from left to right. Raises ValueError for another width."""
    height, width = pixels.shape[:2]
    if width % height:
        raise ValueError("a strip of square frames must be a multiple of its height wide; this image is "
                         f"{width} x {height} pixels (width x height)")
    return np.split(pixels, width // height, axis=1)


def strip(clip: np.ndarray) -> np.ndarray:
    """The frames of a clip (F, C, H, W) side by side, (C, H, F W)."""
    frames, channels, height, width = clip.shape
    return clip.transpose(1, 2, 0, 3).reshape(channels, height, frames * width)
