"""Each measure on inputs with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation.checkerboard import checkerboard_energy, near_nyquist_energy
from dgn.evaluation.displacement import canonical_frame, displacement_statistics
from dgn.evaluation.ratios import formatted, ratio
from dgn.evaluation.reconstruction import reconstruction_errors
from dgn.evaluation.report import Sample, unlabelled_measures
from dgn.evaluation.uncertainty import standard_error_of_mean
from dgn.nets.model import Decoded


def test_reconstruction_errors_are_sums_over_an_image_and_means_over_images():
    images = np.zeros((2, 3, 4, 4), np.float32)
    reconstructions = images.copy()
    reconstructions[0] += 0.5
    result = reconstruction_errors(images, reconstructions)
    assert result["msre"] == pytest.approx(48 * 0.25 / 2)
    assert result["mse"] == pytest.approx(0.125)
    assert result["msre_stderr"] == pytest.approx(48 * 0.25 / 2 / 2 ** 0.5, rel=0.15)
    assert reconstruction_errors(images, reconstructions, np.zeros(2))["msre_stderr"] is None  # frames of one clip
    assert result["psnr"] == pytest.approx((-10 * np.log10(0.25) + 120) / 2)


def smooth_images(rng, count=8, size=64):
    y, x = np.mgrid[:size, :size] / size
    phases = rng.uniform(0, 6.28, (count, 3, 1, 1))
    return (0.5 + 0.3 * np.sin(2 * np.pi * (2 * x + y) + phases)).astype(np.float32)


def test_the_nyquist_ratio_separates_checkerboards_from_images(rng):
    images = smooth_images(rng) + 0.01 * rng.standard_normal((8, 3, 64, 64)).astype(np.float32)
    board = (-1.0) ** np.add.outer(np.arange(64), np.arange(64))
    stripes = np.broadcast_to((-1.0) ** np.arange(64), (64, 64))
    same = checkerboard_energy(images, images[::-1])["nyquist_ratio"]
    assert same == pytest.approx(1)
    for pattern in (board, stripes, stripes.T):
        assert checkerboard_energy(images, images + 0.05 * pattern)["nyquist_ratio"] > 10
    blurred = 0.25 * (images + np.roll(images, 1, 2) + np.roll(images, 1, 3) + np.roll(images, (1, 1), (2, 3)))
    assert checkerboard_energy(images, blurred)["nyquist_ratio"] < 0.5


def test_near_nyquist_energy_of_a_pure_checkerboard_is_its_variance():
    board = 0.2 * (-1.0) ** np.add.outer(np.arange(64), np.arange(64))
    assert near_nyquist_energy(board[None, None]) == pytest.approx(0.04, rel=0.05)
    assert near_nyquist_energy(np.full((1, 1, 64, 64), 0.7)) == pytest.approx(0, abs=1e-12)


def test_the_nyquist_ratio_of_constant_images_is_undefined(rng):
    for level in (0.0, 0.7):
        measures = checkerboard_energy(np.full((2, 3, 16, 16), level, np.float32), smooth_images(rng, 2, 16))
        assert measures["nyquist_ratio"] is None and measures["nyquist_appearance"] > 0


def test_a_ratio_to_nothing_is_undefined():
    assert (ratio(3.0, 2.0), ratio(3.0, 0.0), ratio(0.0, 1e-13)) == (1.5, None, None)
    assert (formatted(1.234), formatted(None), formatted(0.5, ".0%")) == ("1.23", "-", "50%")


def test_displacement_measures_of_shifts_stretches_and_folds():
    shifts = np.zeros((2, 2, 8, 8))
    shifts[0, 0], shifts[1, 0] = 3, -3
    result = displacement_statistics(shifts)
    assert result == pytest.approx({"displacement_rms": 3, "stretch_rms": 0, "folded": 0})
    ramp = np.zeros((2, 2, 8, 8))
    ramp[:, 0] = 0.5 * np.arange(8)  # the same in both samples: all of it is the mean field
    result = displacement_statistics(ramp)
    assert result["displacement_rms"] == 0 and result["stretch_rms"] == pytest.approx(0.5 / 2)
    ramp[:, 0] = -2.0 * np.arange(8)  # u = x - 2 x: the image is mirrored
    assert displacement_statistics(ramp)["folded"] == 1
    x, y = np.arange(8), np.arange(8)[:, None]
    turned = np.stack([-y - x, x - y])[None]  # (u, v) = (-y, x): a quarter turn, whose determinant is 1
    assert displacement_statistics(turned)["folded"] == 0
    assert displacement_statistics(np.stack([y - x, x - y])[None])["folded"] == 1  # (u, v) = (y, x): a reflection


def test_a_drifted_canonical_frame_shows_in_the_mean_field_and_outside_the_canvas():
    field = np.zeros((3, 2, 8, 10))
    assert canonical_frame(field) == {"mean_displacement": 0, "outside": 0}
    field[:, 0], field[:, 1] = 3, -4  # the last three columns and the first four rows are sampled outside
    assert canonical_frame(field) == pytest.approx({"mean_displacement": 5, "outside": 1 - 7 / 10 * 4 / 8})
    field[0] *= -1  # the mean field is a third as long; the first field leaves the canvas on the opposite sides
    assert canonical_frame(field)["mean_displacement"] == pytest.approx(5 / 3)
    assert canonical_frame(np.full((1, 2, 8, 8), 0.4))["outside"] == 0  # within the border pixels


def test_clips_are_measured_over_the_frames_that_they_have(rng):
    clips, mask = rng.random((2, 3, 1, 16, 16)).astype(np.float32), np.array([[1, 1, 1], [1, 0, 0]], np.float32)
    displacement = np.zeros((2, 3, 2, 16, 16), np.float32)
    displacement[:, :, 0] = np.array([[1, 2, 3], [2, 90, 90]])[..., None, None]

    def decode(z):
        wrong = clips + 0.5 * (1 - mask)[..., None, None, None]  # only where a clip has no frames
        return Decoded(wrong, clips, displacement)
    result = unlabelled_measures(decode, Sample(clips, [mask], mask), Sample(clips, [mask], mask))
    assert result["train"]["images"] == result["unseen"]["images"] == 4
    assert result["train"]["msre"] == result["unseen"]["msre"] == 0
    wrong = np.stack([clips[0] + 1, clips[1]])
    found = unlabelled_measures(lambda z: Decoded(wrong), None, Sample(clips, [mask], mask))["unseen"]
    squared = 256 * np.array([1, 1, 1, 0])  # of each frame; the frames of a clip depend on each other
    assert found["msre_stderr"] == pytest.approx(standard_error_of_mean(squared, [0, 0, 0, 1]))
    assert found["msre_stderr"] != standard_error_of_mean(squared)
    one = unlabelled_measures(lambda z: Decoded(wrong), None, Sample(clips, [mask], mask, np.array(["x", "x"])))
    assert one["unseen"]["msre_stderr"] is None  # both clips are of one person
    assert result["canonical_frame"]["mean_displacement"] == pytest.approx(2)
    assert result["appearance"]["nyquist_ratio"] == pytest.approx(1)


def test_a_model_without_a_warp_has_reconstruction_errors_alone(rng):
    images = rng.random((2, 1, 16, 16))
    assert set(unlabelled_measures(lambda z: Decoded(images), Sample(images, [images]))) == {"train"}
