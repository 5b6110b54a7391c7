"""Grids over images: the canonical grid as a displacement warps it (second and third row of Fig. 2)."""

from __future__ import annotations

import cv2
import numpy as np

GREEN = np.array([0.1, 0.95, 0.3], np.float32)
LARGEST_SCALE = 3
CELLS = 10  # cells of the canonical grid along each side
NAME_HEIGHT, NAME_SCALE = 18, 0.38  # pixels below an image for its name, size of the letters
SHOWN_PIXELS = 192  # target side of an image in a figure, pixels


def display_scale(side: int) -> int:
    """Factor by which an image of `side` pixels is enlarged in a figure."""
    return min(LARGEST_SCALE, max(1, round(SHOWN_PIXELS / side)))


def as_rgb(image: np.ndarray) -> np.ndarray:
    """(C, H, W) in [0, 1], greyscale or colour -> (H, W, 3)."""
    picture = np.clip(image.transpose(1, 2, 0), 0, 1).astype(np.float32)
    return np.repeat(picture, 3, 2) if picture.shape[2] == 1 else picture


def enlarge(picture: np.ndarray, scale: int) -> np.ndarray:
    """(H, W, ...) -> (scale * H, scale * W, ...), bilinear."""
    height, width = picture.shape[:2]
    return cv2.resize(picture, (width * scale, height * scale), interpolation=cv2.INTER_LINEAR)


def with_grid(image: np.ndarray, displacement: np.ndarray | None = None) -> np.ndarray:
    """An image, enlarged as in figures, with the canonical grid drawn over it, regular or warped.

    Pixel (x, y) of the warped image shows the canonical point (x + dx, y + dy), so a grid line is the set of pixels
    whose canonical coordinate is a multiple of the spacing.

    image: (C, H, W) in [0, 1]. displacement: (2, H, W) in pixels; None: a regular grid. Returns
    (scale * H, scale * W, 3) in [0, 1], scale of display_scale.
    """
    scale = display_scale(image.shape[-1])
    picture = enlarge(as_rgb(image), scale)
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    canonical = np.stack([x, y], -1)
    if displacement is not None:
        canonical += scale * enlarge(np.ascontiguousarray(displacement.transpose(1, 2, 0)), scale)
    cover = np.zeros((height, width), np.float32)
    for axis, length in ((0, width), (1, height)):
        phase = canonical[..., axis] * CELLS / (length - 1)
        distance = np.abs(phase - np.round(phase))
        # division by the gradient gives lines the same thickness where the map is stretched
        gradient = np.hypot(*np.gradient(phase)) + 1e-6
        cover = np.maximum(cover, np.clip(1.2 - distance / gradient, 0, 1))
    return picture + 0.75 * cover[..., None] * (GREEN - picture)


def with_name(image: np.ndarray, name: str) -> np.ndarray:
    """An image (C, H, W) in [0, 1], enlarged as in figures, above its name, (height, width, 3); a name that is too long
    for the width, or not ASCII, is left out."""
    picture = enlarge(as_rgb(image), display_scale(image.shape[1]))
    strip = np.ones((NAME_HEIGHT, picture.shape[1], 3), np.float32)
    (width, height), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, NAME_SCALE, 1)
    if name.isascii() and width <= strip.shape[1]:
        cv2.putText(strip, name, ((strip.shape[1] - width) // 2, (NAME_HEIGHT + height) // 2),
                    cv2.FONT_HERSHEY_SIMPLEX, NAME_SCALE, (0.2, 0.2, 0.2), 1, cv2.LINE_AA)
    return np.concatenate([picture, strip]) if name else picture
