"""Folders of images whose subject, view, expression or landmarks are known.

Three layouts are known by what is in the folder: labels.csv as `dgn data faces` writes it; index.tsv as the MTFL set has
it (landmarks); and the names of the FEI face database, {subject}-{view}.jpg. CK+ folders ({emotion}/S###_...) need no
labels: their images alone are used.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

import numpy as np

from dgn.config import Data
from dgn.data.images import Crop, ImageFolder, decode
from dgn.errors import UserError

# FEI: positions 04 to 07 of its sweep from profile to profile are about these yaws, 11 is frontal and neutral
_FEI_NAME = re.compile(r"(\d+)-(\d\d)\.jpe?g", re.IGNORECASE)
_FEI_VIEWS = {"04": -30.0, "05": -10.0, "11": 0.0, "06": 10.0, "07": 30.0}
_MTFL_POINTS = ("leye", "reye", "nose", "lmouth", "rmouth")
_CSV_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


class Label(NamedTuple):
    """What is known of one image."""

    file: str  # relative to the folder
    subject: str
    view: Optional[float] = None  # degrees of yaw
    landmarks: Optional[np.ndarray] = None  # (5, 2): x, y in pixels of the file


def read(folder: Path) -> List[Label]:
    """The labels of a folder's images. Raises UserError if it has none, or they are not as they should be."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if (folder / "labels.csv").is_file():
        return _table(folder / "labels.csv", ",", _from_csv)
    if (folder / "index.tsv").is_file():
        return _table(folder / "index.tsv", "\t", _from_mtfl)
    found = [(path.name, _FEI_NAME.fullmatch(path.name)) for path in sorted(folder.iterdir())]
    labels = [Label(name, match[1], _FEI_VIEWS.get(match[2])) for name, match in found if match]
    if not labels:
        raise UserError(f"{folder}: no labels in it; looked for labels.csv (dgn data faces), index.tsv (MTFL) and names such as 12-04.jpg (FEI)")
    return labels


def by_view(labels: List[Label], folder: Path) -> Dict[float, Dict[str, str]]:
    """The file of each subject at each view, view -> subject -> file: views in order, the same subjects in the same order at
    each; of several images of a subject at a view the first. Raises UserError if fewer than two views are known, or nobody
    is there at all of them."""
    found: Dict[float, Dict[str, str]] = {}
    for label in labels:
        if label.view is not None:
            found.setdefault(label.view, {}).setdefault(label.subject, label.file)
    if len(found) < 2:
        raise UserError(f"{folder}: its labels tell no views; labels.csv with a column view, or the FEI set, does")
    subjects = sorted(set.intersection(*map(set, found.values())))
    if not subjects:
        raise UserError(f"{folder}: no subject is there at every view")
    return {view: {subject: found[view][subject] for subject in subjects} for view in sorted(found)}


def read_files(folder: Path, files: List[str], data: Data) -> np.ndarray:
    """Those files, in that order, cut as the config says, (n, C, H, W) in [0, 1]. Raises UserError for one that cannot be read."""
    return ImageFolder(folder, data.size, data.crop, data.grey, names=files, cache_mb=data.cache_mb).read(np.arange(len(files)))


def cut_landmarks(folder: Path, labels: List[Label], data: Data) -> np.ndarray:
    """Landmarks (n, 5, 2) in pixels of the images as `read_files` gives them; pixel centres at whole numbers.

    Raises UserError if landmarks are missing, or a file that must be looked at for its size cannot be read.
    """
    for label in labels:
        if label.landmarks is None or not np.isfinite(label.landmarks).all():
            raise UserError(f"{folder}: the landmarks of {label.file} are not known; labels.csv of dgn data faces, or MTFL's index.tsv, "
                            "tells them")
    return np.stack([_cut(label.landmarks, data.crop or _centre(folder / label.file), data.size) for label in labels])


def _cut(points: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    left, top, right, bottom = crop
    return (points + 0.5 - (left, top)) * (size / np.array([right - left, bottom - top])) - 0.5


def _centre(path: Path) -> Crop:
    """The largest centred square of an image, which is what is cut where no crop is given."""
    try:
        height, width = decode(path).shape[:2]
    except ValueError as reason:
        raise UserError(f"{path}: {reason}") from None
    side = min(height, width)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _table(path: Path, delimiter: str, row_to_label) -> List[Label]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [row_to_label(row) for row in csv.DictReader(file, delimiter=delimiter)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is not as it should be: {error!r}") from None


def _from_csv(row: Dict[str, str]) -> Label:
    points = np.array([[float(row[f"{point}_{axis}"]) for axis in "xy"] for point in _CSV_POINTS]) if "nose_x" in row else None
    return Label(row["file"], row.get("subject", row["file"]), float(row["view"]) if row.get("view") else None, points)


def _from_mtfl(row: Dict[str, str]) -> Label:
    return Label(row["path"], row["path"], None, np.array([[float(row[f"{axis}_{point}"]) for axis in "xy"] for point in _MTFL_POINTS]))
