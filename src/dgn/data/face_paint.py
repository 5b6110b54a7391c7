"""The colours of a drawn head: every part is a function of material coordinates and appearance factors.

Images are (3, size, size) float32 RGB in [0, 1] while they are painted; positions and lengths are in the units of
`face_surface` (the frame spans [-1, 1]). The light is fixed to the head and uses the normals of the neutral head, so
that pose and expression do not change the colour of a point.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from dgn.data.face_factors import Factors
from dgn.data.face_surface import (
    BROW,
    EYE,
    EYE_HALF_WIDTH,
    LOWER_LID,
    MOUTH_HALF_WIDTH,
    MOUTH_Y,
    NOSE_TIP,
    UPPER_LID,
    Rays,
    Skin,
    Window,
    bell,
    cast,
    meet_ellipsoid,
    normals,
    rotation,
    smoothstep,
    trace,
)
from dgn.randomness import generator

# Piecewise linear palettes over a factor in [0, 1]: (position, RGB in 0..255).
_SKIN = ((0.0, (104, 66, 48)), (0.35, (164, 112, 82)), (0.7, (222, 172, 138)), (1.0, (248, 217, 196)))
_HAIR = ((0.0, (34, 28, 27)), (0.3, (78, 50, 34)), (0.55, (132, 76, 42)), (0.8, (206, 166, 104)),
         (1.0, (196, 190, 184)))
_IRIS = ((0.0, (84, 52, 30)), (0.4, (96, 116, 66)), (0.75, (74, 118, 172)), (1.0, (146, 168, 184)))
_BLUSH = (0.86, 0.36, 0.32)
_LIP_RED = (0.78, 0.18, 0.22)

_SHELL_CENTRE, _SHELL_RADII = (0.0, -0.13, -0.04), (0.735, 1.03, 0.83)  # hair around the skull
_MANE_CENTRE, _MANE_RADII = (0.0, 0.22, -0.32), (0.80, 1.15, 0.48)  # long hair behind the head
_EAR_CENTRE, _EAR_RADII = (0.665, 0.06, -0.04), (0.085, 0.20, 0.12)


def _palette(stops: tuple, value: float) -> np.ndarray:
    """RGB (3,) of a palette at `value`."""
    at, colours = zip(*stops)
    return np.array([np.interp(value, at, channel) for channel in zip(*colours)], np.float32) / 255


def _mix(image: np.ndarray, colour: object, alpha: np.ndarray) -> None:
    """Blends `colour`, (3,) or an image, into `image` in place with opacity `alpha` (size, size)."""
    colour = np.asarray(colour, np.float32)
    image += alpha * ((colour[:, None, None] if colour.ndim == 1 else colour) - image)


def _edge(distance: np.ndarray, width: float) -> np.ndarray:
    """Opacity of a shape at signed `distance` inside its outline, with an edge of width `width`."""
    return np.clip(distance * (1 / width) + 0.5, 0, 1)


def _lighting(normal: np.ndarray, light: float) -> np.ndarray:
    """Brightness factor of a surface with normals (3, ...) in head coordinates under soft light from side `light`."""
    source = np.array([0.85 * light, -0.40, 0.80], np.float32)
    x, y, z = source / np.linalg.norm(source)
    facing = x * normal[0] + y * normal[1] + z * normal[2]
    return 0.52 + 0.56 * np.clip(0.5 + 0.5 * facing, 0, 1) ** 1.5


@lru_cache(maxsize=64)
def _complexion(identity: int) -> np.ndarray:
    """Random skin pattern of a person over azimuth and height, (128, 128, 2): unevenness about -1..1, freckles 0..1."""
    rng = generator(identity, "complexion")
    uneven = cv2.resize(rng.standard_normal((9, 9)).astype(np.float32), (128, 128), interpolation=cv2.INTER_CUBIC)
    spots = (rng.random((128, 128)) < 0.035).astype(np.float32) * rng.uniform(0.5, 1, (128, 128)).astype(np.float32)
    spots = np.minimum(cv2.GaussianBlur(spots, (0, 0), 0.8) * 3.2, 1)
    return np.ascontiguousarray(np.stack([uneven, spots], -1))


def _sample_complexion(identity: int, azimuth: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(unevenness, freckles) of the skin pattern at head positions; azimuth in radians, 0 in front."""
    columns, rows = (azimuth * (1 / 3.2) + 1) * 63.5, (y * (1 / 1.1) + 1) * 63.5
    sampled = cv2.remap(_complexion(identity), columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return sampled[..., 0], sampled[..., 1]


def _background(rays: Rays, factors: Factors) -> np.ndarray:
    """A plain wall with a brightness gradient."""
    phase = 2 * np.pi * (factors.background_hue - np.arange(3) / 3)
    wall = (0.25 + 0.6 * factors.background_light) * (0.88 + 0.12 * np.cos(phase))
    gradient = 1 + 0.28 * factors.background_gradient * rays.frame[0] - 0.06 * rays.frame[1]
    return wall.astype(np.float32)[:, None, None] * gradient


def _paint_neck(image: np.ndarray, rays: Rays, factors: Factors) -> None:
    """A neck in the head's shadow, drawn flat; it follows the head's middle."""
    middle = float((rotation(factors) @ (0.0, 0.6, -0.4))[0])
    across = (rays.frame[0] - middle) * (1 / (0.36 * factors.head_width))
    normal = np.stack([np.clip(across, -1, 1), np.zeros_like(across), np.sqrt(np.maximum(1 - across**2, 0))])
    tone = _palette(_SKIN, factors.skin) * np.array([0.80, 0.74, 0.72], np.float32)
    colour = tone[:, None, None] * _lighting(normal, factors.light)
    _mix(image, colour, _edge((1 - np.abs(across)) * 0.36, max(0.03, rays.pixel)) * (rays.frame[1] > 0.2))


def _paint_face(skin: Skin, rays: Rays, factors: Factors) -> np.ndarray:
    """Colours (3, size, size) of the head's surface, eyes and mouth."""
    x, y, side = skin.x, skin.y, np.abs(skin.x)
    tone = _palette(_SKIN, factors.skin)
    hair = _palette(_HAIR, factors.hair_colour)
    uneven, spots = _sample_complexion(factors.identity, np.arctan2(x, skin.z + 0.1), y)
    image = tone[:, None, None] * (1 + 0.055 * factors.texture * uneven)

    flush = 0.55 * bell(side, y, (0.36, 0.20), (0.14, 0.12)) + 0.3 * bell(x, y, NOSE_TIP, (0.09, 0.07))
    redness = factors.cheek_redness * flush * (0.8 + 0.2 * uneven * factors.texture)
    _mix(image, tone * np.array(_BLUSH, np.float32) * 1.15, redness)
    _mix(image, tone * 0.62, 0.7 * factors.freckles * spots * bell(side, y, (0.22, 0.16), (0.22, 0.13)))

    shade = _lighting(normals(x, y, skin.z), factors.light) * _hollows(side, y)
    _paint_beard(image, side, y, hair, factors)
    _paint_lips(image, side, y, tone, rays.pixel, factors)
    image *= shade
    _paint_brows(image, side, y, tone, rays.pixel, factors)
    _paint_lids(image, side, y, tone)
    _paint_mouth_cavity(image, skin, rays.pixel)
    _paint_eyes(image, skin, rays.pixel, factors)
    return image


def _hollows(side: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Brightness factor of the darker places: eye sockets, below the nose, nostrils, below the lip."""
    dark = 0.20 * bell(side, y, (0.22, -0.12), (0.11, 0.06))
    dark += 0.24 * bell(side, y, (0.0, 0.315), (0.10, 0.030))
    dark += 0.50 * bell(side, y, (0.052, 0.285), (0.026, 0.016))
    dark += 0.16 * bell(side, y, (0.135, 0.245), (0.022, 0.035))
    dark += 0.14 * bell(side, y, (0.0, 0.605), (0.12, 0.030))
    dark += 0.10 * bell(side, y, (0.245, 0.47), (0.03, 0.05))
    return 1 - dark


def _paint_beard(image: np.ndarray, side: np.ndarray, y: np.ndarray, hair: np.ndarray, factors: Factors) -> None:
    """Moustache and beard, thin first and dense when full."""
    if factors.beard == 0:
        return
    chin = smoothstep(0.32, 0.62, y + 0.45 * smoothstep(0.25, 0.60, side) - 0.02)
    moustache = bell(side, y, (0.10, 0.385), (0.10, 0.035))
    beard = np.maximum(chin, 1.1 * moustache) * (1 - 0.9 * bell(side, y, (0.0, MOUTH_Y), (0.13, 0.045)))
    _mix(image, hair * 0.85 + 0.02, np.clip(factors.beard * beard, 0, 0.92))


def _paint_lips(image: np.ndarray, side: np.ndarray, y: np.ndarray, tone: np.ndarray, pixel: float,
                factors: Factors) -> None:
    """Upper and lower lip around the mouth line, and the line itself."""
    height = 1 - (side * (1 / MOUTH_HALF_WIDTH)) ** 2
    bow = 0.062 * height - 0.022 * bell(side, y, (0.0, MOUTH_Y - 0.05), (0.03, 0.05))
    below = y - MOUTH_Y
    inside = np.minimum(below + bow, 0.085 * height - below)
    natural = tone * np.array([0.86, 0.62, 0.60], np.float32)
    redness = 0.15 + 0.75 * factors.lip_redness
    lip = natural * (1 - redness) + np.array(_LIP_RED, np.float32) * (0.35 + 0.65 * tone[0]) * 1.1 * redness
    _mix(image, lip, 0.92 * _edge(inside, max(0.03, pixel)))
    gloss = bell(side, y, (0.0, MOUTH_Y + 0.042), (0.07, 0.014))
    _mix(image, np.minimum(lip * 1.5, 1), 0.35 * gloss)
    line = np.exp(-((below * (1 / 0.012)) ** 2)) * np.clip(height * 4 + 0.5, 0, 1)
    _mix(image, lip * 0.35, 0.75 * line)


def _paint_brows(image: np.ndarray, side: np.ndarray, y: np.ndarray, tone: np.ndarray, pixel: float,
                 factors: Factors) -> None:
    """Arched brows that taper outwards."""
    along = (side - BROW[0]) * (1 / 0.18)
    arch = BROW[1] - 0.035 * (1 - along**2) + 0.03 * np.maximum(along, 0)
    half = (0.016 + 0.026 * factors.brow_thickness) * np.clip(1.0 - 0.35 * along, 0, 2)
    inside = np.minimum(half - np.abs(y - arch), (1 - np.abs(along)) * 0.18)
    colour = np.minimum(_palette(_HAIR, factors.hair_colour), tone * 0.8) * 0.75
    _mix(image, colour, (0.3 + 0.65 * factors.brow_darkness) * _edge(inside, max(0.035, pixel)))


def _paint_lids(image: np.ndarray, side: np.ndarray, y: np.ndarray, tone: np.ndarray) -> None:
    """Lashes on the lids' neutral edges and the crease above the upper lid."""
    lens = 1 - ((side - EYE[0]) * (1 / EYE_HALF_WIDTH)) ** 2
    near = np.clip(lens * 3 + 0.7, 0, 1)
    below = y - EYE[1]
    lash = np.exp(-(((below + UPPER_LID * lens + 0.008) * (1 / 0.016)) ** 2)) * near
    _mix(image, tone * 0.12, 0.85 * lash)
    rim = np.exp(-(((below - LOWER_LID * lens - 0.004) * (1 / 0.012)) ** 2)) * near
    _mix(image, tone * np.array([0.5, 0.36, 0.34], np.float32), 0.45 * rim)
    crease = np.exp(-(((below + 0.10 * lens + 0.006) * (1 / 0.014)) ** 2)) * near
    _mix(image, tone * np.array([0.55, 0.42, 0.38], np.float32), 0.45 * crease)


def _paint_mouth_cavity(image: np.ndarray, skin: Skin, pixel: float) -> None:
    """Upper teeth and tongue between parted lips; they are fixed to the head."""
    side, below = np.abs(skin.open_x), skin.open_y - MOUTH_Y
    cavity = np.empty_like(image)
    cavity[:] = np.array([0.24, 0.07, 0.08], np.float32)[:, None, None]
    _mix(cavity, (0.70, 0.30, 0.31), 0.85 * bell(side, below, (0.0, 0.15), (0.09, 0.05)))
    _mix(cavity, (0.93, 0.90, 0.86), _edge(0.012 - below, 0.02) * smoothstep(0.175, 0.12, side))
    _mix(image, cavity, _edge(skin.mouth, max(0.018, pixel)))


def _paint_eyes(image: np.ndarray, skin: Skin, pixel: float, factors: Factors) -> None:
    """Sclera, iris, pupil and a highlight between the lids."""
    side, across, below = np.abs(skin.open_x), np.abs(skin.open_x) - EYE[0], skin.open_y - EYE[1]
    soft = max(0.014, pixel)
    iris = _palette(_IRIS, factors.eye_colour)
    radius = np.sqrt(across * across + below * below)
    eye = np.empty_like(image)
    corner = 1 - 0.30 * np.clip(np.abs(across) * (1 / EYE_HALF_WIDTH), 0, 1) ** 2
    roof = 1 - 0.35 * smoothstep(-0.02, -0.075, below)
    eye[:] = np.array([0.95, 0.93, 0.91], np.float32)[:, None, None] * (corner * roof)
    _mix(eye, iris * 0.55, _edge(0.066 - radius, soft))
    _mix(eye, iris * 1.15, _edge(0.056 - radius, 2 * soft) * (0.75 + 5 * below))
    _mix(eye, (0.03, 0.03, 0.03), _edge(0.028 - radius, soft))
    glint = bell(side, below, (EYE[0], -0.026), (0.013, 0.013))
    _mix(eye, (1.0, 1.0, 1.0), 0.95 * glint)
    _mix(image, eye, _edge(skin.eye, max(0.016, pixel)))


def _paint_ears(image: np.ndarray, rays: Rays, skin: Skin, factors: Factors) -> None:
    """Ears, where the head does not hide them."""
    tone = _palette(_SKIN, factors.skin) * np.array([0.97, 0.90, 0.88], np.float32)
    for sign in (-1, 1):
        centre = (sign * _EAR_CENTRE[0] * factors.head_width, *_EAR_CENTRE[1:])
        depth, cover = meet_ellipsoid(rays, centre, _EAR_RADII)
        point = rays.at(depth) - np.asarray(centre, np.float32)[:, None, None]
        inner = bell(point[1], point[2], (0.0, 0.02), (0.08, 0.05))
        normal = point / (np.linalg.norm(point, axis=0) + 1e-6)
        colour = tone[:, None, None] * _lighting(normal, factors.light) * (1 - 0.25 * inner)
        _mix(image, colour, cover * np.maximum(1 - skin.coverage, depth > skin.depth))


def _hair_line(point: np.ndarray, factors: Factors) -> np.ndarray:
    """Lower end (y) of the hair at positions on the scalp: high on the forehead, low at the sides and behind."""
    forehead = -0.72 + 0.36 * factors.hairline + 0.16 * factors.parting * np.clip(point[0] * 2, -1, 1)
    temple = -0.16 + 1.0 * np.clip(factors.hair_length - 0.25, 0, 1)
    front = smoothstep(-0.02, 0.42, point[2]) * smoothstep(0.78, 0.50, np.abs(point[0]))
    return temple + front * (forehead - temple)


def _hair_colour(point: np.ndarray, normal: np.ndarray, factors: Factors) -> np.ndarray:
    """Colour with a sheen and soft strands that run down from the crown."""
    azimuth = np.arctan2(point[0], point[2])
    strands = 1 + 0.06 * np.sin(23 * azimuth + 3 * point[1]) + 0.04 * np.sin(41 * azimuth)
    sheen = 0.10 * bell(point[1], normal[2], (-0.72, 0.7), (0.12, 0.4))
    colour = _palette(_HAIR, factors.hair_colour)[:, None, None] * (_lighting(normal, factors.light) * strands)
    return colour + sheen * (0.4 + 0.6 * colour)


def _meet_hair(rays: Rays, centre: tuple, radii: tuple,
               factors: Factors) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(material points, normals, coverage, depth) of a hair ellipsoid, which is as wide as the head."""
    wide = (radii[0] * factors.head_width, *radii[1:])
    depth, cover = meet_ellipsoid(rays, centre, wide)
    point = rays.at(depth)
    offset = point - np.asarray(centre, np.float32)[:, None, None]
    normal = offset / (np.asarray(wide, np.float32) ** 2)[:, None, None]
    normal = normal / (np.linalg.norm(normal, axis=0) + 1e-6)
    point = np.stack([point[0] * (1 / factors.head_width), point[1], point[2]])
    return point, normal, cover, depth


def _paint_mane(image: np.ndarray, rays: Rays, factors: Factors) -> None:
    """Long hair behind head and neck."""
    # short hair ends behind the ears, where it is hidden
    grown = float(smoothstep(0.25, 0.6, np.asarray(factors.hair_length, np.float32)))
    radii = ((0.8 + 0.2 * grown) * _MANE_RADII[0], *_MANE_RADII[1:])
    point, normal, cover, _ = _meet_hair(rays, _MANE_CENTRE, radii, factors)
    end = -0.2 + 1.2 * np.clip(factors.hair_length, 0, 1)
    _mix(image, 0.82 * _hair_colour(point, normal, factors), cover * _edge(end - point[1], 0.12))


def _hair_over_face(rays: Rays, skin: Skin, factors: Factors) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(material points, normals, opacity) of the hair on the scalp in front of `skin`."""
    point, normal, cover, depth = _meet_hair(rays, _SHELL_CENTRE, _SHELL_RADII, factors)
    fringe = _edge(_hair_line(point, factors) - point[1], max(0.05, rays.pixel))
    return point, normal, cover * fringe * ((depth > skin.depth - 0.02) | (skin.coverage < 0.5))


def paint(factors: Factors, size: int, window: Window) -> np.ndarray:
    """The part in `window` of a face of size x size pixels, (3, side, side) float32 RGB in [0, 1], one ray a pixel."""
    rays = cast(factors, size, window)
    skin = trace(rays, factors)
    image = _background(rays, factors)
    _paint_mane(image, rays, factors)
    _paint_neck(image, rays, factors)
    _paint_ears(image, rays, skin, factors)
    _mix(image, _paint_face(skin, rays, factors), skin.coverage)
    point, normal, alpha = _hair_over_face(rays, skin, factors)
    _mix(image, _hair_colour(point, normal, factors), alpha)
    return np.clip(image, 0, 1)


def material_coordinates(factors: Factors, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The point of the head, on the skin or in the hair, that each pixel shows.

    Returns coordinates (size, size, 3) float32 in the undeformed neutral head, which do not depend on pose, shape and
    expression, and a mask (size, size) of the pixels on the head.
    """
    rays = cast(factors, size)
    skin = trace(rays, factors)
    hair, _, alpha = _hair_over_face(rays, skin, factors)
    coordinates = np.where(alpha > 0.5, hair, np.stack([skin.x, skin.y, skin.z]))
    return coordinates.transpose(1, 2, 0).astype(np.float32), (alpha > 0.5) | (skin.coverage > 0.5)
