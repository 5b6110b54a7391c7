"""Traversals of single latent dimensions: typical appearance and geometric bases (Fig. 3, 4, 5)."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Sequence, Tuple

import numpy as np

Decode = Callable[..., "Decoded"]  # latents of each group -> Decoded of NumPy arrays  # noqa: F821


class Bases(NamedTuple):
    """Dimensions of one latent group by the size of their effect."""

    order: np.ndarray  # dimensions, the largest effect first
    effect: np.ndarray  # of each dimension: root mean square change of a number between the two ends


def sweep(dimension: int, size: int, gamma: float, steps: int = 11) -> np.ndarray:
    """Latents (steps, size) that go from -gamma to gamma in one dimension, 0 in the others."""
    z = np.zeros((steps, size), np.float32)
    z[:, dimension] = np.linspace(-gamma, gamma, steps)
    return z


def rank(decode: Decode, held: Sequence[Optional[np.ndarray]], moving: int, sizes: Sequence[int], gamma: float,
         of: str = "image") -> Bases:
    """Dimensions of latent group `moving` by how much they change the image, or another field of Decoded; the other groups
    are `held`, (d,) or None for zeros."""
    ends = np.concatenate([sweep(k, sizes[moving], gamma, 2) for k in range(sizes[moving])])
    latents = [np.zeros((len(ends), size), np.float32) if z is None else z[None].repeat(len(ends), 0) for z, size in zip(held, sizes)]
    latents[moving] = ends
    pairs = getattr(decode(*latents), of)
    pairs = pairs.reshape(-1, 2, pairs[0].size)
    effect = np.sqrt(np.square(pairs[:, 1] - pairs[:, 0]).mean(1))
    return Bases(np.argsort(-effect, kind="stable"), effect)


def latent_rows(decode: Decode, bases: Bases, gamma: float, rows: int) -> np.ndarray:
    """Pictures (rows, 11, C, H, W) of the first bases of a model with one latent group."""
    return _rows(decode(_sweeps(bases, gamma, rows)).image)


def label_rows(decode: Decode, label: int, sizes: Sequence[int], dimension: int, gamma: float) -> Tuple[np.ndarray, np.ndarray]:
    """A label's picture before the warp (C, H, W), and pictures (11, C, H, W) of one geometric basis bending it (Fig. 13)."""
    z_geo = sweep(dimension, sizes[1], gamma)
    decoded = decode(np.eye(sizes[0], dtype=np.float32)[[label] * len(z_geo)], z_geo)
    return decoded.appearance[0], decoded.image


def appearance_rows(decode: Decode, bases: Bases, z_geo: int, gamma: float, rows: int) -> np.ndarray:
    """Pictures of the first `rows` appearance bases, (rows, 11, C, H, W) (Fig. 3)."""
    z = _sweeps(bases, gamma, rows)
    return _rows(decode(z, np.zeros((len(z), z_geo), np.float32)).image)


def geometry_rows(decode: Decode, bases: Bases, face: np.ndarray, gamma: float, rows: int) -> Tuple[np.ndarray, np.ndarray]:
    """Pictures (rows, 11, C, H, W) and displacements (rows, 11, 2, H, W) of the first geometric bases (Fig. 4)."""
    z = _sweeps(bases, gamma, rows)
    decoded = decode(face[None].repeat(len(z), 0), z)
    return _rows(decoded.image), _rows(decoded.displacement)


def applied_rows(decode: Decode, appearance: Bases, geometry: Bases, gamma: float, rows: int, bend: float) -> np.ndarray:
    """The first appearance bases, each bent by the first geometric basis at -bend and bend (Fig. 5)."""
    z_app, pictures = _sweeps(appearance, gamma, rows), []
    for amount in (-bend, bend):
        z_geo = np.zeros((len(z_app), len(geometry.order)), np.float32)
        z_geo[:, geometry.order[0]] = amount
        pictures.append(_rows(decode(z_app, z_geo).image))
    pairs = np.stack(pictures, 1)
    return pairs.reshape(-1, *pairs.shape[2:])


def _sweeps(bases: Bases, gamma: float, rows: int) -> np.ndarray:
    return np.concatenate([sweep(k, len(bases.order), gamma) for k in bases.order[:rows]])


def _rows(pictures: np.ndarray, steps: int = 11) -> np.ndarray:
    return pictures.reshape(-1, steps, *pictures.shape[1:])
