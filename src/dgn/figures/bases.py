"""Traversals of single latent dimensions: typical appearance and geometric bases (Fig. 3, 4, 5)."""

from __future__ import annotations

from typing import Callable, NamedTuple, Tuple

import numpy as np

Decode = Callable[[np.ndarray, np.ndarray], "Decoded"]  # (z_app, z_geo) -> Decoded of NumPy arrays  # noqa: F821


class Bases(NamedTuple):
    """Dimensions of one latent group by the size of their effect."""

    order: np.ndarray  # dimensions, the largest effect first
    effect: np.ndarray  # of each dimension: root mean square change of a pixel between the two ends


def sweep(dimension: int, size: int, gamma: float, steps: int = 11) -> np.ndarray:
    """Latents (steps, size) that go from -gamma to gamma in one dimension, 0 in the others."""
    z = np.zeros((steps, size), np.float32)
    z[:, dimension] = np.linspace(-gamma, gamma, steps)
    return z


def rank_appearance(decode: Decode, z_app: int, z_geo: int, gamma: float) -> Bases:
    """Appearance dimensions by how much they change the picture, with Z^g = 0."""
    ends = np.concatenate([sweep(k, z_app, gamma, 2) for k in range(z_app)])
    pictures = decode(ends, np.zeros((len(ends), z_geo), np.float32)).image
    return _ranked(pictures)


def rank_geometry(decode: Decode, face: np.ndarray, z_geo: int, gamma: float) -> Bases:
    """Geometry dimensions by how much they change the picture of one appearance, `face` (d_a,)."""
    ends = np.concatenate([sweep(k, z_geo, gamma, 2) for k in range(z_geo)])
    return _ranked(decode(face[None].repeat(len(ends), 0), ends).image)


def _ranked(pictures: np.ndarray) -> Bases:
    pairs = pictures.reshape(-1, 2, pictures[0].size)
    effect = np.sqrt(np.square(pairs[:, 1] - pairs[:, 0]).mean(1))
    return Bases(np.argsort(-effect, kind="stable"), effect)


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
