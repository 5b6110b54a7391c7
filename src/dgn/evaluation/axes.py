"""Principal axes of the latent space.

The prior of a latent group is isotropic: rotating its latents, and the weights of the first layer by the inverse,
leaves the model as it is. Which mixture of factors a single dimension represents is therefore arbitrary. The principal
axes are not arbitrary: along the first one, a step changes the output of the group most, and so on. They need no
labels.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Sequence, Tuple

import numpy as np

from dgn.nets.model import Decoded

Decode = Callable[..., Decoded]  # latents (n, d) of each group -> Decoded of NumPy arrays
STEP = 0.3  # of a finite difference, in standard deviations of the prior
SAMPLES = 40


class Axes(NamedTuple):
    """Principal axes of one latent group."""

    directions: np.ndarray  # (d, d): orthonormal columns, the largest effect first
    share: np.ndarray  # (d,) of the total effect: the squared change of the output, averaged over samples


def principal_axes(decode: Decode, latents: Sequence[np.ndarray]) -> Tuple[Axes, Axes]:
    """Principal axes of Z^a and of Z^g.

    Args:
        decode: the decoder of a deformable model.
        latents: (n, d_a) and (n, d_g), at which the effect is measured; of many, 40 evenly spaced ones are used.
    """
    return group_axes(decode, latents, 0), group_axes(decode, latents, 1)


def group_axes(decode: Decode, latents: Sequence[np.ndarray], group: int) -> Axes:
    """Eigenvectors of E[J^T J], where J is the derivative of a group's output with respect to its latents.

    Args:
        decode: the decoder of a deformable model.
        latents: (n, d) of each group; of more than 40 samples 40 evenly spaced ones are used.
        group: 0: Z^a, whose output is the appearance; 1: Z^g, whose output is the displacement.
    """
    count = len(latents[0])
    chosen = np.unique(np.linspace(0, count - 1, min(SAMPLES, count)).astype(int))
    latents = [z[chosen] for z in latents]
    columns = []
    for k in range(latents[group].shape[1]):
        ends = []
        for step in (STEP, -STEP):
            shifted = [z.copy() for z in latents]
            shifted[group][:, k] += step
            decoded = decode(*shifted)
            output = decoded.displacement if group else decoded.appearance
            ends.append(np.asarray(output, np.float64).reshape(len(latents[0]), -1))
        columns.append((ends[0] - ends[1]) / (2 * STEP))
    jacobian = np.stack(columns, 1)  # (n, d, values)
    effect, directions = np.linalg.eigh(np.einsum("nip,njp->ij", jacobian, jacobian) / len(jacobian))
    directions, effect = directions[:, ::-1], np.maximum(effect[::-1], 0)
    # the sign of an eigenvector is arbitrary: its largest component is made positive
    signs = np.sign(directions[np.abs(directions).argmax(0), np.arange(len(effect))])
    return Axes((directions * signs).astype(np.float32), effect / max(effect.sum(), 1e-30))


def along_axes(decode: Decode, axes: Sequence[Axes]) -> Decode:
    """The decoder as a function of coordinates (n, d) along the axes of each group."""
    def decode_coordinates(*coordinates: np.ndarray) -> Decoded:
        return decode(*(c @ a.directions.T for c, a in zip(coordinates, axes)))
    return decode_coordinates
