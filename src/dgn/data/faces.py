"""Drawn faces with known factors: the embedded data set, and the ground truth for measurements.

A face is a function of a seed and an index, the same on every machine. Appearance factors decide what colour a point
of the head has, geometry factors where that point is seen; see `face_factors` for both.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Optional

import numpy as np
from tqdm import tqdm

from dgn.data.face_factors import APPEARANCE, EXPRESSIONS, GEOMETRY, Factors, sample_factors, subject_factors, with_expression
from dgn.data.face_paint import material_coordinates, paint
from dgn.data.face_surface import Window, place_landmarks
from dgn.data.folder import PixelCache, to_unit
from dgn.data.images import write_image
from dgn.data.source import Source
from dgn.files import disk_errors, new_folder

__all__ = ["APPEARANCE", "EXPRESSIONS", "GEOMETRY", "Face", "FaceSource", "Factors", "correspondence", "draw", "render",
           "sample_factors", "subject_factors", "with_expression", "write_folder"]

LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")  # left is the image's left
VIEWS = (-30.0, -15.0, 0.0, 15.0, 30.0)  # degrees of yaw, as in the paper's 5.1
SUPERSAMPLING_BELOW = 128  # pixels: smaller images are drawn at twice the size and averaged
CACHE_MB = 256


@dataclass(frozen=True)
class Face:
    """A drawn face.

    image: (C, size, size) float32 in [0, 1], multiples of 1/255; landmarks: (5, 2) float32, pixel (x, y) of LANDMARKS,
    pixel centres at whole numbers.
    """

    image: np.ndarray
    landmarks: np.ndarray


def render(factors: Factors, size: int, grey: bool = False) -> Face:
    """Draws a face of size x size pixels."""
    return Face(to_unit(draw(factors, size, grey)), place_landmarks(factors, size))


def draw(factors: Factors, size: int, grey: bool, window: Optional[Window] = None) -> np.ndarray:
    """A face as uint8 (C, size, size), or the part of it in `window`, (C, side, side)."""
    seen = window or Window(0, 0, size)
    fine = 2 if size < SUPERSAMPLING_BELOW else 1
    image = paint(factors, size * fine, Window(seen.left * fine, seen.top * fine, seen.side * fine))
    if fine > 1:
        image = image.reshape(3, seen.side, fine, seen.side, fine).mean((2, 4))
    if grey:
        image = np.tensordot(np.array([0.299, 0.587, 0.114], np.float32), image, 1)[None]
    return np.rint(255 * image).astype(np.uint8)


def correspondence(factors: Factors, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which point of the head each pixel shows.

    Returns coordinates (size, size, 3) float32 in the undeformed neutral head, the same for a material point whatever
    the pose, shape and expression, and a mask (size, size) of the pixels on the head.
    """
    coordinates, mask = material_coordinates(factors, size)
    return coordinates.transpose(1, 2, 0).astype(np.float32), mask


class FaceSource(Source):
    """`count` drawn faces, from index `first` on; drawn when first read, kept in 8 bits up to 256 MB.

    view: a fixed yaw in degrees, with pitch and roll 0; none: the poses of the population.
    population: "random" (any pose, moderate expressions), "frontal" (the same faces at view 0), "neutral" (frontal people
        without expression), "expressions" (those people, each neutral and with every one of EXPRESSIONS: face 7 k + e is
        person k).
    """

    def __init__(self, count: int, size: int, seed: int, grey: bool = False, first: int = 0, view: float | None = None,
                 population: str = "random") -> None:
        self.population, view = population, 0.0 if population == "frontal" and view is None else view
        self.shape = (1 if grey else 3, size, size)
        self.count, self.size, self.seed, self.grey, self.first, self.view = count, size, seed, grey, first, view
        self._cache = PixelCache(CACHE_MB)

    def __len__(self) -> int:
        return self.count

    def factors(self, index: int) -> Factors:
        """The factors of a face."""
        place = self.first + int(index)
        if self.population == "neutral":
            return subject_factors(self.seed, place)
        if self.population == "expressions":
            person, which = divmod(place, 1 + len(EXPRESSIONS))
            neutral = subject_factors(self.seed, person)
            return with_expression(neutral, EXPRESSIONS[which - 1], 1.0) if which else neutral
        found = sample_factors(self.seed, place)
        return found if self.view is None else replace(found, yaw=self.view, pitch=0.0, roll=0.0)

    def factor_table(self, indices: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
        """The named factors of faces, (n, names) float64."""
        return np.array([[getattr(factors, name) for name in names] for factors in map(self.factors, indices)])

    def landmarks(self, indices: np.ndarray) -> np.ndarray:
        """Landmarks of faces, (n, 5, 2) in pixels."""
        return np.stack([place_landmarks(self.factors(index), self.size) for index in indices])

    def name(self, index: int) -> str:
        """How a face is called in files and messages."""
        return f"face_{self.first + int(index):06d}.png"

    def identity(self) -> str:
        """The seed and the first index decide every face."""
        return f"{self.population} faces of seed {self.seed} from {self.first}, view {self.view}"

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The faces at `indices`, (n, C, size, size) float32 in [0, 1]."""
        return to_unit(np.stack([self._cache.fetch(int(index), self._draw) for index in indices]))

    def _draw(self, index: int) -> np.ndarray:
        return draw(self.factors(index), self.size, self.grey)


def write_folder(out: Path, kind: str, count: int, size: int, seed: int, grey: bool = False) -> int:
    """Writes faces as PNG files with labels.csv (file, subject, expression, view, every factor, every landmark's x and y).

    kind: "random" (`count` faces of the population), "views" (`count` subjects at each of VIEWS), "expressions"
    (`count` subjects with each expression at its apex, and neutral). Returns the number of faces.
    Raises UserError if `out` holds files; RunFailed if one cannot be written.
    """
    new_folder(out)
    members = list(_members(kind, count, seed))
    with disk_errors(out / "labels.csv"), open(out / "labels.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        names = list(asdict(Factors()))
        table.writerow(["file", "subject", "expression", "view", *names, *(f"{mark}_{axis}" for mark in LANDMARKS for axis in "xy")])
        for name, subject, expression, factors in tqdm(members, unit="face", disable=not sys.stderr.isatty()):
            face = render(factors, size, grey)
            write_image(out / name, face.image)
            table.writerow([name, subject, expression, factors.yaw, *asdict(factors).values(), *face.landmarks.ravel().round(3)])
    return len(members)


def _members(kind: str, count: int, seed: int):
    """(file name, subject, expression, factors) of each face of a folder."""
    for k in range(count):
        if kind == "random":
            yield f"{k:06d}.png", k, "", sample_factors(seed, k)
        elif kind == "views":
            for view in VIEWS:
                yield f"{k:04d}_{view:+03.0f}.png", k, "neutral", replace(subject_factors(seed, k), yaw=view)
        else:
            yield f"{k:04d}_neutral.png", k, "neutral", subject_factors(seed, k)
            for expression in EXPRESSIONS:
                yield f"{k:04d}_{expression}.png", k, expression, with_expression(subject_factors(seed, k), expression, 1.0)
