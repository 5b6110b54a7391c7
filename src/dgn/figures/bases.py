"""Traversals of single latent dimensions: appearance bases and geometric bases (Fig. 3, 4, 5)."""

from __future__ import annotations

from typing import NamedTuple, Optional, Sequence, Tuple

import numpy as np

from dgn.nets.model import Decode

STEPS = 11  # images along a traversal


class Bases(NamedTuple):
    """Dimensions of one latent group by the size of their effect."""

    order: np.ndarray  # dimensions, the largest effect first
    effect: np.ndarray  # of each dimension: root mean square change of a value between the two ends of its range


def sweep(dimension: int, size: int, gamma: float, steps: int = STEPS) -> np.ndarray:
    """Latents (steps, size) from -gamma to gamma in one dimension, 0 in the others."""
    z = np.zeros((steps, size), np.float32)
    z[:, dimension] = np.linspace(-gamma, gamma, steps)
    return z


def rank(decode: Decode, held: Sequence[Optional[np.ndarray]], moving: int, sizes: Sequence[int], gamma: float,
         of: str = "image") -> Bases:
    """Ranks the dimensions of a latent group by how much they change the image.

    Args:
        decode: the decoder.
        held: values (d,) of the other groups; None: zeros.
        moving: index of the group.
        sizes: dimensions of each group.
        gamma: range of the dimension: -gamma to gamma.
        of: the field of Decoded whose change counts.
    """
    ends = np.concatenate([sweep(k, sizes[moving], gamma, 2) for k in range(sizes[moving])])
    latents = [np.zeros((len(ends), size), np.float32) if z is None else z[None].repeat(len(ends), 0)
               for z, size in zip(held, sizes)]
    latents[moving] = ends
    pairs = getattr(decode(*latents), of)
    pairs = pairs.reshape(-1, 2, pairs[0].size)
    effect = np.sqrt(np.square(pairs[:, 1] - pairs[:, 0]).mean(1))
    return Bases(np.argsort(-effect, kind="stable"), effect)


def latent_rows(decode: Decode, bases: Bases, gamma: float, rows: int) -> np.ndarray:
    """Images (rows, 11, C, H, W) of the first bases of a model with one latent group."""
    return _rows(decode(_sweeps(bases, gamma, rows)).image)


def label_rows(decode: Decode, label: int, sizes: Sequence[int], dimension: int,
               gamma: float) -> Tuple[np.ndarray, np.ndarray]:
    """A label's image before the warp (C, H, W), and that image warped by one geometric basis (11, C, H, W) (Fig.
    13)."""
    z_geo = sweep(dimension, sizes[1], gamma)
    decoded = decode(np.eye(sizes[0], dtype=np.float32)[[label] * len(z_geo)], z_geo)
    return np.asarray(decoded.appearance)[0], decoded.image


def appearance_rows(decode: Decode, bases: Bases, z_geo: int, gamma: float, rows: int) -> np.ndarray:
    """Images (rows, 11, C, H, W) of the first appearance bases, Z^g of z_geo dimensions at 0 (Fig. 3)."""
    z = _sweeps(bases, gamma, rows)
    return _rows(decode(z, np.zeros((len(z), z_geo), np.float32)).image)


def geometry_rows(decode: Decode, bases: Bases, face: np.ndarray, gamma: float,
                  rows: int) -> Tuple[np.ndarray, np.ndarray]:
    """Images (rows, 11, C, H, W) and displacements (rows, 11, 2, H, W) of the first geometric bases (Fig. 4).

    face: (d_a,), the Z^a of all images.
    """
    z = _sweeps(bases, gamma, rows)
    decoded = decode(face[None].repeat(len(z), 0), z)
    return _rows(decoded.image), _rows(np.asarray(decoded.displacement))


def applied_rows(decode: Decode, appearance: Bases, geometry: Bases, gamma: float, rows: int,
                 amount: float) -> np.ndarray:
    """Images (2 rows, 11, C, H, W) of the first appearance bases, each warped by the first geometric basis at -amount
    and at amount (Fig. 5)."""
    z_app, pictures = _sweeps(appearance, gamma, rows), []
    for value in (-amount, amount):
        z_geo = np.zeros((len(z_app), len(geometry.order)), np.float32)
        z_geo[:, geometry.order[0]] = value
        pictures.append(_rows(decode(z_app, z_geo).image))
    pairs = np.stack(pictures, 1)
    return pairs.reshape(-1, *pairs.shape[2:])


def _sweeps(bases: Bases, gamma: float, rows: int) -> np.ndarray:
    """The traversals of the first bases, one after the other."""
    return np.concatenate([sweep(k, len(bases.order), gamma) for k in bases.order[:rows]])


def _rows(pictures: np.ndarray) -> np.ndarray:
    return pictures.reshape(-1, STEPS, *pictures.shape[1:])
