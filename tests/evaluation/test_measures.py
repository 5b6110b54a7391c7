"""Each measure on inputs whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation import checkerboard, displacement, reconstruction


def test_reconstruction_errors_are_sums_over_an_image_and_means_over_images():
    images = np.zeros((2, 3, 4, 4), np.float32)
    found = images.copy()
    found[0] += 0.5
    result = reconstruction.compute(images, found)
    assert result["msre"] == pytest.approx(48 * 0.25 / 2)
    assert result["mse"] == pytest.approx(0.125)
    assert result["psnr"] == pytest.approx((-10 * np.log10(0.25) + 120) / 2)


def smooth_pictures(rng, count=8, size=64):
    y, x = np.mgrid[:size, :size] / size
    phases = rng.uniform(0, 6.28, (count, 3, 1, 1))
    return (0.5 + 0.3 * np.sin(2 * np.pi * (2 * x + y) + phases)).astype(np.float32)


def test_a_checkerboard_stands_out_and_a_picture_does_not(rng):
    pictures = smooth_pictures(rng) + 0.01 * rng.standard_normal((8, 3, 64, 64)).astype(np.float32)
    board = (-1.0) ** np.add.outer(np.arange(64), np.arange(64))
    stripes = np.broadcast_to((-1.0) ** np.arange(64), (64, 64))
    same = checkerboard.compute(pictures, pictures[::-1])["nyquist_ratio"]
    assert same == pytest.approx(1)
    for pattern in (board, stripes, stripes.T):
        assert checkerboard.compute(pictures, pictures + 0.05 * pattern)["nyquist_ratio"] > 10
    blurred = 0.25 * (pictures + np.roll(pictures, 1, 2) + np.roll(pictures, 1, 3) + np.roll(pictures, (1, 1), (2, 3)))
    assert checkerboard.compute(pictures, blurred)["nyquist_ratio"] < 0.5


def test_near_nyquist_energy_of_a_pure_checkerboard_is_its_variance():
    board = 0.2 * (-1.0) ** np.add.outer(np.arange(64), np.arange(64))
    assert checkerboard.near_nyquist_energy(board[None, None]) == pytest.approx(0.04, rel=0.05)
    assert checkerboard.near_nyquist_energy(np.full((1, 1, 64, 64), 0.7)) == pytest.approx(0, abs=1e-12)


def test_displacement_measures_of_shifts_stretches_and_folds():
    shifts = np.zeros((2, 2, 8, 8))
    shifts[0, 0], shifts[1, 0] = 3, -3
    result = displacement.compute(shifts)
    assert result == pytest.approx({"displacement_rms": 3, "mean_field_rms": 0, "stretch_rms": 0, "folded": 0})
    ramp = np.zeros((2, 2, 8, 8))
    ramp[:, 0] = 0.5 * np.arange(8)  # the same in both samples: all of it is the mean field
    result = displacement.compute(ramp)
    assert result["displacement_rms"] == 0 and result["stretch_rms"] == pytest.approx(0.5 / 2)
    ramp[:, 0] = -2.0 * np.arange(8)  # u = x - 2 x: the picture is turned over
    assert displacement.compute(ramp)["folded"] == 1
