"""Crops faces from photographs and clips before training, as the paper does with OpenFace (5.1, 5.6)."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from dgn import console, machine
from dgn.data.align import EYES, align, eye_positions
from dgn.data.clips import find_clips, people_of_names
from dgn.data.cut import in_colour, resize
from dgn.data.decoding import decode
from dgn.data.detect import Detector
from dgn.data.folder import map_files, quiet_opencv
from dgn.data.frames import Clip, spread
from dgn.data.images import find_images, people_of_identities, read_identities, write_image
from dgn.data.labels import EYE_COLUMNS
from dgn.errors import UserError
from dgn.files import append_line, disk_errors, new_folder, png_name, png_names

SAMPLED_FRAMES = 9  # frames of a clip in which its face is detected


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
    rows = np.clip(np.arange(top, top + side), 0, picture.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, picture.shape[1] - 1)
    return picture[rows][:, columns]


def crop_faces(source: Path, target: Path, cutter: Cutter, every: bool = False) -> Report:
    """Crops the largest face, or every face, of each photograph below `source`, and writes PNG files to `target`.

    Names are kept; further faces of a photograph get -2, -3 ... before .png. `target`/crops.csv has a row for each
    face, and for each photograph without a face. `target`/identity.txt has the people, if `source` has such a file.
    Raises UserError if `source` holds no images, or if `target` holds files.
    """
    names = find_images(source)
    firsts = set(png_names(names))
    identities = read_identities(source)
    new_folder(target)

    def crop(name: str) -> list[tuple[str, np.ndarray]]:
        """Writes the faces of a photograph; returns the file and the numbers of each."""
        picture = in_colour(decode(source / name))
        faces = cutter.find(picture, name)[:None if every else 1]
        outputs = _outputs(name, len(faces), firsts)
        for output, face in zip(outputs, faces):
            write_image(target / output, cutter.cut(picture, face).transpose(2, 0, 1) / np.float32(255))
        return list(zip(outputs, faces))

    report = Report([], [], [])
    with disk_errors(target / "crops.csv"), open(target / "crops.csv", "w", newline="", encoding="utf-8") as file, \
            ThreadPoolExecutor(max_workers=min(8, machine.cores())) as workers:
        table = csv.writer(file)
        table.writerow(["file", "found", *cutter.columns, "cut"])
        for name, faces in map_files(crop, names, workers, unit="photo"):
            if isinstance(faces, str):
                report.unreadable.append((name, faces))
                faces = []
            else:
                (report.found if faces else report.not_found).append(name)
            table.writerows([name, 1, *(f"{value:.6g}" for value in np.ravel(face)), output] for output, face in faces)
            if not faces:
                table.writerow([name, 0] + [""] * (len(cutter.columns) + 1))
            person = identities.get(PurePosixPath(name).name)
            for output, _ in faces if person else ():
                append_line(target / "identity.txt", f"{PurePosixPath(output).name} {person}")
    return report


def _outputs(name: str, count: int, firsts: set[str]) -> list[str]:
    """Names of the files for a photograph's faces. firsts: names for the first face of every photograph, which further
    faces avoid."""
    first = png_name(name)
    others = (f"{first[:-len('.png')]}-{k}.png" for k in itertools.count(2))
    return [first, *itertools.islice((other for other in others if other not in firsts), count - 1)] if count else []


def crop_clips(source: Path, layout: str, target: Path, cutter: Cutter, window: int | None = None) -> Report:
    """Crops the face of every clip below `source`, and writes its frames as `target`/<clip>/000001.png ...

    layout: one of CLIP_FORMATS. All frames of a clip have the same crop, the median of the largest faces in some of its
    frames, because a crop that follows the face would remove its motion. window: number of frames; every clip is first
    split into windows of this length (a shorter rest is omitted), and each window is a clip with its own crop,
    `target`/<clip>-0001 ... `target`/identity.txt has the people, if `source` has such a file; otherwise, for windows
    of several clips, it has the clips, because each may show another person. Raises UserError like crop_faces.
    """
    clips = find_clips(source, layout)
    people = _people(source, list(clips), window is not None)
    new_folder(target)
    report = Report([], [], [])
    for name, clip in console.progress(clips.items(), unit="clip"):
        try:
            with quiet_opencv():
                pieces = _crop_clip(name, clip, target, cutter, window)
        except ValueError as reason:
            report.unreadable.append((name, str(reason)))
            continue
        for piece, has_face in pieces.items():
            (report.found if has_face else report.not_found).append(piece)
            if has_face and people[name]:
                append_line(target / "identity.txt", f"{piece} {people[name]}")
    return report


def _people(source: Path, clips: list[str], windows: bool) -> dict[str, str]:
    """The person in each clip for identity.txt; "" if nothing is to be written."""
    known = people_of_identities(source, clips)
    if known is None and windows and len(clips) > 1 and people_of_names(clips) is None:
        known = ["_".join(name.split()) for name in clips]
    return dict(zip(clips, known or itertools.repeat("")))


def _crop_clip(name: str, clip: Clip, target: Path, cutter: Cutter, window: int | None) -> dict[str, bool]:
    """Writes the frames of one clip, or of its windows; returns {its name: whether a face was found}. Raises ValueError
    if the clip cannot be read completely, or is shorter than the window; no frames are then left."""
    seconds = [frame.seconds for frame in clip.frames(lambda number: False)]
    length = window or len(seconds)
    if len(seconds) < length:
        raise ValueError(f"its {len(seconds)} frames are fewer than the {length} of a window")
    firsts = range(0, len(seconds) - length + 1, length)
    names = [name if window is None else f"{name}-{k + 1:04d}" for k in range(len(firsts))]
    sampled = {first + k for first in firsts for k in spread(seconds[first:first + length], SAMPLED_FRAMES).tolist()}
    found: list[list[np.ndarray]] = [[] for _ in firsts]
    for frame in clip.frames(sampled.__contains__):
        if frame.pixels is not None:
            found[frame.number // length] += cutter.find(in_colour(frame.pixels), name)[:1]
    crops = {k: np.median(faces, 0) for k, faces in enumerate(found) if faces}
    try:
        for frame in clip.frames(lambda number: number // length in crops):
            if frame.pixels is not None:
                k, within = divmod(frame.number, length)
                face = cutter.cut(in_colour(frame.pixels), crops[k])
                write_image(target / names[k] / f"{within + 1:06d}.png", face.transpose(2, 0, 1) / np.float32(255))
    except ValueError:
        for written in [path for piece in names for path in (target / piece).glob("*.png")]:
            written.unlink()  # half a clip would look like a complete clip
        raise
    return dict(zip(names, map(bool, found)))


def _check_margin(margin: float) -> None:
    if not -0.4 <= margin <= 10:
        raise UserError(f"margin is {margin}; it must be from -0.4 (less than the face) to 10 (much around it)")
