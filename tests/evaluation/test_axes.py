"""Principal axes find the directions of a known linear model, whatever the axes it was given in."""

from __future__ import annotations

import numpy as np

from dgn.evaluation import axes
from dgn.nets.model import Decoded


def turned_model(rng):
    """Appearance and displacement are linear in latents, with known strengths along axes turned at random."""
    turns = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2)]
    maps = [turn @ np.diag([3.0, 2.0, 0.5]) @ np.linalg.qr(rng.standard_normal((8, 8)))[0][:3] for turn in turns]

    def decode(z_app, z_geo):
        appearance, displacement = (z @ m for z, m in zip((z_app, z_geo), maps))
        return Decoded(appearance, appearance.reshape(-1, 2, 2, 2), displacement.reshape(-1, 2, 2, 2))
    return decode, turns


def test_axes_are_those_of_the_strengths(rng):
    decode, turns = turned_model(rng)
    latents = rng.standard_normal((2, 20, 3))
    for found, turn in zip(axes.both(decode, latents), turns):
        np.testing.assert_allclose(np.abs(found.directions.T @ turn), np.eye(3), atol=1e-4)
        np.testing.assert_allclose(found.share, np.array([9, 4, 0.25]) / 13.25, rtol=1e-4)
        np.testing.assert_allclose(found.directions.T @ found.directions, np.eye(3), atol=1e-5)


def test_a_step_along_the_first_axis_changes_most_and_decoding_in_axes_is_the_same_model(rng):
    decode, _ = turned_model(rng)
    latents = rng.standard_normal((2, 20, 3))
    found = axes.both(decode, latents)
    turned = axes.seen_from(decode, found)
    coordinates = [z @ a.directions for z, a in zip(latents, found)]
    np.testing.assert_allclose(turned(*coordinates).displacement, decode(*latents).displacement, atol=1e-4)
    rest = np.zeros((1, 3))
    steps = [np.linalg.norm(turned(rest, np.eye(3)[[k]]).displacement) for k in range(3)]
    np.testing.assert_allclose(steps, [3, 2, 0.5], rtol=1e-4)
