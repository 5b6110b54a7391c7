"""Folders of clips: video files, numbered frames, or strips of frames side by side."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dgn.config import CLIP_FORMATS
from dgn.data.cut import Cut
from dgn.data.decoding import decode, quick_size
from dgn.data.find import find_files, matching, warn_of_splits
from dgn.data.folder import Folder, Inspected, Reading, digest
from dgn.data.frames import Clip, frames_of_files, frames_of_strip, frames_of_video, read_clip, strip_shape
from dgn.data.images import EXTENSIONS, find_images, inspect_image, people_of_identities
from dgn.data.pixels import to_unit
from dgn.errors import UserError

VIDEO_EXTENSIONS = (".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
# (path up to a file's last number, that number); a name such as img_0001.jpg.png is numbered, too
_NUMBERED = re.compile(rf"(.*?)(\d+)(?:{'|'.join(map(re.escape, EXTENSIONS))})+", re.IGNORECASE)
_LABELLED = re.compile(r"([^/]+)/([^/_]+)_[^/]*")

log = logging.getLogger(__name__)


class ClipFolder(Folder):
    """The clips below a folder, each of at most `frames` frames.

    layout: "videos": each video file or animated GIF is a clip; "frames": image files of a folder whose names differ
        only in their last number are one clip, in the order of these numbers (walk/001.png, or
        anger/S010_004_00000017.png); "strips": each image file is a row of square frames.
    cut: crop and size of every frame. reading: see Reading.
    resample: True: every clip has exactly `frames` frames, evenly spaced in time from the first to the last frame;
        False: the first `frames` frames, regardless of their times; shorter clips are padded with zeros, see `mask`.
    """

    def __init__(self, folder: str | Path, layout: str, frames: int, cut: Cut, reading: Reading = Reading(),
                 resample: bool = False) -> None:
        if layout not in CLIP_FORMATS:
            raise UserError(f"{folder}: data.format is {layout}; for clips it must be one of {', '.join(CLIP_FORMATS)} "
                            "(--format, --set data.format=..., or dgn.images(..., format=...))")
        self._layout, self._cut, self._resample = layout, cut, resample
        folder = Path(folder)
        self._clips = find_clips(folder, layout, reading.corrupt == "skip")
        self._lengths: dict[str, int] = {}  # numbers of frames of the decoded clips
        self._people = people_of_names(list(self._clips))  # of all clips, also those that are not selected
        names = by_person(matching(list(self._clips), reading.pattern, folder), self._people)
        warn_of_splits(names, folder)
        super().__init__(folder, names, (frames, *cut.shape), reading)

    def decode(self, name: str) -> np.ndarray:
        """The frames of a clip, at most self.shape[0], (f, C, size, size) uint8."""
        frames = read_clip(self._clips[name], self.shape[0], self._resample)
        self._lengths[name] = len(frames)
        return np.stack([self._cut.apply(frame) for frame in frames])

    def inspect(self, name: str, decoded: bool) -> Inspected:
        """See Folder. Without decoding, it reads the first frame of a video, or the headers of all image files."""
        if decoded:
            return Inspected(False, self.decode(name))
        clip = self._clips[name]
        if self._layout == "videos":
            self._cut.apply(read_clip(clip, 1, False)[0])
        elif self._layout == "frames":
            for file in clip.files:
                try:
                    inspect_image(self._folder / file, self._cut, False)
                except ValueError as reason:
                    raise ValueError(f"its frame {file}: {reason}") from None
        else:
            height, width = quick_size(self._folder / name) or decode(self._folder / name).shape[:2]
            self._cut.box(*strip_shape(height, width)[1:])
        return Inspected(False, None)

    def stack(self, samples: list[np.ndarray]) -> np.ndarray:
        """One batch (n, F, C, size, size), padded with zeros, of clips (f, C, size, size) of any length f."""
        clips = np.zeros((len(samples), *self.shape), np.float32)
        for clip, pixels in zip(clips, samples):
            clip[:len(pixels)] = to_unit(pixels)
        return clips

    def mask(self, indices: np.ndarray) -> np.ndarray | None:
        """(n, F) float32, 1 where a clip has the frame, 0 for padding. Without resampling, clips that were not read yet
        are decoded."""
        if self._resample:  # every clip has all frames
            return super().mask(indices)
        for index in indices:
            if self._names[index] not in self._lengths:
                self._cache.fetch(int(index), self._load)
        lengths = np.array([self._lengths[self._names[index]] for index in indices])
        return (np.arange(self.shape[0]) < lengths[:, None]).astype(np.float32)

    def people(self, names: Sequence[str] | None = None) -> list[str] | None:
        """The person in each clip: from a file of identities, else from the names of the clips (people_of_names). A
        file of identities that names only some of the clips is used if the names give no people."""
        clips = self._names if names is None else names
        every = [*self._names, *(names or ())]  # one source of people for all clips, also those that were removed
        people = people_of_identities(self._folder, every, whole=self._people is not None)
        if people is not None or self._people is None:
            return people and people[len(every) - len(clips):]
        labels = [class_and_person(name) for name in clips]
        return [label[1] if label else "" for label in labels]

    def stored(self, indices: np.ndarray) -> list[Path]:
        return [self._folder / file for index in indices for file in self._clips[self._names[index]].files]

    def identity_of(self, indices: np.ndarray) -> str:
        """A digest of the names of all files, and the settings that select frames."""
        files = digest([file for index in indices for file in self._clips[self._names[index]].files])
        return f"{self._layout} of folder {files}, {self.shape[0]} frames, resample {self._resample}"


def find_clips(folder: Path, layout: str, skip_unnamed: bool = False) -> dict[str, Clip]:
    """{name: clip} of the clips below a folder in one of CLIP_FORMATS, sorted; see find_files. Raises UserError if
    there are none."""
    if layout == "videos":
        what = f"video files in it or its subfolders; looked for {' '.join(VIDEO_EXTENSIONS)}"
        names = find_files(folder, VIDEO_EXTENSIONS, what, skip_unnamed)
        return {name: Clip((name,), partial(frames_of_video, folder / name)) for name in names}
    if layout == "strips":
        names = find_images(folder, skip_unnamed)
        return {name: Clip((name,), partial(frames_of_strip, folder / name)) for name in names}
    names = find_images(folder, skip_unnamed)
    clips = numbered(names)
    if not clips:
        raise UserError(f"{folder}: none of its image files has a number at the end of its name, which would give the "
                        "order of frames")
    others = sorted(set(names) - {file for files in clips.values() for file in files})
    if others:
        log.warning("%s: %d of %d image files, such as %s, have no number at the end of their names and are not used "
                    "as frames", folder, len(others), len(names), others[0])
    return {clip: Clip(tuple(files), partial(frames_of_files, folder, files)) for clip, files in clips.items()}


def class_and_person(name: str) -> tuple[str, str] | None:
    """(class, person) of a clip named class/person_anything, such as anger/S010_004; None for another name."""
    match = _LABELLED.fullmatch(name)
    return match and (match[1], match[2])


def people_of_names(names: Sequence[str]) -> dict[str, str] | None:
    """{clip: person} if all clips are named class/person_anything; else None.

    There must also be several people, and at least one of them must be in several classes; otherwise the names have
    this form by chance: holiday/VID_001.mp4, speaker/recording_2.mp4.
    """
    labels = {name: label for name in names if (label := class_and_person(name))}
    classes: dict[str, set[str]] = {}
    for kind, person in labels.values():
        classes.setdefault(person, set()).add(kind)
    if len(labels) < len(names) or len(classes) < 2 or max(map(len, classes.values())) < 2:
        return None
    return {name: person for name, (_, person) in labels.items()}


def by_person(names: list[str], people: dict[str, str] | None) -> list[str]:
    """Clips sorted by person, if their names contain people (people_of_names), else unchanged. The last clips, which
    are held out, then show the last people in all classes, instead of the last class."""
    return names if people is None else sorted(names, key=lambda name: (people[name], name))


def numbered(names: list[str]) -> dict[str, list[str]]:
    """{clip: its files in order}: files in one folder whose names differ only in their last number."""
    groups: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        if match:
            groups.setdefault(match[1], []).append((int(match[2]), name))
    clips: dict[str, list[str]] = {}
    for prefix, files in sorted(groups.items()):
        clip = prefix.rstrip("/_") or "clip"
        files.sort()
        for (number, name), (following, other) in zip(files, files[1:]):
            if number == following:
                raise UserError(f"{name} and {other} are both frame {number} of one clip; remove one of them")
        while clip in clips:
            clip += "_"  # each clip that is written needs its own folder
        clips[clip] = [name for _, name in files]
    return clips
