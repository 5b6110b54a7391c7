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

from dgn import config as cfg
from dgn.data.images import ImageFolder, decode
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
    labels = [Label(name, match[1], _FEI_VIEWS[match[2]]) for name, match in found if match and match[2] in _FEI_VIEWS]
    if not labels:
        raise UserError(f"{folder}: no labels in it; looked for labels.csv (dgn data faces), index.tsv (MTFL) and names such as 12-04.jpg (FEI)")
    return labels


def by_view(labels: List[Label], folder: Path) -> Dict[float, List[Label]]:
    """The images of each view, the views in order. Raises UserError if fewer than two are known."""
    views = sorted({label.view for label in labels if label.view is not None})
    if len(views) < 2:
        raise UserError(f"{folder}: its labels tell no views; labels.csv with a column view, or the FEI set, does")
    return {view: [label for label in labels if label.view == view] for view in views}


def open_files(folder: Path, files: List[str], data: cfg.Data) -> ImageFolder:
    """Those files, in that order, cut as the config says."""
    return ImageFolder(folder, data.size, data.crop, data.grey, names=files, cache_mb=data.cache_mb)


def cut_landmarks(folder: Path, labels: List[Label], data: cfg.Data) -> np.ndarray:
    """Landmarks (n, 5, 2) in pixels of the images as `open_files` gives them; pixel centres at whole numbers.

    All files are taken to have the first one's size. Raises UserError if landmarks are missing.
    """
    if any(label.landmarks is None for label in labels):
        raise UserError(f"{folder}: its labels tell no landmarks; labels.csv of dgn data faces, or MTFL's index.tsv, does")
    height, width = decode(folder / labels[0].file).shape[:2]
    side = min(height, width)
    left, top, right, bottom = data.crop or ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
    scale = data.size / np.array([right - left, bottom - top])
    return (np.stack([label.landmarks for label in labels]) + 0.5 - (left, top)) * scale - 0.5


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
