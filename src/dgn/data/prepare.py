"""Crops faces from photographs and clips before training, as the paper does with OpenFace (5.1, 5.6)."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from dgn import console, machine
from dgn.data.align import EYES, align, eye_positions
from dgn.data.clips import find_clips, people_of_names
from dgn.data.crops import open_crops
from dgn.data.cut import in_colour, resize
from dgn.data.decoding import decode, quiet_opencv
from dgn.data.detect import Detector
from dgn.data.folder import map_files
from dgn.data.frames import Clip, spread
from dgn.data.images import as_person, find_images, people_of_identities, person_of, read_identities, write_image
from dgn.data.labels import EYE_COLUMNS
from dgn.data.pixels import to_unit
from dgn.errors import UserError
from dgn.files import append_line, disk_errors, png_name, png_names

SAMPLED_FRAMES = 9  # frames of a clip in which its face is detected
_FURTHER = re.compile(r"(.+)-\d+\.png")  # the name of a further face of a photograph


class Report(NamedTuple):
    """The result for each photograph or clip, by name."""

    found: list[str]
    not_found: list[str]
    unreadable: list[tuple[str, str]]  # name, reason


@dataclass(frozen=True)
class Cutter:
    """How faces are found and cropped.

    find: (picture (H, W, 3) RGB uint8, its name) -> an array of numbers for each face, the largest face first.
    cut: (picture, these numbers) -> (size, size, 3) uint8.
    columns: names of these numbers in crops.csv.
    """

    find: Callable[[np.ndarray, str], list[np.ndarray]]
    cut: Callable[[np.ndarray, np.ndarray], np.ndarray]
    columns: Sequence[str]


def by_squares(detect: Detector, size: int, margin: float = 0.0) -> Cutter:
    """Crops the squares around detected boxes, enlarged by `margin` times their size on every side. Raises UserError if
    the margin is out of range."""
    _check_margin(margin)

    def cut(picture: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        left, top, side = (int(round(value)) for value in numbers)
        return resize(cut_square(picture, left, top, side), size)
    return Cutter(lambda picture, name: [np.array(square(box, margin)) for box in detect(picture)], cut,
                  ["left", "top", "side"])


def by_eyes(find: Callable[[np.ndarray, str], list[np.ndarray]], size: int, eyes: Sequence[float] = EYES,
            margin: float = 0.0) -> Cutter:
    """Rotates, scales and crops faces by their eyes; see eye_positions. Raises UserError if the margin or the position
    of the eyes is out of range."""
    _check_margin(margin)
    if not (0 < eyes[0] < 0.5 and 0 < eyes[1] < 1):
        raise UserError(f"eyes are {eyes[0]:g},{eyes[1]:g}; they must be the left eye's distances, as fractions of "
                        "the side, from the left (above 0 and below 0.5) and from the top (above 0 and below 1)")
    positions = eye_positions(size, eyes, margin)
    return Cutter(find, lambda picture, eyes: align(picture, eyes, positions, size), EYE_COLUMNS)


def labelled(eyes: Mapping[str, list[np.ndarray]]) -> Callable[[np.ndarray, str], list[np.ndarray]]:
    """A function that returns the labelled eyes of a photograph, instead of a detector."""
    return lambda picture, name: sorted(eyes.get(name, ()), key=lambda pair: -np.linalg.norm(pair[1] - pair[0]))


def square(box: np.ndarray, margin: float) -> tuple[int, int, int]:
    """(left, top, side) of the square around a box, enlarged by `margin` times its size on every side."""
    left, top, width, height = (int(round(value)) for value in box)
    side = int(round(max(width, height) * (1 + 2 * margin)))
    return left + width // 2 - side // 2, top + height // 2 - side // 2, side


def cut_square(picture: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """A square of a picture (H, W, 3); the border is repeated outside of the picture."""
    return picture.take(range(top, top + side), 0, mode="clip").take(range(left, left + side), 1, mode="clip")


def crop_faces(source: Path, target: Path, cutter: Cutter, every: bool = False, resume: bool = False,
               options: Mapping[str, Any] | None = None) -> Report:
    """Crops the largest face, or every face, of each photograph below `source`, and writes PNG files to `target`.

    Names are kept; further faces of a photograph get -2, -3 ... before .png. `target`/crops.csv has a row for each
    face, and for each photograph without a face; none for one that cannot be read. `target`/identity.txt has the
    people, if `source` has such a file. resume, options: see open_crops; photographs that are in crops.csv are not
    cropped again. Raises UserError if `source` holds no images, or as open_crops does.
    """
    names = find_images(source)
    firsts = set(png_names(names))
    last_parts = Counter(PurePosixPath(first).name for first in firsts)
    identities = read_identities(source)

    def crop(name: str) -> list[tuple[str, np.ndarray]]:
        """Writes the faces of a photograph; returns the file and the numbers of each."""
        picture = in_colour(decode(source / name))
        faces = cutter.find(picture, name)[:None if every else 1]
        outputs = _outputs(name, len(faces), firsts)
        for output, face in zip(outputs, faces):
            write_image(target / output, to_unit(cutter.cut(picture, face).transpose(2, 0, 1)))
        return list(zip(outputs, faces))

    report = Report([], [], [])
    with open_crops(target, ["file", "found", *cutter.columns, "cut"], options, resume) as crops, \
            ThreadPoolExecutor(max_workers=min(8, machine.cores())) as workers:
        done = {row["file"]: row["found"] == "1" for row in crops.rows}
        for name, found in done.items():
            (report.found if found else report.not_found).append(name)
        for name, faces in map_files(crop, [name for name in names if name not in done], workers, unit="photo"):
            if isinstance(faces, str):
                report.unreadable.append((name, faces))
                continue
            (report.found if faces else report.not_found).append(name)
            person = person_of(name, identities)
            for output, _ in faces if person else ():
                append_line(target / "identity.txt", f"{_identified(name, output, last_parts)} {person}")
            crops.add([[name, 1, *_numbers(face), output] for output, face in faces]
                      or [[name, 0, *[""] * len(cutter.columns), ""]])
    return report


def _outputs(name: str, count: int, firsts: set[str]) -> list[str]:
    """Names of the files for a photograph's faces. firsts: names for the first face of every photograph, which further
    faces avoid."""
    first = png_name(name)
    others = (f"{first[:-len('.png')]}-{k}.png" for k in itertools.count(2))
    return [first, *itertools.islice((other for other in others if other not in firsts), count - 1)] if count else []


def _identified(name: str, output: str, last_parts: Counter[str]) -> str:
    """How identity.txt names a face's file: without folders, so that a part of the set finds it too; with its path if
    another file has, or might get, the same name: a-2.png may be a further face of a.png. last_parts: numbers of first
    faces with a name."""
    first, last = png_name(name), PurePosixPath(output).name
    alone = last_parts[PurePosixPath(first).name] == 1 and last_parts[last] == (output == first)
    if output == first and (further := _FURTHER.fullmatch(last)):
        alone = alone and not last_parts[f"{further[1]}.png"]
    return last if alone else output


def _numbers(face: np.ndarray) -> list[str]:
    return [f"{value:.6g}" for value in np.ravel(face)]


def crop_clips(source: Path, layout: str, target: Path, cutter: Cutter, window: int | None = None,
               resume: bool = False, options: Mapping[str, Any] | None = None) -> Report:
    """Crops the face of every clip below `source`, and writes its frames as `target`/<clip>/000001.png ...

    layout: one of CLIP_FORMATS. All frames of a clip have the same crop, the median of the largest faces in some of its
    frames, because a crop that follows the face would remove its motion. window: number of frames; every clip is first
    split into windows of this length (a shorter rest is omitted), and each window is a clip with its own crop,
    `target`/<clip>-0001 ... Of a clip that cannot be read to its end, the complete windows are written, and the report
    names it as unreadable. `target`/identity.txt has the people, if `source` has such a file; otherwise, for windows
    of several clips, it has the clips, because each may show another person. `target`/crops.csv has a row for each
    window. resume, options: see open_crops; windows that are in crops.csv are not cropped again. Raises UserError like
    crop_faces.
    """
    clips = find_clips(source, layout)
    people = _people(source, list(clips), window is not None)
    report, unfinished = Report([], [], []), target / ".unfinished"
    columns = ["file", "window", "windows", "found", *cutter.columns, "cut"]
    with open_crops(target, columns, options, resume) as crops, _removed(unfinished):
        rows_of: dict[str, list[dict[str, str]]] = {}
        for row in crops.rows:
            rows_of.setdefault(row["file"], []).append(row)
        done = sum(_complete(rows_of.get(name, [])) for name in clips)
        with console.progress(total=len(clips), initial=done, unit="clip") as bar:
            for name, clip in clips.items():
                rows = rows_of.get(name, [])
                for k, row in enumerate(rows):
                    (report.found if row["found"] == "1" else report.not_found).append(_piece(name, k, window))
                if _complete(rows):
                    continue
                written = len(rows)
                try:
                    for k, count, face in _crop_clip(name, clip, unfinished, cutter, window, written):
                        piece, written = _piece(name, k, window), written + 1
                        if face is None:
                            report.not_found.append(piece)
                            crops.add([[name, k + 1, count, 0, *[""] * len(cutter.columns), ""]])
                            continue
                        if people[name]:  # before the clip, which would count as another person without it
                            append_line(target / "identity.txt", f"{piece} {people[name]}")
                        _move(unfinished, target / piece)
                        report.found.append(piece)
                        crops.add([[name, k + 1, count, 1, *_numbers(face), piece]])
                except ValueError as reason:
                    windows = f"; {written} windows before are complete" if written else ""
                    report.unreadable.append((name, f"{reason}{windows}"))
                bar.update()
    return report


def _complete(rows: list[dict[str, str]]) -> bool:
    """Whether a clip with these rows of crops.csv has all its windows."""
    return bool(rows) and len(rows) == int(rows[0]["windows"])


def _people(source: Path, clips: list[str], windows: bool) -> dict[str, str]:
    """The person in each clip for identity.txt; "" if nothing is to be written."""
    named = people_of_names(clips) is not None
    known = people_of_identities(source, clips, whole=named)
    if known is None and windows and len(clips) > 1 and not named:
        known = [as_person(name) for name in clips]
    return dict(zip(clips, known or itertools.repeat("")))


def _piece(name: str, k: int, window: int | None) -> str:
    """The name of window k of a clip, or of the whole clip."""
    return name if window is None else f"{name}-{k + 1:04d}"


def _crop_clip(name: str, clip: Clip, folder: Path, cutter: Cutter, window: int | None,
               first: int) -> Iterator[tuple[int, int, np.ndarray | None]]:
    """(k, number of windows, numbers of its crop or None without a face) for each window of a clip from the `first`, or
    the whole clip; its frames are then in `folder`, from where the caller moves them. Raises ValueError, perhaps after
    some windows, if the clip cannot be read completely, or is shorter than the window."""
    with quiet_opencv:
        seconds, damage = _seconds(clip)
        length = window or len(seconds)
        if damage and (window is None or len(seconds) < length):
            raise damage
        if len(seconds) < length:
            raise ValueError(f"its {len(seconds)} frames are fewer than the {length} of a window")
        count, crops = len(seconds) // length, dict[int, np.ndarray]()
        sampled = {k * length + number for k in range(first, count)
                   for number in spread(seconds[k * length:(k + 1) * length], SAMPLED_FRAMES).tolist()}
        # read twice at the same time, so that each window is complete before the next one is searched
        searched = clip.frames(sampled.__contains__, count * length - 1)
        cropped = clip.frames(lambda number: number // length in crops, count * length - 1)
        for k in range(count):
            faces = [face for frame in itertools.islice(searched, length) if frame.pixels is not None
                     for face in cutter.find(in_colour(frame.pixels), name)[:1]]
            if faces:
                crops[k] = np.median(faces, 0)
            shutil.rmtree(folder, ignore_errors=True)
            for frame in itertools.islice(cropped, length):
                if frame.pixels is not None:
                    face = cutter.cut(in_colour(frame.pixels), crops[k])
                    path = folder / f"{frame.number % length + 1:06d}.png"
                    write_image(path, to_unit(face.transpose(2, 0, 1)))
            if k >= first:
                yield k, count, crops.get(k)
        if damage:
            raise damage


def _seconds(clip: Clip) -> tuple[list[float], ValueError | None]:
    """The times of the frames of a clip that can be read, and the error that ended them."""
    seconds: list[float] = []
    try:
        for frame in clip.frames(lambda number: False):
            seconds.append(frame.seconds)
    except ValueError as error:
        return seconds, error
    return seconds, None


@contextmanager
def _removed(folder: Path) -> Iterator[None]:
    """Removes a folder at the end of the block, also after an error or Ctrl-C."""
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(folder: Path, place: Path) -> None:
    """Moves a complete clip to its place, which may be a folder that holds other clips, or files from an interrupted
    crop."""
    with disk_errors(place):
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder, place)
            return
        for path in folder.iterdir():
            os.replace(path, place / path.name)


def _check_margin(margin: float) -> None:
    if not -0.4 <= margin <= 10:
        raise UserError(f"margin is {margin}; it must be from -0.4 (less than the face) to 10 (much around it)")
