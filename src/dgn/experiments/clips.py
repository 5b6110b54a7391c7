"""What the experiments on video have in common: a run of the dynamic model, probes that read motion, labels in names."""

from __future__ import annotations

from typing import Callable, Dict, List, NamedTuple, Tuple

import numpy as np

from dgn.data.clips import class_and_person
from dgn.data.face_factors import EXPRESSION_FACTORS as MOTION
from dgn.data.source import as_images, observed
from dgn.errors import UserError
from dgn.experiments.models import OTHER_PEOPLE

COLOUR = ("skin", "light")  # what a linear probe reads well at 32 pixels; it cannot tell the redness of lips
PROBED_CLIPS = 300  # of other people, whose frames teach the probe
PROBED_FRAMES = 6  # of each clip


def need_clips(trained, path: str) -> None:
    """Raises UserError for a run that is not one of the dynamic model, or in whose clips nothing moves."""
    if trained.config.data.frames < 2:
        raise UserError(f"{path} is a run on images; give one on clips (data.frames of 2 or more)")


def label(name: str) -> Tuple[str, str]:
    """(class, person) of a clip, from its name: class/person_anything. Raises UserError for another name."""
    found = class_and_person(name)
    if found is None:
        raise UserError(f"the clip {name} is not named class/person_..., such as anger/S010_004: its class is not known")
    return found


def classes_of(names: List[str]) -> List[str]:
    """The class of each clip; "all" where names do not tell them."""
    try:
        return [label(name)[0] for name in names]
    except UserError:
        return ["all"] * len(names)


class Probe(NamedTuple):
    """Linear readings of frames (n, C, H, W): factors in the order of MOTION and COLOUR, and landmarks."""

    factors: Callable[[np.ndarray], np.ndarray]  # -> (n, 6)
    landmarks: Callable[[np.ndarray], np.ndarray]  # -> (n, 10) in pixels


def probe(trained) -> Probe:
    """Probes that learned from generated clips of people whom the model never saw."""
    from dgn import build
    from dgn.evaluation import exchange

    data = trained.config.data
    source = build.make_clips(data, PROBED_CLIPS, data.seed + OTHER_PEOPLE)
    everyone = np.arange(PROBED_CLIPS)
    at = np.unique(np.rint(np.linspace(0, data.frames - 1, PROBED_FRAMES)).astype(int))
    frames = as_images(source.read(everyone)[:, at])
    names = (*MOTION, *COLOUR)

    def read(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        return exchange.probe(frames, values[:, at].reshape(len(frames), -1), side=32 if data.size % 32 == 0 else 16)
    return Probe(read(source.factor_table(everyone, names)), read(source.landmarks(everyone).reshape(PROBED_CLIPS, data.frames, -1)))


def over_time(read: Callable[[np.ndarray], np.ndarray], clips: np.ndarray) -> np.ndarray:
    """A probe's readings of clips (n, F, C, H, W), (n, F, k)."""
    found = read(clips.reshape(-1, *clips.shape[2:]))
    return found.reshape(*clips.shape[:2], -1)


def motion(values: np.ndarray) -> np.ndarray:
    """(n, F, k) less their mean over time: what moves, without what stays."""
    return values - values.mean(1, keepdims=True)


def explained_motion(clips: np.ndarray, rebuilt: np.ndarray, classes: List[str]) -> Dict[str, float]:
    """Share of the motion in clips (n, F, C, H, W) that their reconstructions show, of each class: 1 - |m - m'|^2 / |m|^2, where m
    is what differs from a clip's mean frame. 1: all of it; 0: as if nothing moved; below 0: it moves wrongly."""
    there = observed(clips)[:, :, None]  # a shorter clip's last frames are not

    def moved(frames: np.ndarray) -> np.ndarray:
        flat = frames.reshape(*frames.shape[:2], -1).astype(np.float64)
        return (flat - (there * flat).sum(1, keepdims=True) / there.sum(1, keepdims=True)) * there
    truth = moved(clips)
    total, missing = np.square(truth).sum((1, 2)), np.square(truth - moved(rebuilt)).sum((1, 2))
    found = {}
    for name in sorted(set(classes)):
        own = np.array([c == name for c in classes])
        found[name] = float(1 - missing[own].sum() / max(total[own].sum(), 1e-12))
    return found


def other_donors(names: List[str]) -> np.ndarray:
    """For each clip another one of a different person and a different class, as many places on as suits the most clips, so that
    few are taken twice; itself if there is none. Clips whose names tell no class get the next one.
    """
    count = len(names)
    try:
        labels = [label(name) for name in names]
    except UserError:
        return np.roll(np.arange(count), -1)

    classes, persons = np.array(labels).T
    everyone = np.arange(count)
    suits = (classes != classes[:, None]) & (persons != persons[:, None])
    by_shift = np.stack([suits[everyone, np.roll(everyone, -shift)] for shift in range(count)])  # none suits itself
    shifts = np.argsort(-by_shift.sum(1), kind="stable")
    first = by_shift[shifts].argmax(0)
    return np.where(suits.any(1), (everyone + shifts[first]) % count, everyone)
