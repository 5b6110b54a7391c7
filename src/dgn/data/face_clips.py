"""Drawn clips of faces with known person, expression, factors and landmarks: the embedded data of the dynamic model.

Each clip goes from a neutral face to the apex of an expression and back. People differ in how far and how fast they go,
and the head moves a little, so that no two clips of an expression are alike. Faces fill the frame, as if cut out by a face
detector: an expression is little of a picture that shows hair and background too.
"""

from __future__ import annotations

import csv
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import List, Tuple

import numpy as np
from tqdm import tqdm

from dgn.data.face_factors import EXPRESSIONS, Factors, subject_factors, with_expression
from dgn.data.face_surface import Window, place_landmarks
from dgn.data.faces import CACHE_MB, LANDMARKS, draw
from dgn.data.folder import PixelCache, to_unit
from dgn.data.images import write_image
from dgn.data.source import Source
from dgn.files import disk_errors, new_folder
from dgn.randomness import generator

CLIPS = 86 * len(EXPRESSIONS)  # as many people and expressions as the MUG set has (5.6)
CLOSE = 1.625  # faces are drawn so many times larger than a frame
CENTRE = 0.55  # and cut around the middle of their features, at this part of the height


class FaceClips(Source):
    """`count` drawn clips: clip k shows person k // 6 with expression k % 6, in `frames` frames."""

    def __init__(self, count: int, frames: int, size: int, seed: int, grey: bool = False, first: int = 0) -> None:
        self.shape = (frames, 1 if grey else 3, size, size)
        self.count, self.seed, self.first = count, seed, first
        self._cache = PixelCache(CACHE_MB)

    def __len__(self) -> int:
        return self.count

    def label(self, index: int) -> Tuple[int, str]:
        """(person, expression) of a clip."""
        person, which = divmod(self.first + int(index), len(EXPRESSIONS))
        return person, EXPRESSIONS[which]

    def factors(self, index: int) -> List[Factors]:
        """The factors of every frame."""
        person, expression = self.label(index)
        rng, frames = generator(self.seed, "face clips", self.first + int(index)), self.shape[0]
        strength, peak, sharpness = rng.uniform(0.7, 1.0), rng.uniform(0.4, 0.6), rng.uniform(0.8, 1.4)
        yaw, pitch, roll = rng.uniform(-6, 6), rng.uniform(-4, 4), rng.uniform(-3, 3)
        turn, nod, tilt = rng.uniform(-4, 4), rng.uniform(-3, 3), rng.uniform(-2, 2)
        neutral = subject_factors(self.seed, person)
        found = []
        for time in np.linspace(0, 1, frames) if frames > 1 else [peak]:
            # 0 at both ends, 1 at the peak, smooth everywhere
            phase = 0.5 * time / peak if time <= peak else 0.5 + 0.5 * (time - peak) / (1 - peak)
            amount = strength * np.sin(np.pi * phase) ** (2 * sharpness)
            face = with_expression(neutral, expression, float(amount))
            found.append(replace(face, yaw=yaw + turn * time, pitch=pitch + nod * time, roll=roll + tilt * time))
        return found

    def factor_table(self, indices: np.ndarray, names: Tuple[str, ...]) -> np.ndarray:
        """The named factors of clips, (n, F, names) float64."""
        return np.array([[[getattr(frame, name) for name in names] for frame in self.factors(index)] for index in indices])

    def landmarks(self, indices: np.ndarray) -> np.ndarray:
        """Landmarks of clips, (n, F, 5, 2) in pixels."""
        wide, window = self._window()
        marks = np.array([[place_landmarks(frame, wide) for frame in self.factors(index)] for index in indices])
        return marks - np.float32([window.left, window.top])

    def name(self, index: int) -> str:
        """How a clip is called in files and messages."""
        person, expression = self.label(index)
        return f"{expression}/P{person:03d}_{self.first + int(index):04d}"

    def identity(self) -> str:
        """The seed and the first index decide every clip."""
        return f"clips of faces of seed {self.seed} from {self.first}, {self.shape[0]} frames"

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The clips at `indices`, (n, F, C, size, size) float32 in [0, 1]."""
        return to_unit(np.stack([self._cache.fetch(int(index), self._draw) for index in indices]))

    def _draw(self, index: int) -> np.ndarray:
        wide, window = self._window()
        return np.stack([draw(frame, wide, self.shape[1] == 1, window) for frame in self.factors(index)])

    def _window(self) -> Tuple[int, Window]:
        """Pixels of a whole drawn head, and the part of it that a frame shows."""
        size = self.shape[-1]
        wide = round(size * CLOSE)
        return wide, Window((wide - size) // 2, round(CENTRE * wide - size / 2), size)


def write_clips(out: Path, count: int, frames: int, size: int, seed: int, grey: bool = False) -> None:
    """Writes clips as PNG files, class/person_number/0001.png ..., with labels.csv (file, clip, person, expression, every
    factor, every landmark's x and y). Raises UserError if `out` holds files; RunFailed if one cannot be written."""
    source = FaceClips(count, frames, size, seed, grey)
    new_folder(out)
    with disk_errors(out / "labels.csv"), open(out / "labels.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "clip", "person", "expression", *asdict(Factors()), *(f"{mark}_{axis}" for mark in LANDMARKS for axis in "xy")])
        for k in tqdm(range(count), unit="clip", disable=not sys.stderr.isatty()):
            images, (person, expression) = source.read(np.array([k]))[0], source.label(k)
            marks = source.landmarks(np.array([k]))[0]
            for t, factors in enumerate(source.factors(k)):
                name = f"{source.name(k)}/{t + 1:04d}.png"
                write_image(out / name, images[t])
                table.writerow([name, source.name(k), person, expression, *asdict(factors).values(), *marks[t].ravel().round(3)])
