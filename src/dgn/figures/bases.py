"""Traversals of single latent dimensions, and the order of the dimensions by their effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dgn.nets.model import Decode

STEPS = 11  # images along a traversal


class Bases(NamedTuple):
    """Dimensions of one latent group, sorted by the size of their effect."""

    order: np.ndarray  # dimensions, the largest effect first
    effect: np.ndarray  # of each dimension: root mean square change of a value between the two ends of its range


def sweep(dimension: int, size: int, gamma: float, steps: int = STEPS) -> np.ndarray:
    """Latents (steps, size) from -gamma to gamma in one dimension, 0 in the others."""
    z = np.zeros((steps, size), np.float32)
    z[:, dimension] = np.linspace(-gamma, gamma, steps)
    return z


def prior_mean(sizes: Sequence[int]) -> list[np.ndarray]:
    """Latents 0, (d,) of each group. sizes: d of each group."""
    return [np.zeros(size, np.float32) for size in sizes]


def rank(decode: Decode, base: Sequence[np.ndarray], moving: int, gamma: float, of: str = "image") -> Bases:
    """Ranks the dimensions of a latent group by how much they change the image.

    base: latents (d,) of every group; those of the other groups stay. moving: index of the group. gamma: range of the
    dimension: -gamma to gamma. of: the field of Decoded whose change counts.
    """
    size = len(base[moving])
    ends = np.concatenate([sweep(k, size, gamma, 2) for k in range(size)])
    latents = [z[None].repeat(len(ends), 0) for z in base]
    latents[moving] = ends
    pairs = getattr(decode(*latents), of)
    pairs = pairs.reshape(-1, 2, pairs[0].size)
    effect = np.sqrt(np.square(pairs[:, 1] - pairs[:, 0]).mean(1))
    return Bases(np.argsort(-effect, kind="stable"), effect)


def traversals(bases: Bases, gamma: float, rows: int) -> np.ndarray:
    """Latents (rows * STEPS, d): the traversals of the first bases, one after the other."""
    return np.concatenate([sweep(k, len(bases.order), gamma) for k in bases.order[:rows]])


def as_rows(values: np.ndarray) -> np.ndarray:
    """Reshapes decoded traversals, (rows * STEPS, ...) -> (rows, STEPS, ...)."""
    return values.reshape(-1, STEPS, *values.shape[1:])
