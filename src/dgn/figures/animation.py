"""Clips as moving pictures: .gif or .mp4, by the suffix of the path."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import cv2
import numpy as np
from PIL import Image

from dgn.errors import RunFailed
from dgn.figures.sheet import tile
from dgn.files import replacing

MP4 = cv2.VideoWriter.fourcc(*"mp4v")


def save_animation(path: Path, rows: Sequence[Sequence[np.ndarray]], frames_per_second: int = 10,
                   scale: int = 3) -> Path:
    """Writes rows of clips (F, C, H, W) of equal length and size, tiled as on a sheet.

    Raises RunFailed if the file cannot be written, or OpenCV has no encoder for .mp4.
    """
    pictures = [np.rint(255 * tile([[clip[t] for clip in row] for row in rows], scale)).astype(np.uint8)
                for t in range(len(rows[0][0]))]
    with replacing(path) as temporary:
        if path.suffix == ".gif":
            first, *others = [Image.fromarray(picture) for picture in pictures]
            first.save(temporary, "GIF", save_all=True, append_images=others, duration=1000 // frames_per_second,
                       loop=0)
        else:
            _write_mp4(temporary, path, pictures, frames_per_second)
    return path


def _write_mp4(temporary: Path, path: Path, pictures: Sequence[np.ndarray], frames_per_second: int) -> None:
    """Writes pictures (H, W, 3) to `temporary`; `path` is its final name, for messages."""
    height, width = (side + side % 2 for side in pictures[0].shape[:2])  # the codec needs even sides
    video = cv2.VideoWriter(str(temporary), MP4, frames_per_second, (width, height))
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
