"""Video as a Source of clips: video files, numbered frames, or strips of frames side by side."""

from __future__ import annotations

import logging
import re
from functools import partial
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from dgn.config import CLIP_FORMATS
from dgn.data.folder import Folder, digest, find_files, quiet_opencv, to_unit
from dgn.data.images import EXTENSIONS, Crop, check_cut, decode, find_images, is_image, matching, prepare
from dgn.errors import UserError

VIDEO_EXTENSIONS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
# path with what is before a file's last number; img_0001.jpg.png is a name, too
_NUMBERED = re.compile(rf"(.*?)(\d+)(?:{'|'.join(map(re.escape, EXTENSIONS))})+", re.IGNORECASE)
_LABELLED = re.compile(r"([^/]+)/([^/_]+)_[^/]*")
_WHOLE = 0.9  # of the frames that a video's head counts; that count is often wrong by a few, in a damaged file by many

log = logging.getLogger(__name__)

Frame = Tuple[int, Optional[np.ndarray]]  # its number in the clip, and (H, W) or (H, W, 3) RGB uint8 if it is wanted
# (wanted: number -> bool, last=None) -> every frame of a clip from its first to `last` or its end. ValueError says why one
# cannot be had.
Frames = Callable[..., Iterator[Frame]]


class Clip(NamedTuple):
    """A clip in its folder: the files that hold it, relative, and its frames."""

    files: Tuple[str, ...]
    frames: Frames


class ClipFolder(Folder):
    """The clips under a folder (a Source), each of at most `frames` frames of size x size pixels.

    layout: "videos", each video file is a clip; "frames", the image files of a folder whose names differ in their last
        number alone are one, in the order of these numbers (walk/001.png, or anger/S010_004_00000017.png); "strips",
        each image file is a row of square frames.
    resample: every clip as exactly `frames` frames, evenly spaced from its first to its last; else the first `frames`, and
        a shorter clip is padded with zeros, see `mask`.
    crop, grey: of each frame, as for images; corrupt, cache_mb: see Folder; pattern: only clips whose name matches.
    """

    def __init__(self, folder: str | Path, layout: str, frames: int, size: int, crop: Optional[Crop] = None, grey: bool = False,
                 resample: bool = False, corrupt: str = "error", cache_mb: int = 256, pattern: Optional[str] = None) -> None:
        check_cut(size, crop)
        if layout not in CLIP_FORMATS:
            raise UserError(f"{folder}: data.format is {layout}; for clips it must be one of {', '.join(CLIP_FORMATS)}")
        self._layout, self._crop, self._resample = layout, crop, resample
        self._clips, self._lengths = find_clips(Path(folder), layout), {}
        names = list(self._clips) if pattern is None else matching(list(self._clips), pattern, folder)
        super().__init__(Path(folder), by_person(names), (frames, 1 if grey else 3, size, size), corrupt, cache_mb)

    def decode(self, name: str) -> np.ndarray:
        """The frames that the clip has, at most self.shape[0] of them, (f, C, size, size) uint8."""
        frames, channels, size = self.shape[:3]
        pictures = read_clip(self._clips[name], frames, self._resample)
        self._lengths[name] = len(pictures)
        return np.stack([prepare(picture, self._crop, channels, size) for picture in pictures])

    def together(self, samples: List[np.ndarray]) -> np.ndarray:
        clips = np.zeros((len(samples), *self.shape), np.float32)
        for clip, pixels in zip(clips, samples):
            clip[:len(pixels)] = to_unit(pixels)
        return clips

    def mask(self, indices: np.ndarray) -> np.ndarray:
        """1 where a clip has the frame, 0 where it is padding, (n, F) float32; clips that were not read yet are decoded."""
        for index in indices:
            if self._names[index] not in self._lengths:
                self._load(int(index))
        lengths = np.array([self._lengths[self._names[index]] for index in indices])
        return (np.arange(self.shape[0]) < lengths[:, None]).astype(np.float32)

    def identity(self) -> str:
        """A digest of the names of all files, and which frames are taken."""
        files = digest([file for name in self._names for file in self._clips[name].files])
        return f"{self._layout} of folder {files}, {self.shape[0]} frames, resample {self._resample}"


def find_clips(folder: Path, layout: str) -> Dict[str, Clip]:
    """The clips under a folder in one of CLIP_FORMATS, by name, sorted. Raises UserError if there are none."""
    if layout == "videos":
        names = find_files(folder, lambda name: name.lower().endswith(VIDEO_EXTENSIONS),
                           f"video files in it or its subfolders; looked for {' '.join(VIDEO_EXTENSIONS)}")
        return {name: Clip((name,), partial(frames_of_video, folder / name)) for name in names}
    if layout == "strips":
        return {name: Clip((name,), partial(frames_of_strip, folder / name)) for name in find_images(folder)}
    names = find_files(folder, is_image, "image files in it or its subfolders")
    clips = numbered(names)
    if not clips:
        raise UserError(f"{folder}: none of its image files has a number at the end of its name, by which frames would be put in order")
    others = sorted(set(names) - {file for files in clips.values() for file in files})
    if others:
        log.warning("%s: no frames of a clip, for no number ends their names: %d of %d image files, such as %s", folder, len(others),
                    len(names), others[0])
    return {clip: Clip(tuple(files), partial(frames_of_files, folder, files)) for clip, files in clips.items()}


