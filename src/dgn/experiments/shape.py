"""Edits the global shape of clips by Z_0^g, and keeps their dynamics (5.6, Fig. 18).

  dgn experiment shape runs/clips
  dgn experiment shape runs/clips --clips 0 7

Z_0^g of training clips is moved along the dimension with the largest effect on the first frame; appearance and xi^g
stay the same. For generated clips the edit is also measured: how far landmarks, predicted by a probe, move, and whether
their motion stays the same. Only for deformable models. Written to the run folder: section "shape" of metrics.json,
figures/shape.png and .gif.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dgn.data.source import clip_lengths
from dgn.errors import UserError
from dgn.evaluation.exchange import correlation
from dgn.experiments.clip_common import (
    check_clips,
    check_geometry,
    clip_indices,
    exchange_partners,
    fit_probe,
    motion,
    over_time,
)
from dgn.figures import bases, clip_pictures
from dgn.nets.model import state_sizes
from dgn.run import Run

MEASURED = 100  # largest number of clips that are measured


def shape(run: Run, *, clips: Sequence[int | str] | None = None, dimension: int | None = None,
          amount: float = 1.5) -> dict[str, Any]:
    """Draws training clips with Z_0^g changed by -amount, 0 and amount along one dimension, and measures such edits.

    clips: indices or names of the clips (None: the first, and one of another person and class). dimension: of Z_0^g
    (None: the one with the largest effect on the first frame of the first clip).
    Returns dimension, amount; for generated clips also motion_kept, the correlation of landmark motion after and before
    the edit, and landmarks_moved, the mean absolute change of a landmark's mean coordinate in pixels; pictures: paths
    of figures/shape.png and .gif. Measures are written to the section shape of metrics.json. Raises UserError for a run
    on images or of a plain model, or a clip or dimension that does not exist.
    """
    check_clips(run)
    check_geometry(run)
    source, sizes = run.sources.train, state_sizes(run.model)
    clip_names = source.names
    if clips is None:
        clips = np.unique([0, exchange_partners(clip_names, source.people())[0]]).tolist()
    indices = clip_indices(clip_names, clips)
    if not 0 <= (dimension or 0) < sizes[1]:
        raise UserError(f"there is no dimension {dimension}: Z_0^g has the dimensions 0 to {sizes[1] - 1}")
    z_app, z_geo = run.bank.read(indices)
    if dimension is None:
        first = clip_pictures.first_frames(run.decode)
        dimension = int(bases.rank(first, [z_app[0, :sizes[0]], np.zeros(sizes[1], np.float32)], 1, amount).order[0])
    result: dict[str, Any] = {"dimension": dimension, "amount": amount}
    if run.config.data.path is None:
        result.update(measure(run, dimension, amount))
        result = run.folder.add_section("shape", result)

    amounts = (-amount, 0.0, amount)
    edits = [run.decode(z_app, edited(z_geo, dimension, change)).image for change in amounts]
    names = [f"Z_0^g {dimension} {change:+g}" if change else "as inferred" for change in amounts]
    clips_of = [[images[k][:length] for images in edits] for k, length in enumerate(clip_lengths(source, indices))]
    labels = [f"{clip_names[index]}\n{name}" for index in indices for name in names]
    return {**result, "pictures": clip_pictures.edited_shapes(run.folder.figures / "shape.png", clips_of, labels)}


def summary(result: dict[str, Any]) -> str:
    """The result as text."""
    text = f"dimension {result['dimension']} of Z_0^g by +-{result['amount']:g}"
    if "motion_kept" not in result:
        return text
    return (f"{text}: landmarks move by {result['landmarks_moved']:.2f} pixels; their motion over time correlates by "
            f"{result['motion_kept']:.2f} with the motion before")


def measure(run: Run, dimension: int, amount: float) -> dict[str, float]:
    """motion_kept and landmarks_moved of up to MEASURED generated clips, averaged over edits by -amount and amount."""
    z_app, z_geo = run.bank.read(np.arange(min(MEASURED, len(run.bank))))
    read = fit_probe(run.config.data).landmarks
    before = over_time(read, run.decode(z_app, z_geo).image)
    kept, moved = [], []
    for change in (-amount, amount):
        after = over_time(read, run.decode(z_app, edited(z_geo, dimension, change)).image)
        kept.append(correlation(motion(after).ravel(), motion(before).ravel()))
        moved.append(float(np.abs((after - before).mean(1)).mean()))
    return {"motion_kept": float(np.mean(kept)), "landmarks_moved": float(np.mean(moved))}


def edited(z_geo: np.ndarray, dimension: int, amount: float) -> np.ndarray:
    """Latents (n, d) of clips with `amount` added to one dimension of Z_0^g, and so to every Z_t = Z_0 + s_t."""
    result = z_geo.copy()
    result[:, dimension] += amount
    return result
