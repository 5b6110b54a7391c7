"""Clips as moving pictures: .gif or .mp4, by the name of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence

import cv2
import numpy as np
from PIL import Image

from dgn.errors import RunFailed
from dgn.figures.sheet import tile
from dgn.files import replacing


def save_animation(path: Path, rows: Sequence[Sequence[np.ndarray]], frames_per_second: int = 10, scale: int = 3) -> Path:
    """Writes rows of clips (F, C, H, W) of equal length, side by side as on a sheet. Raises RunFailed if the disk refuses."""
    pictures = [np.rint(255 * tile([[clip[t] for clip in row] for row in rows], scale)).astype(np.uint8)
                for t in range(len(rows[0][0]))]
    with replacing(path) as beside:
        if path.suffix == ".gif":
            first, *others = [Image.fromarray(picture) for picture in pictures]
            first.save(beside, "GIF", save_all=True, append_images=others, duration=1000 // frames_per_second, loop=0)
        else:
            _write_mp4(beside, path, pictures, frames_per_second)
    return path


def _write_mp4(beside: Path, path: Path, pictures: Sequence[np.ndarray], frames_per_second: int) -> None:
    height, width = (side + side % 2 for side in pictures[0].shape[:2])  # the codec wants even sides
    video = cv2.VideoWriter(str(beside), cv2.VideoWriter_fourcc(*"mp4v"), frames_per_second, (width, height))
    if not video.isOpened():
        raise RunFailed(f"cannot write {path}: this OpenCV has no encoder for it; choose a name that ends in .gif")
    for picture in pictures:
        rows, columns = height - picture.shape[0], width - picture.shape[1]
        video.write(cv2.cvtColor(np.pad(picture, ((0, rows), (0, columns), (0, 0)), "edge"), cv2.COLOR_RGB2BGR))
    video.release()
    written = cv2.VideoCapture(str(beside))  # the writer says nothing of a disk that is full
    count = int(written.get(cv2.CAP_PROP_FRAME_COUNT))
    written.release()
    if count != len(pictures):
        raise RunFailed(f"cannot write {path}: {count} of its {len(pictures)} frames are on the disk; is it full?")