def class_and_person(name: str) -> Optional[Tuple[str, str]]:
    """(class, person) of a clip whose name tells them: class/person_anything, such as anger/S010_004."""
    match = _LABELLED.fullmatch(name)
    return match and (match[1], match[2])


def by_person(names: List[str]) -> List[str]:
    """Clips in the order of their people, if all names tell them: the last ones, which are held out, are then of the last people,
    in every class, and not of the last class alone. Other names stay as they are."""
    labels = {name: class_and_person(name) for name in names}
    return sorted(names, key=lambda name: (labels[name][1], name)) if all(labels.values()) else names


def chosen(length: int, frames: int, resample: bool) -> np.ndarray:
    """Which of `length` frames are taken: the nearest to `frames` evenly spaced ones, or the first."""
    if resample:
        return np.rint(np.linspace(0, length - 1, frames)).astype(int)
    return np.arange(min(length, frames))


def numbered(names: List[str]) -> Dict[str, List[str]]:
    """Clip name -> its files in order: those in one folder whose names differ in their last number alone."""
    found: Dict[str, list] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match:
            found.setdefault(match[1], []).append((int(match[2]), name))
    clips: Dict[str, List[str]] = {}
    for prefix, files in sorted(found.items()):
        short = prefix.rstrip("/_") or "clip"
        files.sort()
        for (number, name), (following, other) in zip(files, files[1:]):
            if number == following:
                raise UserError(f"{name} and {other} are both frame {number} of one clip; remove one of them")
        while short in clips:
            short += "_"  # another folder, too, if clips are written
        clips[short] = [name for _, name in files]
    return clips


def split_strip(pixels: np.ndarray) -> List[np.ndarray]:
    """The square frames of a strip, left to right; ValueError if its width is no multiple of its height."""
    height, width = pixels.shape[:2]
    if width % height:
        raise ValueError("a strip of square frames must be a multiple of its height wide; this image is "
                         f"{width} x {height} pixels (width x height)")
    return np.split(pixels, width // height, axis=1)


def strip(clip: np.ndarray) -> np.ndarray:
    """The frames of a clip (F, C, H, W) side by side, (C, H, F W)."""
    frames, channels, height, width = clip.shape
    return clip.transpose(1, 2, 0, 3).reshape(channels, height, frames * width)


def read_clip(clip: Clip, frames: int, resample: bool) -> List[np.ndarray]:
    """The frames of a clip that `chosen` says; ValueError if they cannot be read.

    The number of frames in a video's head is often wrong, so they are counted; memory holds the chosen ones only.
    """
    with quiet_opencv():
        length = sum(1 for _ in clip.frames(lambda index: False)) if resample else frames
        wanted = chosen(length, frames, resample)
        found = {index: picture for index, picture in clip.frames(set(wanted.tolist()).__contains__, int(wanted.max())) if picture is not None}
    return [found[index] for index in wanted if index in found]


def frames_of_files(folder: Path, files: List[str], wanted: Callable[[int], bool], last: Optional[int] = None) -> Iterator[Frame]:
    """Of a clip of numbered frames: see Frames. What is wrong with a frame is said with its file."""
    for index, file in enumerate(files if last is None else files[:last + 1]):
        try:
            yield index, decode(folder / file) if wanted(index) else None
        except ValueError as reason:
            raise ValueError(f"its frame {file}: {reason}") from None


def frames_of_strip(path: Path, wanted: Callable[[int], bool], last: Optional[int] = None) -> Iterator[Frame]:
    """Of an image file with square frames side by side: see Frames."""
    frames = split_strip(decode(path))
    for index, picture in enumerate(frames if last is None else frames[:last + 1]):
        yield index, picture if wanted(index) else None


def frames_of_video(path: Path, wanted: Callable[[int], bool], last: Optional[int] = None) -> Iterator[Frame]:
    """Of a video file: see Frames. ValueError if it is no video, a frame that is wanted cannot be decoded, or the file ends long
    before its head says."""
    if not path.is_file():
        raise ValueError("cannot be read (no such file)")
    video, index = cv2.VideoCapture(str(path)), 0
    try:
        while (last is None or index <= last) and video.grab():
            picture = None
            if wanted(index):
                read, picture = video.retrieve()
                if not read:
                    raise ValueError(f"frame {index} cannot be decoded: the file is damaged")
                picture = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            yield index, picture
            index += 1
        told = video.get(cv2.CAP_PROP_FRAME_COUNT)
        if not index:
            raise ValueError("not a video that OpenCV can decode: damaged, or of a codec that this OpenCV has not")
        if (last is None or index <= last) and index < _WHOLE * told:
            raise ValueError(f"only {index} of its {int(told)} frames can be read: the file is damaged or cut short")
    finally:
        video.release()
