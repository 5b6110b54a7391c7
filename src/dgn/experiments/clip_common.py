"""Functions shared by the video experiments (5.6): probes of motion and colour, labels in clip names, explained
motion."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dgn.config import Data
from dgn.data.clips import class_and_person
from dgn.data.face_factors import EXPRESSION_FACTORS as MOTION
from dgn.data.open import generated_clips
from dgn.errors import UserError
from dgn.evaluation import exchange
from dgn.experiments.common import OTHER_PEOPLE
from dgn.figures.clip_pictures import spaced
from dgn.nets.model import pad, samples_per_batch
from dgn.run import Run

COLOUR = ("skin", "light")  # colours that a linear probe predicts well at 32 pixels, unlike the redness of lips
PROBED_CLIPS = 300  # number of clips of other people to which a probe is fitted
PROBED_FRAMES = 6  # number of frames of each clip


def check_clips(run: Run) -> None:
    """Raises UserError unless the run is on clips of at least two frames."""
    if run.config.data.frames < 2:
        raise UserError(f"{run.folder.path} is a run on images; give one on clips (data.frames of 2 or more)")


def check_geometry(run: Run) -> None:
    """Raises UserError unless the run has a deformable model."""
    if not run.model.warps:
        raise UserError(f"{run.folder.path} is a run of a plain model (model.kind); give one of a deformable model: "
                        "only it has a geometry")


def label(name: str) -> tuple[str, str]:
    """(class, person) of a clip named class/person_anything. Raises UserError for another name."""
    labels = class_and_person(name)
    if labels is None:
        raise UserError(f"the clip {name} is not named class/person_..., such as anger/S010_004: its class is unknown")
    return labels


def clip_indices(names: list[str], clips: Sequence[int | str]) -> np.ndarray:
    """Indices of clips that are given by index or by name; digits are a name if a clip has this name. Raises UserError
    for a clip that does not exist."""
    def index_of(clip: int | str) -> int:
        if isinstance(clip, str):
            return names.index(clip) if clip in names else int(clip) if clip.isdecimal() else -1
        return int(clip)

    indices = [index_of(clip) for clip in clips]
    for clip, index in zip(clips, indices):
        if not 0 <= index < len(names):
            near = difflib.get_close_matches(str(clip), names, 3) or names[:3]
            raise UserError(f"there is no clip {clip}: the run has the clips 0 to {len(names) - 1}, or by name, such "
                            f"as {', '.join(near)}")
    return np.array(indices)


def classes_of(names: list[str]) -> list[str]:
    """The class of each clip; "all" for every clip if a name has no class."""
    try:
        return [label(name)[0] for name in names]
    except UserError:
        return ["all"] * len(names)


class Probe(NamedTuple):
    """Ridge regressions from frames (n, C, H, W)."""

    factors: Callable[[np.ndarray], np.ndarray]  # -> (n, 6): MOTION, then COLOUR
    landmarks: Callable[[np.ndarray], np.ndarray]  # -> (n, 10): x, y of five points in pixels


@functools.lru_cache(maxsize=4)  # several experiments use the same probe
def fit_probe(data: Data) -> Probe:
    """A probe of factors and landmarks, fitted to generated clips of people who are in no training data."""
    source = generated_clips(data, PROBED_CLIPS, data.seed + OTHER_PEOPLE, spaced(data.frames, PROBED_FRAMES))
    indices = source.indices()
    frames = source.read(indices).reshape(-1, *source.shape[1:])
    side = 32 if data.size % 32 == 0 else 16

    def fit(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return exchange.probe(frames, values.reshape(len(frames), -1), side=side)
    return Probe(fit(source.factor_table(indices, (*MOTION, *COLOUR))), fit(source.landmarks(indices)))


def over_time(read: Callable[[np.ndarray], np.ndarray], clips: np.ndarray) -> np.ndarray:
    """The values of a probe, (n, F, k), for every frame of clips (n, F, C, H, W)."""
    values = read(clips.reshape(-1, *clips.shape[2:]))
    return values.reshape(*clips.shape[:2], -1)


def motion(values: np.ndarray) -> np.ndarray:
    """Values (n, F, k) minus their mean over time, which depends on the person rather than on the motion."""
    return values - values.mean(1, keepdims=True)


class Rebuilt(NamedTuple):
    """Some clips with their reconstructions."""

    clips: np.ndarray  # (n, F, C, H, W)
    mask: np.ndarray  # (n, F)
    reconstructions: np.ndarray  # (n, F, C, H, W)


def reconstructed(run: Run, indices: np.ndarray) -> Iterator[Rebuilt]:
    """Training clips decoded from their chains, batch by batch: at the size of Table 5 all would need gigabytes."""
    source, size = run.sources.train, samples_per_batch(run.model)
    for start in range(0, len(indices), size):
        batch = indices[start:start + size]
        latents = run.bank.read(pad(batch, size) if start else batch)  # another size would be compiled again
        yield Rebuilt(source.read(batch), np.asarray(source.mask(batch)), run.decode(*latents).image[:len(batch)])


def explained_motion(batches: Iterable[Rebuilt], classes: list[str]) -> dict[str, float]:
    """Fraction of the motion in clips that their reconstructions show, for each class: 1 - |m - m'|^2 / |m|^2, where
    both norms are summed over the clips, and m is the difference of the frames from the clip's mean frame.

    1: all motion; 0: as if nothing moved; negative: wrong motion. classes: class of each clip in the order of the
    batches.
    """
    total, missing = np.array([motion_energy(*clip) for batch in batches for clip in zip(*batch)]).T
    shares = {}
    for name in sorted(set(classes)):
        of_class = np.array(classes) == name
        shares[name] = float(1 - missing[of_class].sum() / max(total[of_class].sum(), 1e-12))
    return shares


def motion_energy(clip: np.ndarray, mask: np.ndarray, reconstruction: np.ndarray) -> tuple[float, float]:
    """|m|^2 and |m - m'|^2 of one clip (F, C, H, W) and its reconstruction, in float64; see explained_motion."""
    weights = mask.astype(np.float64)[:, None]

    def moving(frames: np.ndarray) -> np.ndarray:
        flat = frames.reshape(len(frames), -1).astype(np.float64)
        return (flat - (weights * flat).sum(0) / weights.sum()) * weights
    m = moving(clip)
    return np.square(m).sum(), np.square(m - moving(reconstruction)).sum()


def exchange_partners(names: list[str], people: Sequence[str] | None) -> np.ndarray:
    """The index of each clip's partner, a clip of another person and another class (if the names contain classes); the
    index of the clip itself if there is none.

    Partners differ by a fixed shift of the index. Shifts that suit more clips are tried first, so that few clips are
    used twice. people: (n,), the person in each clip; None if unknown: then each clip gets the next clip.
    """
    indices, count = np.arange(len(names)), len(names)
    if people is None:
        return np.roll(indices, -1)
    classes, persons = np.array(classes_of(names)), np.array(people)
    suits = persons != persons[:, None]
    if len(set(classes)) > 1:
        suits &= classes != classes[:, None]
    by_shift = np.stack([suits[indices, np.roll(indices, -shift)] for shift in range(count)])  # none suits itself
    shifts = np.argsort(-by_shift.sum(1), kind="stable")
    first = by_shift[shifts].argmax(0)
    return np.where(suits.any(1), (indices + shifts[first]) % count, indices)
