"""The surface of a drawn head: its shape, its deformation by the geometry factors, and its intersection with rays.

Coordinates are (x, y, z) = (image right, down, towards the viewer) for a frontal head; the frame spans [-1, 1] in x
and y. *Material* coordinates are coordinates in the undeformed neutral head. Colours depend only on them, so that a
change of geometry moves colours but does not change them.

The deformations are maps from the deformed head back to material coordinates, which is the direction that rays need.
Landmarks need the other direction; for them the maps are inverted by iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from dgn.data.face_factors import GEOMETRY, Factors

# Neutral head: a rounded superquadric around CENTRE with bumps on its front.
RADII = (0.67, 0.93, 0.74)
CENTRE_Y = -0.09
PIVOT_Z = 0.15  # the head rotates about an axis in front of its middle, so that a turned face stays in the frame

# Features, in material coordinates of the image-right half (the other half mirrors it).
EYE = (0.27, -0.05)
EYE_HALF_WIDTH = 0.135
UPPER_LID, LOWER_LID = 0.062, 0.042  # neutral distance of the lid edges from the eye's axis
BROW = (0.27, -0.25)
NOSE_TIP = (0.0, 0.215)
MOUTH_Y = 0.47
MOUTH_HALF_WIDTH = 0.205

_LID_RANGE = 0.15  # distance from a lid edge up to which the skin moves with it
_LIP_RANGE = 0.30
_TABLE_STEP = 1 / 160
_TABLE_TOP = -1.1
_AT_ONCE = 4096  # faces whose landmarks are computed together; cv2.remap takes less than 32,767 rows


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) * (1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def bell(x: np.ndarray, y: np.ndarray, at: tuple[Any, Any], spread: tuple[Any, Any]) -> np.ndarray:
    """Gaussian bump of height 1 around `at` with standard deviations `spread`; both numbers, or arrays like x."""
    u, v = (x - at[0]) * (0.7071 / spread[0]), (y - at[1]) * (0.7071 / spread[1])
    return np.exp(-(u * u + v * v))


@lru_cache(maxsize=1)
def _relief() -> np.ndarray:
    """Height of the features over the superquadric and its gradient in x and y, (rows, columns, 3) over (y, |x|)."""
    x = np.arange(0, 1.0, _TABLE_STEP)[None, :]
    y = np.arange(_TABLE_TOP, 1.1, _TABLE_STEP)[:, None]
    along = smoothstep(-0.24, 0.20, y)  # 0 at the root of the nose .. 1 at its tip
    ridge = (0.05 * smoothstep(-0.3, -0.1, y) + 0.125 * along**1.5) * (1 - smoothstep(0.20, 0.33, y))
    height = ridge * np.exp(-0.5 * (x / (0.05 + 0.035 * along)) ** 2)
    height = height + 0.055 * bell(x, y, (0.095, 0.225), (0.04, 0.05))  # wings of the nose
    height += 0.030 * bell(x, y, (0.26, -0.24), (0.14, 0.06))  # brow ridge
    height -= 0.045 * bell(x, y, (0.25, -0.08), (0.10, 0.07))  # eye socket
    height += 0.035 * bell(x, y, EYE, (0.09, 0.06))  # eyeball
    height += 0.030 * bell(x, y, (0.38, 0.14), (0.12, 0.12))  # cheekbone
    height += 0.075 * bell(x, y, (0.0, 0.47), (0.17, 0.11))  # muzzle
    height += 0.020 * bell(x, y, (0.0, 0.52), (0.11, 0.03))  # lower lip
    height += 0.110 * bell(x, y, (0.0, 0.74), (0.15, 0.11))  # chin
    gradient_y, gradient_x = np.gradient(height, _TABLE_STEP)
    return np.ascontiguousarray(np.stack([height, gradient_x, gradient_y], -1), np.float32)


@lru_cache(maxsize=1)
def _heights() -> np.ndarray:
    """The relief without its gradient, (rows, columns)."""
    return np.ascontiguousarray(_relief()[..., 0])


def _sample(table: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A table of the relief interpolated at material (x, y), of shape (...): (...) or (..., channels)."""
    columns, rows = np.abs(x) * (1 / _TABLE_STEP), (y - _TABLE_TOP) * (1 / _TABLE_STEP)
    return cv2.remap(table, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)


