"""New clips from the transition model, longer than the training clips (4, Eq. 10 to 12).

Z_0 and every xi_t are drawn from their priors. Measured is whether motion continues beyond the trained length: the mean
change from frame to frame within it, beyond it, and in training clips.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np

from dgn.errors import UserError
from dgn.experiments.clips import check_clips, mask_of
from dgn.figures import clips as figures
from dgn.randomness import generator
from dgn.run import Run

TRAINING_CLIPS = 100  # compared with, at most


def sampling(run: Run, *, frames: Optional[int] = None, count: int = 6, seed: int = 1) -> Dict[str, Any]:
    """Draws `count` clips of `frames` frames (default: three times as many as trained on) from the prior.

    Returns frames and the values of `changes`; pictures: paths of figures/samples.png and .gif. All but the pictures is
    written to the section sampling of metrics.json. Raises UserError for a run on images, or fewer than 2 frames.
    """
    check_clips(run)
    trained = run.config.data.frames
    frames = frames or 3 * trained
    if frames < 2:
        raise UserError(f"{frames} frame is too few: a clip in which something moves has at least 2")
    rng = generator(seed, "new clips")
    latents = [rng.standard_normal((count, branch.length(frames)), np.float32) for branch in run.model.branches]
    clips = run.decode(*latents).image
    source = run.sources.train
    some = np.arange(min(len(source), TRAINING_CLIPS))
    result = {"frames": frames, **changes(clips, trained, source.read(some), mask_of(source, some))}
    run.folder.add_results(sampling=result)
    return {**result, "pictures": figures.samples(run.folder.figures / "samples.png", clips, trained)}


def summary(result: Dict[str, Any]) -> str:
    """The result as text."""
    beyond = "" if result["change_beyond"] is None else f", beyond it {result['change_beyond']:.4f}"
    return ("mean change of a pixel from frame to frame: within the trained length "
            f"{result['change_within']:.4f}{beyond}; of training clips {result['change_of_training_clips']:.4f}")


def changes(clips: np.ndarray, trained: int, real: np.ndarray, mask: np.ndarray) -> Dict[str, Optional[float]]:
    """Mean absolute change of a pixel from frame to frame.

    clips: new ones (n, F, C, H, W); trained: frames of the clips trained on; real, mask: training clips (m, T, C, H,
    W) and the frames that they have (m, T).
    Returns change_within and change_beyond the trained length (None: no frame lies beyond it), and
    change_of_training_clips.
    """
    new = change(clips)
    return {"change_of_training_clips": float(change(real)[mask[:, 1:] > 0].mean()),  # the frame before is there, too
            "change_within": float(new[:, :trained - 1].mean()),
            "change_beyond": float(new[:, trained - 1:].mean()) if clips.shape[1] > trained else None}


def change(clips: np.ndarray) -> np.ndarray:
    """Mean absolute difference of every frame from the one before, (n, F - 1)."""
    return np.abs(np.diff(clips, axis=1)).mean((2, 3, 4))
