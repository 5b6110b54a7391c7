"""Principal axes of the latent space, and latents rotated to them (beyond the paper).

The prior of a latent group is isotropic: rotating its latents, and the weights of the first layer by the inverse,
leaves the model as it is. Which mixture of factors a single dimension represents is therefore arbitrary. The principal
axes are not arbitrary: along the first one, a step changes the output of the group most, and so on. They need no
labels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops

from dgn.data.source import evenly_spaced
from dgn.inference.jacobian import gauss_newton
from dgn.nets.model import Decode, Decoded, Model, apply, state_sizes

SAMPLES = 40  # at which the effect is measured
VALUES = SAMPLES * 64 * 64  # pixels of these samples, at most: fewer large ones


class Axes(NamedTuple):
    """Principal axes of one latent group."""

    directions: np.ndarray  # (d, d): orthonormal columns, the largest effect first
    share: np.ndarray  # (d,) of the total effect: the squared change of the output, averaged over samples


def group_axes(generate: Callable[[np.ndarray], np.ndarray], latents: np.ndarray) -> Axes:
    """Eigenvectors of E[J^T J], where J is the derivative of a group's output with respect to its latents.

    Args:
        generate: latents (n, d) -> the group's output (n, ...).
        latents: (n, d), at which the effect is measured.
    """
    effect, directions = np.linalg.eigh(gauss_newton(generate, [latents], 0) / len(latents))
    directions, effect = directions[:, ::-1], np.maximum(effect[::-1], 0)
    # the sign of an eigenvector is arbitrary: its largest component is made positive
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(len(effect))])
    return Axes((directions * signs).astype(np.float32), effect / max(effect.sum(), 1e-30))


def principal_axes(model: Model, latents: Sequence[np.ndarray]) -> list[Axes | None]:
    """Principal axes of each latent group; None for one that is not sampled.

    latents: (n, d) of each group; evenly spaced ones are used, at most 40. The output of a group is that of its branch:
    appearance, displacement, or a plain model's image. The axes of clips are those of Z_0, at the first frame.
    """
    axes: list[Axes | None] = []
    chosen = evenly_spaced(len(latents[0]), min(SAMPLES, max(VALUES // model.size ** 2, 4)))
    for group, branch, z, size in zip(model.groups, model.branches, latents, state_sizes(model)):
        axes.append(group_axes(functools.partial(_output, branch), z[chosen, :size]) if group.sampled else None)
    return axes


def _output(branch: nn.Cell, z: np.ndarray) -> np.ndarray:
    return apply(branch, z, batch_size=len(z))[0]


def along_axes(decode: Decode, axes: Sequence[Axes]) -> Decode:
    """The decoder as a function of coordinates (n, d) along the axes of each group."""
    def decode_coordinates(*coordinates: np.ndarray) -> Decoded:
        return decode(*(c @ a.directions.T for c, a in zip(coordinates, axes)))
    return decode_coordinates


def rotate(model: Model, rotations: Mapping[str, np.ndarray]) -> None:
    """Changes the first layer of branches so that the model of latents z @ rotation is the former model of z.

    rotations: orthonormal (d, d) by group name; other groups keep their latents. For models of images. A sampler's
    preconditioner must be rotated, too (Preconditioner.rotate).
    """
    for group, branch in zip(model.groups, model.branches):
        if group.name in rotations:
            for layer in branch.latent_layers:
                ops.assign(layer.weight, Tensor(rotations[group.name].T @ layer.weight.asnumpy()))
