"""Images as data URIs."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np

from dgn.data.decoding import decode
from dgn.data.pixels import to_bytes
from dgn.figures.sheet import printable

THUMBNAIL = 96  # pixels a side, at most
WIDTHS = (1100, 900, 720, 560, 420)  # of a picture, the first at which all fit
QUALITY = 72
CAPTIONS = {
    "reconstruction": "Images and their reconstructions; below, for a model with a warp, the image before it, and "
                      "the grid",
    "recombination": "One image's appearance with the geometry of others, and the reverse",
    "appearance_bases": "Each row varies one appearance latent; the others are fixed",
    "geometry_bases": "Each row varies one geometry latent; the others are fixed",
    "applied_bases": "Changes of the appearance, warped by two changes of the geometry",
    "latent_bases": "Each row varies one latent; the others are fixed",
    "labels_1": "Each label, with a change of its geometry",
    "labels_2": "Each label, with another change of its geometry",
    "grids": "The canonical grid over time", "samples": "New images, decoded from random latents",
    "data": "The first training images"}
SKIPPED = ("curves",)  # the page draws them itself


def sprite(images: np.ndarray) -> str:
    """Thumbnails of images (n, C, H, W) side by side, as a data URI."""
    side = min(images.shape[-1], THUMBNAIL)
    tiles = [cv2.resize(_as_bgr(image), (side, side), interpolation=cv2.INTER_AREA) for image in images]
    return _webp(np.concatenate(tiles, 1), 90)


def run_pictures(folder: Path, budget: int) -> list[dict[str, str]]:
    """The PNG files of a figures folder, downscaled so that they need at most `budget` bytes in total: {name, caption,
    source}. If they do not fit at the smallest width, the last ones are left out."""
    # [!.]: not a temporary file that a killed process left
    paths = [path for path in folder.glob("[!.]*.png") if path.stem not in SKIPPED] if folder.is_dir() else []
    known = list(CAPTIONS)
    paths.sort(key=lambda path: (known.index(path.stem) if path.stem in known else len(known), path.name))
    pictures = [(path, picture) for path in paths if (picture := _picture(path)) is not None]
    for width in WIDTHS:
        entries = [{"name": printable(path.name),
                    "caption": CAPTIONS.get(path.stem, printable(path.stem).replace("_", " ")),
                    "source": _webp(_at_most(picture, width), QUALITY)} for path, picture in pictures]
        if sum(len(entry["source"]) for entry in entries) <= budget:
            return entries
    while entries and sum(len(entry["source"]) for entry in entries) > budget:
        entries.pop()
    return entries


def _picture(path: Path) -> np.ndarray | None:
    """(H, W, 3) of a file, whatever its name (OpenCV's own reading aborts where it is no UTF-8); None if it is damaged
    or no image."""
    try:
        pixels = decode(path)
    except (OSError, ValueError):
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR if pixels.ndim == 2 else cv2.COLOR_RGB2BGR)


def _as_bgr(image: np.ndarray) -> np.ndarray:
    """(C, H, W) in [0, 1], greyscale or RGB -> (H, W, 3) bytes in OpenCV's order."""
    picture = to_bytes(image).transpose(1, 2, 0)
    return np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3))[..., ::-1])


def _at_most(picture: np.ndarray, width: int) -> np.ndarray:
    height, present = picture.shape[:2]
    if present <= width:
        return picture
    return cv2.resize(picture, (width, max(round(height * width / present), 1)), interpolation=cv2.INTER_AREA)


def _webp(picture: np.ndarray, quality: int) -> str:
    data = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
    return "data:image/webp;base64," + base64.b64encode(data.tobytes()).decode("ascii")
