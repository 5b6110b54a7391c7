"""Drawn faces with known factors: the built-in dataset, and the ground truth for measures.

A face is a function of a seed and an index, and the same on every machine. Appearance factors determine the colour of
each point of the head, geometry factors its position in the image; see `face_factors`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dgn import console
from dgn.data.face_factors import EXPRESSIONS, Factors, sample_factors, subject_factors, with_expression
from dgn.data.face_paint import paint
from dgn.data.face_surface import Window, place_landmarks
from dgn.data.images import write_image
from dgn.data.pixels import PixelCache, to_bytes, to_grey, to_unit
from dgn.data.source import Source
from dgn.files import disk_errors, new_folder

LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")  # left is the image's left
VIEWS = (-30.0, -15.0, 0.0, 15.0, 30.0)  # degrees of yaw (5.1)
SUPERSAMPLING_BELOW = 128  # pixels: smaller images are drawn at twice the size and averaged
CACHE_MB = 256
FACES_OF_A_PERSON = 1 + len(EXPRESSIONS)  # in the population "expressions"; the neutral face comes first


@dataclass(frozen=True)
class Face:
    """A drawn face.

    image: (C, size, size) float32 in [0, 1], multiples of 1/255; landmarks: (5, 2) float32, pixel (x, y) of LANDMARKS,
    pixel centres at integers.
    """

    image: np.ndarray
    landmarks: np.ndarray


def render(factors: Factors, size: int, grey: bool = False) -> Face:
    """Draws a face of size x size pixels."""
    return Face(to_unit(draw(factors, size, grey)), place_landmarks([factors], size)[0])


def draw(factors: Factors, size: int, grey: bool, window: Window | None = None) -> np.ndarray:
    """A face as uint8 (C, size, size), or its part in `window`, (C, side, side)."""
    window = window or Window(0, 0, size)
    fine = 2 if size < SUPERSAMPLING_BELOW else 1
    image = paint(factors, size * fine, Window(window.left * fine, window.top * fine, window.side * fine))
    if fine > 1:
        image = image.reshape(3, window.side, fine, window.side, fine).mean((2, 4))
    if grey:
        image = to_grey(image)
    return to_bytes(image)


class DrawnFaces(Source):
    """Drawn samples with known factors. A sample is drawn when it is first read; up to 256 MB of 8-bit pixels are
    cached.

    count: number of samples. shape: shape of a sample. seed: random seed of the factors. A subclass defines the factors
    of a sample and draws it.
    """

    def __init__(self, count: int, shape: tuple[int, ...], seed: int) -> None:
        self.count, self.shape, self.seed = count, shape, seed
        self._cache = PixelCache(CACHE_MB)

    def factors(self, index: int) -> Any:
        """The factors of a face, or a list with the factors of every frame of a clip."""
        raise NotImplementedError

    def draw(self, index: int) -> np.ndarray:
        """A sample's pixels, `shape` uint8."""
        raise NotImplementedError

    def place(self, images: Sequence[Factors]) -> np.ndarray:
        """The landmarks of images, (n, 5, 2) in pixels."""
        return place_landmarks(images, self.shape[-1])

    def __len__(self) -> int:
        return self.count

    def read(self, indices: np.ndarray) -> np.ndarray:
        return to_unit(np.stack([self._cache.fetch(int(index), self.draw) for index in indices]))

    def factor_table(self, indices: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """The named factors of samples, float64: (n, names) for faces, (n, F, names) for clips."""
        return self._table(indices, lambda images: np.array([[getattr(one, name) for name in names] for one in images]))

    def landmarks(self, indices: np.ndarray) -> np.ndarray:
        """The landmarks of samples in pixels: (n, 5, 2) for faces, (n, F, 5, 2) for clips."""
        return self._table(indices, self.place)

    def _table(self, indices: np.ndarray, entries: Callable[[Sequence[Factors]], np.ndarray]) -> np.ndarray:
        """The entries of images, for the images of the samples at `indices`."""
        samples = [self.factors(int(index)) for index in indices]
        if len(self.shape) == 3:
            return entries(samples)
        every = entries([frame for frames in samples for frame in frames])
        return every.reshape(len(indices), self.shape[0], *every.shape[1:])


class FaceSource(DrawnFaces):
    """`count` drawn faces of size x size pixels.

    view: a fixed yaw in degrees, with pitch and roll 0; None: the poses of the population.
    population: "random" (any pose, moderate expressions), "frontal" (the same faces at yaw 0), "neutral" (frontal
        people without expression), "expressions" (the same people, each neutral and with all EXPRESSIONS: face 7 k + e
        is person k).
    """

    def __init__(self, count: int, size: int, seed: int, grey: bool = False, view: float | None = None,
                 population: str = "random") -> None:
        super().__init__(count, (1 if grey else 3, size, size), seed)
        self.size, self.grey, self.population = size, grey, population
        self.view = 0.0 if population == "frontal" and view is None else view

    def factors(self, index: int) -> Factors:
        index = int(index)
        if self.population == "neutral":
            return subject_factors(self.seed, index)
        if self.population == "expressions":
            person, expression = divmod(index, FACES_OF_A_PERSON)
            neutral = subject_factors(self.seed, person)
            return with_expression(neutral, EXPRESSIONS[expression - 1], 1.0) if expression else neutral
        factors = sample_factors(self.seed, index)
        return factors if self.view is None else replace(factors, yaw=self.view, pitch=0.0, roll=0.0)

    def people(self, names: Sequence[str] | None = None) -> list[str] | None:
        """See Source; None except for the population "expressions", because otherwise every face is another person."""
        if names is not None or self.population != "expressions":
            return None
        return [str(index // FACES_OF_A_PERSON) for index in range(self.count)]

    def draw(self, index: int) -> np.ndarray:
        return draw(self.factors(index), self.size, self.grey)

    def name(self, index: int) -> str:
        return f"face_{int(index):06d}.png"

    def identity(self) -> str:
        return f"{self.population} faces of seed {self.seed} from 0, view {self.view}"


@contextmanager
def labels_table(out: Path, columns: Sequence[str]) -> Iterator[Callable[[Sequence, Factors, np.ndarray], None]]:
    """Writes labels.csv in the new folder `out`: `columns`, then every factor, then x and y of every landmark.

    Yields a function that adds a row from the values of `columns`, the factors, and the landmarks (5, 2). Raises
    UserError if `out` holds files, RunFailed if it cannot be written.
    """
    new_folder(out)
    path = out / "labels.csv"
    with disk_errors(path), open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([*columns, *asdict(Factors()), *(f"{mark}_{axis}" for mark in LANDMARKS for axis in "xy")])

        def add(values: Sequence, factors: Factors, landmarks: np.ndarray) -> None:
            rows.writerow([*values, *asdict(factors).values(), *landmarks.ravel().round(3)])
        yield add


def write_folder(out: Path, kind: str, count: int, size: int, seed: int, grey: bool = False) -> int:
    """Writes faces as PNG files with labels.csv (file, subject, expression, view, factors, landmarks); returns their
    number.

    kind: "random" (`count` faces of the population), "views" (`count` subjects at each of VIEWS), "expressions"
    (`count` subjects with each expression at its apex, and neutral). Raises UserError if `out` holds files, RunFailed
    if a file cannot be written.
    """
    members = list(_members(kind, count, seed))
    with labels_table(out, ["file", "subject", "expression", "view"]) as add_row:
        for name, subject, expression, factors in console.progress(members, unit="face"):
            face = render(factors, size, grey)
            write_image(out / name, face.image)
            add_row([name, subject, expression, factors.yaw], factors, face.landmarks)
    return len(members)


def _members(kind: str, count: int, seed: int) -> Iterator[tuple[str, int, str, Factors]]:
    """(file name, subject, expression, factors) of each face of a folder."""
    for k in range(count):
        if kind == "random":
            yield f"{k:06d}.png", k, "", sample_factors(seed, k)
        elif kind == "views":
            for view in VIEWS:
                yield f"{k:04d}_{view:+03.0f}.png", k, "neutral", replace(subject_factors(seed, k), yaw=view)
        else:
            neutral = subject_factors(seed, k)
            yield f"{k:04d}_neutral.png", k, "neutral", neutral
            for expression in EXPRESSIONS:
                yield f"{k:04d}_{expression}.png", k, expression, with_expression(neutral, expression, 1.0)
