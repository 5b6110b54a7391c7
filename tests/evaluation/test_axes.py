"""Principal axes are the directions of a known linear model, whatever rotation its latents have."""

from __future__ import annotations

import numpy as np

from dgn.evaluation.axes import along_axes, principal_axes
from dgn.nets.model import Decoded


def rotated_model(rng):
    """Appearance and displacement are linear in the latents, with known strengths along axes rotated at random."""
    rotations = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2)]
    maps = [rotation @ np.diag([3.0, 2.0, 0.5]) @ np.linalg.qr(rng.standard_normal((8, 8)))[0][:3]
            for rotation in rotations]

    def decode(z_app, z_geo):
        appearance, displacement = (z @ m for z, m in zip((z_app, z_geo), maps))
        return Decoded(appearance, appearance.reshape(-1, 2, 2, 2), displacement.reshape(-1, 2, 2, 2))
    return decode, rotations


def test_axes_are_those_of_the_strengths(rng):
    decode, rotations = rotated_model(rng)
    latents = rng.standard_normal((2, 20, 3))
    for axes, rotation in zip(principal_axes(decode, latents), rotations):
        np.testing.assert_allclose(np.abs(axes.directions.T @ rotation), np.eye(3), atol=1e-4)
        np.testing.assert_allclose(axes.share, np.array([9, 4, 0.25]) / 13.25, rtol=1e-4)
        np.testing.assert_allclose(axes.directions.T @ axes.directions, np.eye(3), atol=1e-5)


def test_a_step_along_the_first_axis_changes_most_and_decoding_in_axes_is_the_same_model(rng):
    decode, _ = rotated_model(rng)
    latents = rng.standard_normal((2, 20, 3))
    axes = principal_axes(decode, latents)
    rotated = along_axes(decode, axes)
    coordinates = [z @ a.directions for z, a in zip(latents, axes)]
    np.testing.assert_allclose(rotated(*coordinates).displacement, decode(*latents).displacement, atol=1e-4)
    rest = np.zeros((1, 3))
    steps = [np.linalg.norm(rotated(rest, np.eye(3)[[k]]).displacement) for k in range(3)]
    np.testing.assert_allclose(steps, [3, 2, 0.5], rtol=1e-4)
