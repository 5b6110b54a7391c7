"""Drawn clips of faces with known person, expression, factors and landmarks: the built-in data of the dynamic model.

Each clip goes from a neutral face to the apex of an expression and back. Strength, time course and a small motion of
the head differ between clips. Faces fill the frame, as if cropped by a face detector, because an expression changes
only few pixels of an image that also shows hair and background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dgn import console
from dgn.data.face_factors import EXPRESSIONS, Factors, subject_factors, with_expression
from dgn.data.face_surface import Window, place_landmarks
from dgn.data.faces import DrawnFaces, draw, labels_table
from dgn.data.images import write_image
from dgn.randomness import generator

CLIPS = 86 * len(EXPRESSIONS)  # people x expressions, as in the MUG dataset (5.6)
CLOSE = 1.625  # size of the whole drawn image relative to a frame
CENTRE = 0.55  # height of a frame's centre in the whole image: the height of the facial features


class FaceClips(DrawnFaces):
    """`count` drawn clips of `frames` frames: clip k shows person k // 6 with expression k % 6.

    changing_light: the light moves from side to side, independently of person and expression. chosen: only these frames
    of each clip are samples (default: all).
    """

    def __init__(self, count: int, frames: int, size: int, seed: int, grey: bool = False,
                 changing_light: bool = False, chosen: np.ndarray | None = None) -> None:
        self.frames, self.chosen = frames, np.arange(frames) if chosen is None else chosen
        super().__init__(count, (len(self.chosen), 1 if grey else 3, size, size), seed)
        self.changing_light = changing_light
        self._whole = round(size * CLOSE)  # pixels of the whole drawn image
        self._window = Window((self._whole - size) // 2, round(CENTRE * self._whole - size / 2), size)

    def label(self, index: int) -> tuple[int, str]:
        """(person, expression) of a clip."""
        person, expression = divmod(int(index), len(EXPRESSIONS))
        return person, EXPRESSIONS[expression]

    def factors(self, index: int) -> list[Factors]:
        person, expression = self.label(index)
        rng, frames = generator(self.seed, "face clips", int(index)), self.frames
        strength, peak, sharpness = rng.uniform(0.7, 1.0), rng.uniform(0.4, 0.6), rng.uniform(0.8, 1.4)
        yaw, pitch, roll = rng.uniform(-6, 6), rng.uniform(-4, 4), rng.uniform(-3, 3)
        turn, nod, tilt = rng.uniform(-4, 4), rng.uniform(-3, 3), rng.uniform(-2, 2)
        neutral, times = subject_factors(self.seed, person), np.linspace(0, 1, frames) if frames > 1 else [peak]
        result = []
        for time, light in zip(times, self._light(index, neutral.light, times)):
            # 0 at both ends, 1 at the peak, smooth everywhere
            phase = 0.5 * time / peak if time <= peak else 0.5 + 0.5 * (time - peak) / (1 - peak)
            amount = strength * np.sin(np.pi * phase) ** (2 * sharpness)
            face = with_expression(neutral, expression, float(amount))
            result.append(replace(face, yaw=yaw + turn * time, pitch=pitch + nod * time, roll=roll + tilt * time,
                                  light=float(light)))
        return [result[t] for t in self.chosen]

    def _light(self, index: int, constant: float, times: list[float] | np.ndarray) -> np.ndarray:
        """The light of every frame: `constant`, or half a period to one of a sine with a random phase."""
        if not self.changing_light:
            return np.full(len(times), constant)
        rng = generator(self.seed, "clip light", int(index))
        centre, size, periods = rng.uniform(-0.2, 0.2), rng.uniform(0.5, 0.8), rng.uniform(0.5, 1)
        return centre + size * np.sin(2 * np.pi * (rng.uniform(0, 1) + periods * np.asarray(times)))

    def draw(self, index: int) -> np.ndarray:
        grey = self.shape[1] == 1
        return np.stack([draw(frame, self._whole, grey, self._window) for frame in self.factors(index)])

    def place(self, images: Sequence[Factors]) -> np.ndarray:
        return place_landmarks(images, self._whole) - np.array([self._window.left, self._window.top], np.float32)

    def people(self, names: Sequence[str] | None = None) -> list[str] | None:
        return None if names is not None else [f"P{self.label(index)[0]:03d}" for index in range(self.count)]

    def name(self, index: int) -> str:
        person, expression = self.label(index)
        return f"{expression}/P{person:03d}_{int(index):04d}"

    def identity(self) -> str:
        return (f"clips of faces of seed {self.seed} from 0, {self.frames} frames"
                + (", changing light" if self.changing_light else "")
                + ("" if len(self.chosen) == self.frames else f", only frames {self.chosen.tolist()}"))


def write_clips(out: Path, source: FaceClips) -> None:
    """Writes clips as PNG files, class/person_number/0001.png ..., with labels.csv (file, clip, person, expression,
    factors, landmarks). Raises UserError if `out` holds files, RunFailed if a file cannot be written."""
    with labels_table(out, ["file", "clip", "person", "expression"]) as add_row:
        for index in console.progress(range(len(source)), unit="clip"):
            clip, (person, expression) = source.name(index), source.label(index)
            one = np.array([index])
            images, marks = source.read(one)[0], source.landmarks(one)[0]
            for t, factors in enumerate(source.factors(index)):
                name = f"{clip}/{t + 1:04d}.png"
                write_image(out / name, images[t])
                add_row([name, clip, person, expression], factors, marks[t])
