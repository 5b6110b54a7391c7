"""New images, or new clips longer than the training clips (4, Eq. 10 to 12).

  dgn experiment sampling runs/faces_demo
  dgn experiment sampling runs/clips --frames 48

Latents are drawn from a Gaussian fitted to the training latents (dgn.inference.fitted, beyond the paper;
fitted_prior.npz in the run folder), or from the prior of the model. Both are measured. For images, the Frechet
distance between samples and training images (to whose latents the Gaussian was fitted) is measured, and between two
halves of the training images. For clips, the mean change from frame to frame is measured, within the trained length and
beyond it, with its standard error over clips, and for training clips.

Written to the run folder: section "sampling" of metrics.json, figures/samples.png, for clips also .gif.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dgn.errors import UserError
from dgn.evaluation.ratios import formatted
from dgn.evaluation.sample_quality import distance_of_halves, frechet_distance
from dgn.evaluation.uncertainty import plus_minus, standard_error_of_mean
from dgn.figures import clip_pictures, pictures
from dgn.run import PRIORS, Run

CLIPS, VALUES = 100, 2 ** 26  # largest numbers of measured clips, and of values in them
IMAGES = 1000  # largest numbers of samples, and of training images for comparison
NAMES = {"fitted": "the fitted Gaussian", "prior": "the prior"}


def sampling(run: Run, *, frames: int | None = None, count: int | None = None, seed: int = 1,
             prior: str = "fitted") -> dict[str, Any]:
    """Draws `count` clips (default: 6) of `frames` frames (default: three times the trained number), or `count` images
    (default: 33).

    prior: distribution of the samples in the picture, see Run.sample.
    Returns for "fitted" and "prior" the Frechet distance (images) or the values of `changes` (up to CLIPS clips). In
    addition for images frechet_of_halves, see distance_of_halves; for clips frames, trained_frames and
    change_of_training_clips. "pictures": paths of figures/samples.png and, for clips, .gif. All but the pictures is
    written to the section sampling of metrics.json. Raises UserError for fewer than 2 frames, or frames for images.
    """
    trained, source = run.config.data.frames, run.sources.train
    picture = run.folder.figures / "samples.png"
    if not trained:
        if frames:
            raise UserError(f"{run.folder.path} is a run on images; --frames is for runs on clips")
        real = source.read(source.indices(IMAGES))
        result: dict[str, Any] = {name: {"frechet": frechet_distance(run.sample(IMAGES, seed, name).image, real)}
                                  for name in PRIORS}
        result["frechet_of_halves"] = distance_of_halves(real) if len(real) > 3 else None
        result = run.folder.add_section("sampling", result)
        return {**result, "pictures": [pictures.samples(picture, run.sample(count or 33, seed, prior).image, prior)]}
    frames = frames or 3 * trained
    if frames < 2:
        raise UserError(f"{frames} frame is too few: a clip in which something moves has at least 2")
    shown, values = count or 6, frames * int(np.prod(source.shape[1:]))
    measured = min(CLIPS, max(VALUES // values, 2))
    indices = source.indices(measured)
    clips = {name: run.sample(max(shown, measured), seed, name, frames).image for name in PRIORS}
    real, mask = source.read(indices), np.asarray(source.mask(indices))
    result = {"frames": frames, "trained_frames": trained,
              "change_of_training_clips": float(change(real)[mask[:, 1:] > 0].mean()),
              **{name: changes(made[:measured], trained) for name, made in clips.items()}}
    result = run.folder.add_section("sampling", result)
    return {**result, "pictures": clip_pictures.samples(picture, clips[prior][:shown], trained, prior)}


def summary(result: dict[str, Any]) -> str:
    """The result as text."""
    if "frames" not in result:
        return "Frechet distance to training images: " + ", ".join(
            f"samples of {NAMES[name]} {formatted(result[name]['frechet'], '.4f')}" for name in PRIORS) + (
            f"; of one half of these to the other {formatted(result['frechet_of_halves'], '.4f')}")

    def mean(measured: dict[str, float | None], where: str) -> str:
        return plus_minus(measured[f"change_{where}"], measured[f"change_{where}_stderr"], ".4f")
    lines = [f"  clips of {NAMES[name]}: within the trained length {mean(result[name], 'within')}"
             + (f", beyond it {mean(result[name], 'beyond')}" if result["frames"] > result["trained_frames"] else "")
             for name in PRIORS]
    return "\n".join(["mean change of a pixel from frame to frame:", *lines,
                      f"  training clips: {result['change_of_training_clips']:.4f}"])


def changes(clips: np.ndarray, trained: int) -> dict[str, float | None]:
    """Mean absolute change of a pixel from frame to frame of new clips (n, F, C, H, W).

    Returns change_within and change_beyond, the means within and beyond the trained number of frames, and
    change_within_stderr and change_beyond_stderr, their standard errors over clips; None if no frame lies beyond.
    """
    new, result = change(clips), {}
    for where, part in (("within", new[:, :trained - 1]), ("beyond", new[:, trained - 1:])):
        means = part.mean(1) if part.shape[1] else None
        result[f"change_{where}"] = None if means is None else float(means.mean())
        result[f"change_{where}_stderr"] = None if means is None else standard_error_of_mean(means)
    return result


def change(clips: np.ndarray) -> np.ndarray:
    """Mean absolute difference of every frame from the one before, (n, F - 1)."""
    return np.abs(np.diff(clips, axis=1)).mean((2, 3, 4))
