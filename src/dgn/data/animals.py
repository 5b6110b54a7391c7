"""Drawn faces of a cat and a monkey, which differ from the training images of a face model (5.4, Fig. 12a)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

FINE = 4  # supersampling in each direction
Colour = tuple[float, float, float]  # red, green, blue in [0, 1]
Points = Sequence[tuple[float, float]]  # x, y in [0, 1]


def draw(size: int) -> dict[str, np.ndarray]:
    """{name: frontal face (3, size, size) float32 in [0, 1]}, with eyes and mouth approximately as in generated
    faces."""
    return {"cat": _cat(size), "monkey": _monkey(size)}


class _Canvas:
    """An image with coordinates from 0 to 1 in both directions."""

    def __init__(self, size: int, background: Colour) -> None:
        self.side = size * FINE
        self.pixels = np.empty((self.side, self.side, 3), np.float32)
        self.pixels[:] = np.linspace(0.85, 1.05, self.side)[:, None, None] * np.array(background, np.float32)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        s = self.side
        cv2.ellipse(self.pixels, ((x * s, y * s), (2 * rx * s, 2 * ry * s), 0), colour, -1, cv2.LINE_AA)

    def shape(self, points: Points, colour: Colour) -> None:
        cv2.fillPoly(self.pixels, [np.rint(np.array(points) * self.side).astype(np.int32)], colour, cv2.LINE_AA)

    def line(self, points: Points, colour: Colour, width: float) -> None:
        corners = np.rint(np.array(points) * self.side).astype(np.int32)
        cv2.polylines(self.pixels, [corners], False, colour, max(int(width * self.side), 1), cv2.LINE_AA)

    def mirrored(self, draw: Callable[..., None]) -> None:
        """Calls draw(f) for both sides; f maps a distance from the middle to an x."""
        for side in (-1, 1):
            draw(lambda distance, side=side: 0.5 + side * distance)

    def image(self) -> np.ndarray:
        """(3, size, size) float32 in [0, 1]."""
        size = self.side // FINE
        return np.clip(self.pixels.reshape(size, FINE, size, FINE, 3).mean((1, 3)).transpose(2, 0, 1), 0, 1)


def _cat(size: int) -> np.ndarray:
    fur, dark, pale, pink = (0.85, 0.55, 0.25), (0.55, 0.3, 0.12), (0.97, 0.9, 0.8), (0.9, 0.55, 0.55)
    c = _Canvas(size, (0.45, 0.6, 0.5))
    c.mirrored(lambda f: c.shape([(f(0.32), 0.02), (f(0.06), 0.24), (f(0.34), 0.38)], fur))
    c.mirrored(lambda f: c.shape([(f(0.28), 0.1), (f(0.13), 0.24), (f(0.28), 0.32)], pink))
    c.oval(0.5, 0.55, 0.34, 0.36, fur)
    for x in (-0.1, 0, 0.1):  # stripes of the forehead
        c.line([(0.5 + x, 0.22), (0.5 + 0.7 * x, 0.34)], dark, 0.02)
    for y in (0.52, 0.6):
        c.mirrored(lambda f, y=y: c.line([(f(0.33), y), (f(0.23), y + 0.03)], dark, 0.02))
    c.mirrored(lambda f: c.oval(f(0.08), 0.7, 0.1, 0.09, pale))
    c.mirrored(lambda f: c.oval(f(0.15), 0.47, 0.075, 0.06, (0.65, 0.8, 0.3)))
    c.mirrored(lambda f: c.oval(f(0.15), 0.47, 0.018, 0.052, (0.05, 0.05, 0.05)))
    c.shape([(0.45, 0.61), (0.55, 0.61), (0.5, 0.665)], pink)
    c.mirrored(lambda f: c.line([(0.5, 0.665), (f(0.03), 0.72), (f(0.09), 0.72)], dark, 0.012))
    white = (0.98, 0.98, 0.98)
    for k in range(3):  # whiskers
        c.mirrored(lambda f, k=k: c.line([(f(0.12), 0.69 + 0.02 * k), (f(0.38), 0.64 + 0.06 * k)], white, 0.006))
    return c.image()


def _monkey(size: int) -> np.ndarray:
    fur, face, dark = (0.36, 0.22, 0.13), (0.88, 0.68, 0.5), (0.2, 0.1, 0.06)
    c = _Canvas(size, (0.55, 0.65, 0.75))
    c.mirrored(lambda f: c.oval(f(0.36), 0.5, 0.11, 0.13, fur))
    c.mirrored(lambda f: c.oval(f(0.37), 0.5, 0.07, 0.085, face))
    c.oval(0.5, 0.5, 0.33, 0.42, fur)
    c.mirrored(lambda f: c.oval(f(0.13), 0.44, 0.14, 0.13, face))
    c.oval(0.5, 0.68, 0.23, 0.19, face)
    c.mirrored(lambda f: c.oval(f(0.14), 0.45, 0.055, 0.05, (0.98, 0.98, 0.98)))
    c.mirrored(lambda f: c.oval(f(0.14), 0.45, 0.03, 0.035, dark))
    c.mirrored(lambda f: c.line([(f(0.07), 0.355), (f(0.2), 0.35)], dark, 0.02))
    c.mirrored(lambda f: c.oval(f(0.035), 0.6, 0.017, 0.012, dark))
    c.line([(0.38, 0.73), (0.44, 0.765), (0.5, 0.775), (0.56, 0.765), (0.62, 0.73)], dark, 0.016)
    return c.image()
