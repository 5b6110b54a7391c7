"""New images, or new clips longer than the training clips (4, Eq. 10 to 12).

  dgn experiment sampling runs/faces_demo
  dgn experiment sampling runs/clips --frames 48

Latents are drawn from the Gaussian that is fitted to those of the training samples (dgn.inference.fitted, beyond the
paper; fitted_prior.npz in the run folder), or from the prior; both are measured, and --prior draws the samples of the
picture from the prior, as the paper does. Of images: the Frechet distance of samples to training images. Of clips: the
mean change from frame to frame within the trained length, beyond it, and in training clips.

Written to the run folder: section "sampling" of metrics.json, figures/samples.png, of clips also .gif.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np

from dgn.errors import UserError
from dgn.evaluation.frechet import frechet_distance
from dgn.figures import clips as figures
from dgn.figures import pictures
from dgn.run import PRIORS, Run

TRAINING_CLIPS = 100  # compared with, at most
IMAGES = 1000  # samples, and training images that they are compared with, at most
NAMES = {"fitted": "the fitted Gaussian", "prior": "the prior"}


def sampling(run: Run, *, frames: Optional[int] = None, count: Optional[int] = None, seed: int = 1,
             prior: str = "fitted") -> Dict[str, Any]:
    """Draws `count` clips (default: 6) of `frames` frames (default: three times as many as trained on), or `count`
    images (default: 33).

    prior: what the samples of the picture are drawn from, see Run.sample.
    Returns for "fitted" and "prior" the Frechet distance, or the values of `changes` and, beside them, frames and
    change_of_training_clips; "pictures": paths of figures/samples.png and, of clips, .gif. All but the pictures is
    written to the section sampling of metrics.json. Raises UserError for fewer than 2 frames, or frames of images.
    """
    trained, source = run.config.data.frames, run.sources.train
    picture = run.folder.figures / "samples.png"
    if not trained:
        if frames:
            raise UserError(f"{run.folder.path} is a run on images; --frames is for runs on clips")
        real = source.read(source.first(IMAGES))
        result: Dict[str, Any] = {name: {"frechet": frechet_distance(run.sample(IMAGES, seed, name).image, real)}
                                  for name in PRIORS}
        run.folder.add_results(sampling=result)
        return {**result, "pictures": [pictures.samples(picture, run.sample(count or 33, seed, prior).image, prior)]}
    frames = frames or 3 * trained
    if frames < 2:
        raise UserError(f"{frames} frame is too few: a clip in which something moves has at least 2")
    some = source.first(TRAINING_CLIPS)
    clips = {name: run.sample(count or 6, seed, name, frames).image for name in PRIORS}
    real, mask = source.read(some), np.asarray(source.mask(some))
    result = {"frames": frames, "change_of_training_clips": float(change(real)[mask[:, 1:] > 0].mean()),
              **{name: changes(made, trained) for name, made in clips.items()}}
    run.folder.add_results(sampling=result)
    return {**result, "pictures": figures.samples(picture, clips[prior], trained, prior)}


def summary(result: Dict[str, Any]) -> str:
    """The result as text."""
    if "frames" not in result:
        return "Frechet distance to training images: " + ", ".join(
            f"samples of {NAMES[name]} {result[name]['frechet']:.4f}" for name in PRIORS)
    lines = [f"  clips of {NAMES[name]}: within the trained length {result[name]['change_within']:.4f}"
             + (f", beyond it {beyond:.4f}" if (beyond := result[name]["change_beyond"]) is not None else "")
             for name in PRIORS]
    return "\n".join(["mean change of a pixel from frame to frame:", *lines,
                      f"  training clips: {result['change_of_training_clips']:.4f}"])


def changes(clips: np.ndarray, trained: int) -> Dict[str, Optional[float]]:
    """Mean absolute change of a pixel from frame to frame of new clips (n, F, C, H, W), within and beyond the trained
    number of frames (None: no frame lies beyond it): change_within, change_beyond."""
    new = change(clips)
    return {"change_within": float(new[:, :trained - 1].mean()),
            "change_beyond": float(new[:, trained - 1:].mean()) if clips.shape[1] > trained else None}


def change(clips: np.ndarray) -> np.ndarray:
    """Mean absolute difference of every frame from the one before, (n, F - 1)."""
    return np.abs(np.diff(clips, axis=1)).mean((2, 3, 4))
