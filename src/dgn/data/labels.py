"""Labels of image folders: subject, view (yaw) and landmarks of each image.

Three layouts are recognized by the files in the folder: labels.csv as `dgn data faces` writes it; index.tsv of the MTFL
set (landmarks); and the file names of the FEI face database, {subject}-{view}.jpg. CK+ folders ({emotion}/S###_...)
need
no labels: only their images are used.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional

import numpy as np

from dgn.config import Data
from dgn.data.cut import Crop, Cut, cut_of
from dgn.data.decoding import decode
from dgn.data.folder import Reading
from dgn.data.images import ImageFolder
from dgn.errors import UserError

# FEI: positions 04 to 07 of its sweep from profile to profile are about these yaws, 11 is frontal and neutral
_FEI_NAME = re.compile(r"(\d+)-(\d\d)\.jpe?g", re.IGNORECASE)
_FEI_VIEWS = {"04": -30.0, "05": -10.0, "11": 0.0, "06": 10.0, "07": 30.0}
_MTFL_POINTS = ("leye", "reye", "nose", "lmouth", "rmouth")
_CSV_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


class Label(NamedTuple):
    """The labels of one image."""

    file: str  # relative to the folder
    subject: str
    view: Optional[float] = None  # yaw in degrees
    landmarks: Optional[np.ndarray] = None  # (5, 2): x, y in pixels of the file


def read(folder: Path) -> List[Label]:
    """The labels of a folder's images. Raises UserError if it has none, or they are malformed."""
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


def by_view(labels: List[Label], folder: Path) -> Dict[float, Dict[str, str]]:
    """{view: {subject: file}}: views in increasing order, and at each the same subjects in the same order. Of several
    images of a subject at a view the first is used.

    Raises UserError if the labels name fewer than two views, or no subject has an image at all of them.
    """
    files: Dict[float, Dict[str, str]] = {}
    for label in labels:
        if label.view is not None:
            files.setdefault(label.view, {}).setdefault(label.subject, label.file)
    if len(files) < 2:
        raise UserError(f"{folder}: its labels have no views; labels.csv with a column view, or the FEI set, has them")
    subjects = sorted(set.intersection(*map(set, files.values())))
    if not subjects:
        raise UserError(f"{folder}: no subject has an image at every view")
    return {view: {subject: files[view][subject] for subject in subjects} for view in sorted(files)}


def read_files(folder: Path, files: List[str], data: Data) -> np.ndarray:
    """These files in this order, cropped and resized as the config says, (n, C, H, W) float32 in [0, 1]. Raises
    UserError for one that cannot be read."""
    return ImageFolder(folder, cut_of(data), Reading(cache_mb=data.cache_mb), files).read(np.arange(len(files)))


def cut_landmarks(folder: Path, labels: List[Label], data: Data) -> np.ndarray:
    """Landmarks (n, 5, 2) in pixels of the images of `read_files`; pixel centres at whole numbers.

    Raises UserError if landmarks are missing, or a file whose size is needed cannot be read.
    """
    marks = []
    for label in labels:
        if label.landmarks is None or not np.isfinite(label.landmarks).all():
            raise UserError(f"{folder}: the landmarks of {label.file} are not known; labels.csv of dgn data faces, or "
                            "MTFL's index.tsv, has them")
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


def _table(path: Path, delimiter: str, row_to_label: Callable[[Dict[str, str]], Label]) -> List[Label]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return [row_to_label(row) for row in csv.DictReader(file, delimiter=delimiter)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except KeyError as error:
        shown = "commas" if delimiter == "," else "tabs"
        raise UserError(f"{path} has no column {error.args[0]}; its columns must be separated by {shown}") from None
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not as it should be: {error!r}") from None


def _from_csv(row: Dict[str, str]) -> Label:
    points = None
    if "nose_x" in row:
        points = np.array([[float(row[f"{point}_{axis}"]) for axis in "xy"] for point in _CSV_POINTS])
    return Label(row["file"], row.get("subject", row["file"]), float(row["view"]) if row.get("view") else None, points)


def _from_mtfl(row: Dict[str, str]) -> Label:
    points = np.array([[float(row[f"{axis}_{point}"]) for axis in "xy"] for point in _MTFL_POINTS])
    return Label(row["path"], row["path"], None, points)
