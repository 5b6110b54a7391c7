"""The paper's pictures of a trained video model, each written as a PNG, and some as a moving picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dgn.data.source import Source, clip_lengths
from dgn.figures.animation import save_animation
from dgn.figures.grids import with_grid
from dgn.figures.pictures import GEOMETRY, SAMPLES_NOTES
from dgn.figures.sheet import save_sheet
from dgn.nets.model import Decode, Decoded, present
from dgn.nets.model import rows as rows_of

FRAMES = 10  # of a clip in one row, at most


def spaced(length: int, count: int = FRAMES) -> np.ndarray:
    """Indices of at most `count` evenly spaced frames of a clip of `length` frames, from the first to the last."""
    return np.unique(np.rint(np.linspace(0, length - 1, min(count, length))).astype(int))


def reconstruction(path: Path, clips: np.ndarray, decoded: Decoded, lengths: np.ndarray, names: Sequence[str],
                   title: str) -> Path:
    """For each clip its frames and their reconstructions and, for a model with a warp, these with the warped grid and
    their appearances.

    clips: (n, F, C, H, W); decoded: their reconstructions; lengths: frames that each clip has.
    """
    sheet, labels = [], []
    for k, clip in enumerate(clips):
        at = spaced(lengths[k])
        image, appearance, displacement = rows_of(rows_of(decoded, k), at)
        sheet += [list(clip[at]), list(image)]
        labels += [names[k], "reconstruction"]
        if appearance is not None and displacement is not None:
            sheet += [[with_grid(i, d) for i, d in zip(image, displacement)], list(appearance)]
            labels += ["with warped grid", "before the warp"]
    return save_sheet(path, sheet, title, labels, note="Time runs from left to right.")


def data(path: Path, source: Source, indices: np.ndarray) -> Path:
    """Frames of the clips at `indices` of a dataset after cropping, a row for each clip."""
    rows = [list(clip[spaced(length)]) for clip, length in zip(source.read(indices), clip_lengths(source, indices))]
    return save_sheet(path, rows, f"The first training clips, as they are cut: {source.shape[-1]} x {source.shape[-2]} "
                      "pixels", [source.name(int(k)) for k in indices], note="Time runs from left to right.")


def grids(path: Path, decoded: Decoded, lengths: np.ndarray, names: Sequence[str]) -> Path:
    """Fig. 19: the warped grid over time, a row for each clip of `lengths` frames."""
    rows, (_, displacements) = [], decoded.warp_inputs
    for image, displacement, length in zip(decoded.image, displacements, lengths):
        at = spaced(length)
        rows.append([with_grid(i, d) for i, d in zip(image[at], displacement[at])])
    return save_sheet(path, rows, "Warped grids over time", list(names),
                      note="The canonical grid as the displacement of each frame warps it.")


def recombination(path: Path, clips: np.ndarray, length: int, exchanged: np.ndarray,
                  names: Sequence[str]) -> list[Path]:
    """Fig. 15, 16: two clips, then both with their geometries exchanged, as a sheet, a .gif and an .mp4.

    path: of the sheet; the others differ in their suffix.
    clips, exchanged: (2, F, C, H, W); exchanged[0] has the appearance of clips[0]. length: frames that are shown.
    """
    at = spaced(length)
    labels = [*names, "appearance of 1,\ngeometry of 2", "appearance of 2,\ngeometry of 1"]
    rows = [*clips, *exchanged]
    title = "Appearance and geometry of two clips, exchanged"
    sheet = save_sheet(path, [list(clip[at]) for clip in rows], title, labels,
                       note="Row 3: colours of row 1, shape and motion of row 2. Row 4: the reverse.")
    moving = [clip[:length] for clip in rows]
    return [sheet, *(save_animation(path.with_suffix(suffix), [moving[:2], moving[2:]]) for suffix in (".gif", ".mp4"))]


def edited_shapes(path: Path, edits: Sequence[Sequence[np.ndarray]], names: Sequence[str]) -> list[Path]:
    """Fig. 18: for each clip several clips (F, C, H, W) that differ in Z_0^g and have the same dynamics, as a sheet and
    a .gif. names: of all these clips, in order."""
    title = f"The shape of clips edited by {GEOMETRY} of their first frame, their dynamics kept"
    rows = [clip for edited in edits for clip in edited]
    sheet = save_sheet(path, [list(clip[spaced(len(clip))]) for clip in rows], title, list(names),
                       note="Of each clip the shape changes from row to row; the expression changes along a row as in "
                            "the clip itself.")
    length = min(map(len, rows))
    moving = [[clip[:length] for clip in edited] for edited in edits]
    return [sheet, save_animation(path.with_suffix(".gif"), moving)]


def samples(path: Path, clips: np.ndarray, trained: int, prior: str) -> list[Path]:
    """New clips (n, F, C, H, W) as a sheet and a .gif. trained: number of frames of the training clips. prior: see
    Run.sample."""
    at = spaced(clips.shape[1], 16)
    sheet = save_sheet(path, [list(clip[at]) for clip in clips],
                       f"New clips of {clips.shape[1]} frames; trained on {trained}", [""] * len(clips),
                       [f"t = {t}" for t in at], note=SAMPLES_NOTES[prior])
    return [sheet, save_animation(path.with_suffix(".gif"), [list(clips)])]


def first_frames(decode: Decode) -> Decode:
    """The decoder of a video model as a decoder of images: (Z_0^a, Z_0^g) -> the first frames, clips of one frame."""
    def decode_first(*latents: np.ndarray) -> Decoded:
        return Decoded(*(field[:, 0] for field in present(decode(*latents))))
    return decode_first
