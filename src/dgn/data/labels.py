"""Labels of image folders: subject, view (yaw) and landmarks of each image.

Three layouts are recognized by the files in the folder: labels.csv, written by `dgn data faces`; index.tsv of the MTFL
dataset (landmarks); and file names of the FEI face database, {subject}-{view}.jpg, also after `dgn data crop`. CK+
folders ({emotion}/S###_...) need no labels, because only their images are used.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from dgn.config import Data
from dgn.data.cut import Crop, Cut, cut_of
from dgn.data.decoding import decode
from dgn.data.faces import LANDMARKS
from dgn.data.folder import Reading
from dgn.data.images import ImageFolder
from dgn.errors import UserError

# FEI: yaws of positions 04 to 07 in its sweep from profile to profile (approximate); 11 is frontal and neutral
_FEI_NAME = re.compile(r"(\d+)-(\d\d)\.(?:jpe?g|png|jpe?g\.png)", re.IGNORECASE)
_FEI_VIEWS = {"04": -30.0, "05": -10.0, "11": 0.0, "06": 10.0, "07": 30.0}
_MTFL_POINTS = ("leye", "reye", "nose", "lmouth", "rmouth")
EYE_COLUMNS = ("left_eye_x", "left_eye_y", "right_eye_x", "right_eye_y")  # of labels.csv and crops.csv
_MTFL_EYES = ("x_leye", "y_leye", "x_reye", "y_reye")

Row = TypeVar("Row")


class Label(NamedTuple):
    """The labels of one image."""

    file: str  # relative to the folder
    subject: str
    view: float | None = None  # yaw in degrees
    landmarks: np.ndarray | None = None  # (5, 2): x, y in pixels of the file


def read(folder: Path) -> list[Label]:
    """The labels of a folder's images. Raises UserError if there are none, or if they are malformed."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if (folder / "labels.csv").is_file():
        return _table(folder / "labels.csv", ",", _from_csv)
    if (folder / "index.tsv").is_file():
        return _table(folder / "index.tsv", "\t", _from_mtfl)
    matches = [(path.name, _FEI_NAME.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    labels = [Label(name, match[1], _FEI_VIEWS.get(match[2])) for name, match in matches if match]
    if not labels:
        raise UserError(f"{folder}: no labels in it; looked for labels.csv (dgn data faces), index.tsv (MTFL) and "
                        "names such as 12-04.jpg (FEI)")
    return labels


def read_eyes(path: Path, folder: Path) -> dict[str, list[np.ndarray]]:
    """The eyes in the photographs of a folder, from a file with labels: {file name relative to the folder: for each
    face (2, 2), x and y of the eye at the left of the picture and of the eye at the right}.

    The file has columns `file` and EYE_COLUMNS, separated by commas, or `path` and the columns of MTFL, separated by
    tabs if it ends in .tsv. Several rows for one file are several faces; rows without numbers are omitted. File names
    are relative to the folder, or to the folder of the labels. Raises UserError if the file cannot be read, is
    malformed, or names no photograph of the folder.
    """
    def eyes_of(row: dict[str, str]) -> tuple[str, np.ndarray | None]:
        file, columns = (row["file"], EYE_COLUMNS) if "file" in row else (row["path"], _MTFL_EYES)
        if not any(row[column] for column in columns):
            return file, None
        eyes = np.array([float(row[column]) for column in columns]).reshape(2, 2)
        eyes = eyes[np.argsort(eyes[:, 0], kind="stable")]
        if not np.isfinite(eyes).all() or np.allclose(eyes[0], eyes[1]):
            raise ValueError(f"the eyes of {file} are {eyes.ravel().tolist()}; they must be two different points")
        return file, eyes

    result: dict[str, list[np.ndarray]] = {}
    for file, eyes in _table(path, "\t" if path.suffix == ".tsv" else ",", eyes_of):
        beside = os.path.relpath(path.parent / file, folder)
        name = next((name for name in (file, beside) if (folder / name).is_file()), None)
        if name is not None and eyes is not None:
            result.setdefault(Path(name).as_posix(), []).append(eyes)
    if not result:
        raise UserError(f"{path} contains no eyes of files in {folder}")
    return result


def by_view(labels: list[Label], folder: Path) -> dict[float, dict[str, str]]:
    """{view: {subject: file}}: views in increasing order, with the same subjects in the same order. If a subject has
    several images at a view, the first one is used.

    Raises UserError if the labels name fewer than two views, or if no subject has images at all views.
    """
    files: dict[float, dict[str, str]] = {}
    for label in labels:
        if label.view is not None:
            files.setdefault(label.view, {}).setdefault(label.subject, label.file)
    if len(files) < 2:
        raise UserError(f"{folder}: its labels have fewer than two views; use labels.csv with a column view, or the "
                        "FEI set")
    subjects = sorted(set.intersection(*map(set, files.values())))
    if not subjects:
        raise UserError(f"{folder}: no subject has an image at every view")
    return {view: {subject: files[view][subject] for subject in subjects} for view in sorted(files)}


def read_files(folder: Path, files: list[str], data: Data) -> np.ndarray:
    """These files in this order, cropped and resized according to the config, (n, C, H, W) float32 in [0, 1]. Raises
    UserError for a file that cannot be read."""
    source = ImageFolder(folder, cut_of(data), Reading(cache_mb=data.cache_mb), files)
    return source.read(source.indices())


def cut_landmarks(folder: Path, labels: list[Label], data: Data) -> np.ndarray:
    """Landmarks (n, 5, 2) in pixels of the images of `read_files`; pixel centres at integers.

    Raises UserError if landmarks are missing, if both eyes are the same point, or if a file whose size is needed cannot
    be read.
    """
    marks = []
    for label in labels:
        if label.landmarks is None or not np.isfinite(label.landmarks).all():
            raise UserError(f"{folder}: the landmarks of {label.file} are unknown; use labels.csv of dgn data faces, "
                            "or MTFL's index.tsv")
        if np.allclose(label.landmarks[0], label.landmarks[1]):
            raise UserError(f"{folder}: both eyes of {label.file} are at {label.landmarks[0].tolist()}; errors are in "
                            "per cent of their distance")
        marks.append(label.landmarks)
    boxes = [data.crop or _centre_square(folder / label.file, cut_of(data)) for label in labels]
    return np.stack([_cut(points, box, data.size) for points, box in zip(marks, boxes)])


def _cut(points: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    left, top, right, bottom = crop
    return (points + 0.5 - (left, top)) * (size / np.array([right - left, bottom - top])) - 0.5


def _centre_square(path: Path, cut: Cut) -> Crop:
    """The crop of an image in a config without data.crop."""
    try:
        return cut.box(*decode(path).shape[:2])
    except ValueError as reason:
        raise UserError(f"{path}: {reason}") from None


def _table(path: Path, delimiter: str, row_to_label: Callable[[dict[str, str]], Row]) -> list[Row]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return [row_to_label(row) for row in csv.DictReader(file, delimiter=delimiter)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except KeyError as error:
        between = "commas" if delimiter == "," else "tabs"
        raise UserError(f"{path} has no column {error.args[0]}; its columns must be separated by {between}") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not as it should be: {error!r}") from None


def _from_csv(row: dict[str, str]) -> Label:
    points = None
    if "nose_x" in row:
        points = np.array([[float(row[f"{point}_{axis}"]) for axis in "xy"] for point in LANDMARKS])
    view = float(row["view"]) if row.get("view") else None
    return Label(row["file"], row.get("subject") or row["file"], view, points)


def _from_mtfl(row: dict[str, str]) -> Label:
    points = np.array([[float(row[f"{axis}_{point}"]) for axis in "xy"] for point in _MTFL_POINTS])
    return Label(row["path"], row["path"], None, points)
