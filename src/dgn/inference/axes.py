"""Principal axes of the latent space, and latents rotated to them (beyond the paper).

The prior of a latent group is isotropic: if its latents are rotated, and the weights of the first layer by the inverse,
the model stays the same. Which mixture of factors a single dimension represents is therefore arbitrary. Principal axes
are not arbitrary: a step along the first axis changes the group's output most, and so on. They need no labels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops

from dgn.indices import evenly_spaced
from dgn.inference.jacobian import gauss_newton
from dgn.nets.model import Decode, Decoded, Model, apply, state_sizes

SAMPLES = 40  # largest number of samples at which the effect is measured
VALUES = SAMPLES * 64 * 64  # largest number of pixels of these samples


class Axes(NamedTuple):
    """Principal axes of one latent group."""

    directions: np.ndarray  # (d, d): orthonormal columns, the largest effect first
    share: np.ndarray  # (d,) fraction of the total effect, which is the mean squared change of the output


def group_axes(generate: Callable[[np.ndarray], np.ndarray], latents: np.ndarray) -> Axes:
    """Eigenvectors of E[J^T J], where J is the derivative of a group's output with respect to its latents.

    generate: latents (n, d) -> the group's output (n, ...). latents: (n, d) at which the derivative is computed.
    """
    effect, directions = np.linalg.eigh(gauss_newton(generate, [latents], 0) / len(latents))
    directions, effect = directions[:, ::-1], np.maximum(effect[::-1], 0)
    # the sign of an eigenvector is arbitrary: its largest component is made positive
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(len(effect))])
    return Axes((directions * signs).astype(np.float32), effect / max(effect.sum(), 1e-30))


def principal_axes(model: Model, latents: Sequence[np.ndarray]) -> list[Axes | None]:
    """Principal axes of each latent group; None for one that is not sampled.

    latents: (n, d) of each group; at most 40 evenly spaced samples are used. A group's output is the output of its
    branch: appearance, displacement, or a plain model's image. For clips, the axes are axes of Z_0 and the output is
    the first frame.
    """
    axes: list[Axes | None] = []
    chosen = evenly_spaced(len(latents[0]), min(SAMPLES, max(VALUES // model.size ** 2, 4)))
    for group, branch, z, size in zip(model.groups, model.branches, latents, state_sizes(model)):
        axes.append(group_axes(functools.partial(_output, branch), z[chosen, :size]) if group.sampled else None)
    return axes


def _output(branch: nn.Cell, z: np.ndarray) -> np.ndarray:
    return apply(branch, z, batch_size=len(z))[0]


def along_axes(decode: Decode, axes: Sequence[Axes]) -> Decode:
    """The decoder as a function of each group's coordinates (n, d) along its axes."""
    def decode_coordinates(*coordinates: np.ndarray) -> Decoded:
        return decode(*(c @ a.directions.T for c, a in zip(coordinates, axes)))
    return decode_coordinates


def rotate(model: Model, rotations: Mapping[str, np.ndarray]) -> None:
    """Changes the first layer of each branch so that latents z @ rotation give the same output as z did before.

    rotations: orthonormal (d, d) by group name; other groups keep their latents. Only for models of images. A sampler's
    preconditioner must be rotated, too (Preconditioner.rotate).
    """
    for group, branch in zip(model.groups, model.branches):
        if group.name in rotations:
            for layer in branch.latent_layers:
                ops.assign(layer.weight, Tensor(rotations[group.name].T @ layer.weight.asnumpy()))
