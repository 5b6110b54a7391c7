"""Axes of the latent space that do not depend on chance.

The prior of a group is the same in all directions: turn its latents, and the first layer's weights against them, and the
model is the same model. Which mixture of factors a single dimension stands for is therefore left to chance. The principal
axes are not: the first is the direction in which a step changes most of what the group makes, and so on. They need no
labels.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence, Tuple

import numpy as np

from dgn.nets.model import Decoded

Decode = Callable[..., Decoded]
STEP = 0.3  # of a finite difference, in units of the prior's deviation
SAMPLES = 40


class Axes(NamedTuple):
    """Principal axes of one latent group."""

    directions: np.ndarray  # (d, d): orthonormal columns, the largest effect first
    share: np.ndarray  # (d,) of the whole effect, the squared change averaged over samples


def principal(decode: Decode, latents: Sequence[np.ndarray], moving: int) -> Axes:
    """Eigenvectors of E[J^T J], J the change of what group `moving` makes (0: the appearance, 1: the displacement) with its
    latents.

    latents: (n, d) of each group, where J is taken; of many, SAMPLES evenly spaced ones.
    """
    count = len(latents[0])
    chosen = np.unique(np.linspace(0, count - 1, min(SAMPLES, count)).astype(int))
    latents = [z[chosen] for z in latents]
    columns = []
    for k in range(latents[moving].shape[1]):
        ends = []
        for step in (STEP, -STEP):
            moved = [z.copy() for z in latents]
            moved[moving][:, k] += step
            decoded = decode(*moved)
            ends.append((decoded.displacement if moving else decoded.appearance).reshape(len(latents[0]), -1).astype(np.float64))
        columns.append((ends[0] - ends[1]) / (2 * STEP))
    jacobian = np.stack(columns, 1)  # (n, d, values)
    effect, directions = np.linalg.eigh(np.einsum("nip,njp->ij", jacobian, jacobian) / len(jacobian))
    directions, effect = directions[:, ::-1], np.maximum(effect[::-1], 0)
    # of the two signs the one whose largest component is positive
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(len(effect))])
    return Axes((directions * signs).astype(np.float32), effect / max(effect.sum(), 1e-30))


def seen_from(decode: Decode, axes: Sequence[Axes]) -> Decode:
    """The decoder as a function of coordinates along the axes of each group."""
    def turned(*coordinates: np.ndarray) -> Decoded:
        return decode(*(c @ a.directions.T for c, a in zip(coordinates, axes)))
    return turned


def both(decode: Decode, latents: Sequence[np.ndarray]) -> Tuple[Axes, Axes]:
    """Principal axes of Z^a and of Z^g."""
    return principal(decode, latents, 0), principal(decode, latents, 1)
