"""The paper's pictures of a learned video model, each written as one PNG or as a moving picture."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List, Sequence

import numpy as np

from dgn.figures.animation import save_animation
from dgn.figures.grids import with_grid
from dgn.figures.sheet import save_sheet
from dgn.nets.model import Decoded

SHOWN = 10  # frames of a clip in a row, at most


def some(length: int, shown: int = SHOWN) -> np.ndarray:
    """Evenly spaced frames of so many; the pictures of a row."""
    return np.unique(np.rint(np.linspace(0, length - 1, min(shown, length))).astype(int))


def reconstruction(path: Path, clips: np.ndarray, decoded: Decoded, lengths: Sequence[int], names: Sequence[str],
                   title: str) -> Path:
    """Clips (n, F, C, H, W) of so many frames each; for each its frames, their reconstructions with the bent grid, and their appearances."""
    rows, labels = [], []
    for k, clip in enumerate(clips):
        at = some(lengths[k])
        image, appearance, displacement = (part[k][at] for part in decoded)
        rows += [list(clip[at]), list(image), [with_grid(i, d) for i, d in zip(image, displacement)], list(appearance)]
        labels += [names[k], "reconstruction", "with bent grid", "before the warp"]
    return save_sheet(path, rows, title, labels, note="Time runs from left to right.")


def grids(path: Path, decoded: Decoded, lengths: Sequence[int], names: Sequence[str]) -> Path:
    """Fig. 19: the bent grid over time, a clip a row."""
    rows = []
    for image, field, length in zip(decoded.image, decoded.displacement, lengths):
        at = some(length)
        rows.append([with_grid(i, d) for i, d in zip(image[at], field[at])])
    return save_sheet(path, rows, "Deformed grids over time", list(names), note="Where the canonical grid goes as the face moves.")


def recombination(path: Path, clips: np.ndarray, shown: int, exchanged: Sequence[np.ndarray],
                  names: Sequence[str]) -> List[Path]:
    """Fig. 15, 16: the first `shown` frames of two clips, then the first one's appearance with the second one's geometry, and the reverse; as a sheet
    and as a moving picture. `path` names the sheet."""
    at = some(shown)
    labels = [*names, "appearance of 1,\ngeometry of 2", "appearance of 2,\ngeometry of 1"]
    rows = [*clips, *exchanged]
    sheet = save_sheet(path, [list(clip[at]) for clip in rows], "Appearance and geometry of two clips, exchanged", labels,
                       note="Third row: colours of the first row, shape and motion of the second. Fourth row: the reverse.")
    moving = [clip[:shown] for clip in rows]
    return [sheet, *(save_animation(path.with_suffix(suffix), [moving[:2], moving[2:]]) for suffix in (".gif", ".mp4"))]


def edited_shapes(path: Path, rows: Sequence[np.ndarray], names: Sequence[str]) -> List[Path]:
    """Fig. 18: a clip with its Z_0^g changed along a basis, its dynamics kept."""
    at = some(len(rows[0]))
    sheet = save_sheet(path, [list(clip[at]) for clip in rows], "The shape of a clip edited by Z_0^g, its dynamics kept", list(names),
                       note="Shape changes from row to row; expression changes along a row as in the clip itself.")
    return [sheet, save_animation(path.with_suffix(".gif"), [list(rows)])]


def samples(path: Path, clips: np.ndarray, trained_on: int) -> List[Path]:
    """New clips from the prior, (n, F, C, H, W), more frames than were trained on."""
    at = some(clips.shape[1], 16)
    sheet = save_sheet(path, [list(clip[at]) for clip in clips], f"New clips of {clips.shape[1]} frames; trained on {trained_on}",
                       [""] * len(clips), [f"t = {t}" for t in at], note="Z_0 and every xi_t are drawn from the prior.")
    return [sheet, save_animation(path.with_suffix(".gif"), [list(clips)])]


def first_frames(decode: Callable[..., Decoded]) -> Callable[..., Decoded]:
    """A video model's decoder as that of an image model: (Z_0^a, Z_0^g) -> the first frame, a clip of one frame."""
    def decode_first(*latents: np.ndarray) -> Decoded:
        return Decoded(*(part[:, 0] for part in decode(*latents)))
    return decode_first