def _level(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Approximate signed distance of a material point from the neutral surface, positive outside."""
    qx, qy, qz = x * (1 / RADII[0]), np.abs(y - CENTRE_Y) * (1 / RADII[1]), z * (1 / RADII[2])
    radius = np.sqrt(qx * qx + qy * qy * np.sqrt(qy) + qz * qz)
    front = np.clip(qz * 2, 0, 1)
    return (radius - 1) * 0.72 - _sample(_heights(), x, y) * front


def normals(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Unit normals (3, ...) of the neutral surface at material points on it."""
    qy = (y - CENTRE_Y) * (1 / RADII[1])
    front = np.clip(z * (2 / RADII[2]), 0, 1)
    relief = _sample(_relief(), x, y)
    n = np.stack([
        x * (0.72 / RADII[0] ** 2) - relief[..., 1] * np.sign(x) * front,
        qy * np.sqrt(np.abs(qy)) * (0.72 * 1.25 / RADII[1]) - relief[..., 2] * front,
        z * (0.72 / RADII[2] ** 2),
    ])
    return n * (1 / np.sqrt((n * n).sum(0) + 1e-12))


def rotation(factors: Factors) -> np.ndarray:
    """(3, 3) matrix from head to camera coordinates: yaw first, then pitch, then roll."""
    yaw, pitch, roll = np.radians([factors.yaw, factors.pitch, factors.roll])
    about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    about_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    about_z = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    return np.array(about_z) @ np.array(about_x) @ np.array(about_y)


@dataclass(frozen=True)
class Rays:
    """Parallel rays of a square of pixels, in coordinates of the rotated head (before deformations are inverted).

    origin: (3, size, size), where a ray crosses the plane through the pivot; towards: (3,), unit vector to the
    viewer; frame: (2, size, size), image coordinates, [-1, 1] over the whole image; pixel: side of a pixel.
    """

    origin: np.ndarray
    towards: np.ndarray
    frame: np.ndarray
    pixel: float

    def at(self, depth: np.ndarray) -> np.ndarray:
        """The points (3, size, size) at `depth` towards the viewer."""
        return self.origin + self.towards[:, None, None] * depth


@dataclass(frozen=True)
class Window:
    """A square part of an image: its left and top pixel, and its side in pixels."""

    left: int
    top: int
    side: int


def cast(factors: Factors, size: int, window: Window | None = None) -> Rays:
    """The rays of a size x size image (orthographic projection), or of a part of it."""
    window = window or Window(0, 0, size)
    centres = ((np.arange(size) + 0.5) * (2 / size) - 1).astype(np.float32)
    across, down = centres[window.left:window.left + window.side], centres[window.top:window.top + window.side]
    frame = np.stack(np.broadcast_arrays(across[None, :], down[:, None]))
    turn = rotation(factors).astype(np.float32)
    origin = turn[0, :, None, None] * frame[0] + turn[1, :, None, None] * frame[1]
    origin[2] += PIVOT_Z
    return Rays(origin, turn[2], frame, 2 / size)


def meet_ellipsoid(rays: Rays, centre: tuple, radii: tuple) -> tuple[np.ndarray, np.ndarray]:
    """(depth, coverage) of the near side of an ellipsoid; coverage falls from 1 to 0 over a pixel at its edge.

    Rays that miss it have the depth of their closest approach.
    """
    inverse = (1 / np.asarray(radii, np.float32))
    start = (rays.origin - np.asarray(centre, np.float32)[:, None, None]) * inverse[:, None, None]
    step = rays.towards * inverse
    a = float(step @ step)
    b = (step[0] * start[0] + step[1] * start[1] + step[2] * start[2]) * (1 / a)  # faster than BLAS on three rows
    nearest = (start * start).sum(0) - a * b * b  # squared distance of closest approach, in radii
    depth = np.sqrt(np.maximum(1 - nearest, 0) * (1 / a)) - b
    inside = (1 - np.sqrt(np.maximum(nearest, 0))) * (min(radii[:2]) / rays.pixel)
    return depth, np.clip(inside + 0.5, 0, 1)


def _undeform(point: np.ndarray, factors: Factors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inverts the deformation of the bones: the dropped jaw, and the widths of head and jaw."""
    x, y, z = point
    y = y - _jaw_drop(y, factors)
    return x / _width(y, factors), y, z


def _jaw_drop(y: np.ndarray, factors: Factors) -> np.ndarray:
    """Downward displacement by the jaw of the point of the deformed head at height y."""
    return 0.11 * factors.mouth_open * smoothstep(0.42, 0.85, y)


def _width(y: np.ndarray, factors: Factors) -> np.ndarray:
    """Factor by which x is stretched at material height y."""
    return factors.head_width * (1 + factors.jaw_width * smoothstep(-0.1, 0.7, y))


@dataclass(frozen=True)
class Skin:
    """The intersection of rays with the head's surface, all (size, size).

    x, y, z: material coordinates of the skin; open_x, open_y: the same without the motion of lids and lips, which are
    the coordinates of eyeballs and mouth cavity; eye, mouth: distance inside the opening of lids or lips, negative on
    skin; coverage: 0 off the head .. 1 on it; depth: towards the viewer.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    open_x: np.ndarray
    open_y: np.ndarray
    eye: np.ndarray
    mouth: np.ndarray
    coverage: np.ndarray
    depth: np.ndarray


def _unmove(x: np.ndarray, y: np.ndarray, factors: Factors) -> tuple:
    """Inverts the motion of the skin: (x, y, open_x, open_y, eye, mouth) as in `Skin`."""
    side = np.abs(x)
    # A smile moves the mouth corners outwards and up.
    corner = factors.smile * bell(side, y, (0.24, MOUTH_Y), (0.10, 0.13))
    open_side = side - 0.04 * corner * np.clip(side * 8, 0, 1)
    open_y = y + 0.085 * corner

    across = np.clip(1 - (open_side * (1 / MOUTH_HALF_WIDTH)) ** 2, -1, 1)
    gap = factors.mouth_open * np.sqrt(np.maximum(across, 0))
    from_line = open_y - MOUTH_Y
    upper, lower = 0.05 * gap, 0.17 * gap
    mouth = np.where(across > 0, np.minimum(from_line + upper, lower - from_line), -1)
    above, below = np.clip((-from_line - upper) / _LIP_RANGE, 0, 1), np.clip((from_line - lower) / _LIP_RANGE, 0, 1)
    moved_y = open_y + np.where(from_line < 0.5 * (lower - upper), upper * (1 - above) ** 2, -lower * (1 - below) ** 2)

    # Lid edges are parabolas over the eye's axis; their height grows with the opening.
    lens = 1 - ((side - EYE[0]) * (1 / EYE_HALF_WIDTH)) ** 2
    from_axis = open_y - EYE[1]
    upper_edge, lower_edge = UPPER_LID * factors.eye_open, LOWER_LID * (0.4 + 0.6 * factors.eye_open)
    eye = np.minimum(from_axis + upper_edge * lens, lower_edge * lens - from_axis)
    lens = np.maximum(lens, 0)
    above = np.clip((-from_axis - upper_edge * lens) / _LID_RANGE, 0, 1)
    below = np.clip((from_axis - lower_edge * lens) / _LID_RANGE, 0, 1)
    middle = 0.5 * (lower_edge - upper_edge) * lens
    moved_y += lens * np.where(from_axis < middle, (upper_edge - UPPER_LID) * (1 - above) ** 2,
                               (LOWER_LID - lower_edge) * (1 - below) ** 2)

    # A frown lowers the inner ends of the brows most, a raise lifts the whole brows.
    frown = factors.brow_raise < 0
    focus, spread = np.where(frown, 0.14, 0.27), np.where(frown, 0.13, 0.20)
    lift = bell(side, open_y, (focus, BROW[1] - 0.04 * factors.brow_raise), (spread, 0.12))
    moved_y += 0.085 * factors.brow_raise * lift * smoothstep(-0.08, -0.18, open_y)
    sign = np.sign(x)
    return sign * open_side, moved_y, sign * open_side, open_y, eye, mouth


def _to_surface(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The depth z at which a front point (x, y) lies on the neutral surface, from a z close to it."""
    for _ in range(2):
        derivative = np.maximum(z * (0.72 / RADII[2] ** 2), 0.4)
        z = z - _level(x, y, z) / derivative
    return z


def trace(rays: Rays, factors: Factors) -> Skin:
    """Marches the rays from a bounding shape onto the deformed head."""
    # a ray may pass close to the nose before it reaches the cheek: finer pixels need more steps
    steps = 9 if rays.pixel > 0.012 else 16
    wide = factors.head_width * (1 + max(factors.jaw_width, 0)) * 1.08
    hull = (RADII[0] * wide, (RADII[1] + 0.11 * factors.mouth_open) * 1.08, RADII[2] * 1.14)
    depth = meet_ellipsoid(rays, (0, CENTRE_Y + 0.03, 0), hull)[0]
    nose_depth, nose = meet_ellipsoid(rays, (0, 0.16, 0.66), (0.3, 0.34, 0.3))
    depth = np.where(nose > 0, np.maximum(depth, nose_depth), depth)
    best, closest = depth, np.full_like(depth, np.inf)
    for _ in range(steps):
        level = _level(*_undeform(rays.at(depth), factors))
        nearer = level < closest
        best, closest = np.where(nearer, depth, best), np.where(nearer, level, closest)
        depth = depth - 0.85 * level
    x, y, z = _undeform(rays.at(best), factors)
    moved_x, moved_y, open_x, open_y, eye, mouth = _unmove(x, y, factors)
    z = np.where((moved_y == y) & (moved_x == x), z, _to_surface(moved_x, moved_y, z))
    coverage = np.clip(1.25 - closest * (1 / rays.pixel), 0, 1)
    return Skin(moved_x, moved_y, z, open_x, open_y, eye, mouth, coverage, best)


def place_landmarks(faces: Sequence[Factors], size: int) -> np.ndarray:
    """Pixel (x, y) of left eye, right eye, nose tip, left and right mouth corner of each face, (n, 5, 2) float32."""
    parts = [_place(faces[k:k + _AT_ONCE], size) for k in range(0, len(faces), _AT_ONCE)]
    return np.concatenate(parts) if parts else np.empty((0, 5, 2), np.float32)


def _place(faces: Sequence[Factors], size: int) -> np.ndarray:
    """place_landmarks of at least one and at most _AT_ONCE faces."""
    each: Any = SimpleNamespace(**{name: np.array([getattr(factors, name) for factors in faces])[:, None]
                                   for name in GEOMETRY})  # (n, 1)
    target = np.array([(-EYE[0], EYE[1]), EYE, NOSE_TIP, (-MOUTH_HALF_WIDTH, MOUTH_Y), (MOUTH_HALF_WIDTH, MOUTH_Y)])
    x, y = (np.tile(values, (len(faces), 1)) for values in target.T)  # (n, 5)
    for _ in range(30):  # eyeballs do not move; the map of the skin is inverted by fixed-point iteration
        moved_x, moved_y, *_ = _unmove(x[:, 2:], y[:, 2:], each)
        x[:, 2:], y[:, 2:] = x[:, 2:] + target[2:, 0] - moved_x, y[:, 2:] + target[2:, 1] - moved_y
    z = np.full_like(x, RADII[2])
    for _ in range(6):
        z = _to_surface(x, y, z)
    x = x * _width(y, each)
    material_y = y
    for _ in range(30):
        y = material_y + _jaw_drop(y, each)
    seen = np.stack([rotation(factors)[:2] for factors in faces]) @ np.stack([x, y, z - PIVOT_Z], 1)
    return ((seen.transpose(0, 2, 1) + 1) * (size / 2) - 0.5).astype(np.float32)
