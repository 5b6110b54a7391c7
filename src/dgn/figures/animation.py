"""Writes clips as moving pictures: .gif or .mp4, depending on the suffix of the path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dgn.data.pixels import to_bytes
from dgn.errors import RunFailed
from dgn.figures.sheet import tile
from dgn.files import replacing

MP4 = cv2.VideoWriter.fourcc(*"mp4v")
RATE, SCALE = 10, 3  # frames a second; enlargement of an image


def save_animation(path: Path, rows: Sequence[Sequence[np.ndarray]]) -> Path:
    """Writes rows of clips (F, C, H, W) of equal length and size, tiled as on a sheet.

    Raises RunFailed if the file cannot be written, or OpenCV has no encoder for .mp4.
    """
    pictures = [to_bytes(tile([[clip[t] for clip in row] for row in rows], SCALE)) for t in range(len(rows[0][0]))]
    with replacing(path) as temporary:
        if path.suffix == ".gif":
            first, *others = [Image.fromarray(picture) for picture in pictures]
            first.save(temporary, "GIF", save_all=True, append_images=others, duration=1000 // RATE, loop=0)
        else:
            _write_mp4(temporary, path, pictures)
    return path


def _write_mp4(temporary: Path, path: Path, pictures: Sequence[np.ndarray]) -> None:
    """Writes pictures (H, W, 3) to `temporary`; `path` is its final name, for messages."""
    height, width = (side + side % 2 for side in pictures[0].shape[:2])  # the codec needs even sides
    video = cv2.VideoWriter(str(temporary), MP4, RATE, (width, height))
    if not video.isOpened():
        raise RunFailed(f"cannot write {path}: this OpenCV has no encoder for it; choose a name that ends in .gif")
    for picture in pictures:
        bottom, right = height - picture.shape[0], width - picture.shape[1]
        padded = np.pad(picture, ((0, bottom), (0, right), (0, 0)), "edge")
        video.write(cv2.cvtColor(padded, cv2.COLOR_RGB2BGR))
    video.release()
    written = cv2.VideoCapture(str(temporary))  # VideoWriter reports no error when the disk is full
    count = int(written.get(cv2.CAP_PROP_FRAME_COUNT))
    written.release()
    if count != len(pictures):
        raise RunFailed(f"cannot write {path}: {count} of its {len(pictures)} frames are on the disk; is it full?")
