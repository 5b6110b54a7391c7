"""The error of predicted landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation.correspondence import interpolate_scattered
from dgn.evaluation.landmarks import canonical_landmarks, carried_landmarks, landmark_distances, landmark_errors

SHAPE = np.array([[8, 8], [16, 8], [12, 13], [9, 17], [15, 17]], np.float64)  # eyes 8 pixels apart


def test_the_error_is_a_percentage_of_the_inter_ocular_distance():
    truth = np.stack([SHAPE, 2 * SHAPE])
    shifted = truth.copy()
    shifted[:, :, 0] += 2  # 2 of 8 pixels, 2 of 16
    assert landmark_distances(shifted, truth).mean() == pytest.approx((25 + 12.5) / 2)
    assert landmark_distances(truth, truth).mean() == 0


def test_the_error_is_a_mean_over_landmarks():
    truth = SHAPE[None]
    shifted = truth.copy()
    shifted[0, 2] += (3, 4)  # one of five by 5 of 8 pixels
    assert landmark_distances(shifted, truth).mean() == pytest.approx(12.5)


def test_errors_relative_to_the_mean_shape():
    truth = np.stack([SHAPE, SHAPE + 4])
    predicted = {"exact": truth, "half": np.stack([SHAPE + 1, SHAPE + 3]), "mean_shape": np.stack([SHAPE + 2] * 2)}
    result = landmark_errors(predicted, truth, ["a", "b"])
    assert set(result["standard_errors"]) == set(predicted) and result["standard_errors"]["exact"] == 0
    assert landmark_errors(predicted, truth, ["a", "a"])["standard_errors"]["half"] is None  # one person
    assert result["mean_shape"] == pytest.approx(100 * 8 ** 0.5 / 8)
    assert result["half"] == pytest.approx(result["mean_shape"] / 2)
    assert result["relative_to_mean_shape"] == pytest.approx({"exact": 0, "half": 0.5})


def test_an_interpolated_place_is_within_a_pixel_of_that_of_the_nearest_key():
    pixels = np.indices((5, 5)).reshape(2, -1).T.astype(np.float64)
    distance, place = interpolate_scattered(pixels, pixels, np.array([[20.0, 2.0], [1.5, 2.25]]))
    np.testing.assert_allclose(distance, [16, np.hypot(0.5, 0.25)])
    np.testing.assert_allclose(place, [[5, 2], [1.5, 2.25]], atol=1e-9)


def test_landmarks_are_carried_by_the_displacement_and_back(rng):
    y, x = np.indices((24, 24), np.float32)
    # canonical = 12 + stretch (p - 12) + shift
    shift, stretch = rng.uniform(-2, 2, (3, 2)), rng.uniform(0.8, 1.2, (3, 2))
    displacement = np.stack([np.stack([(s - 1) * (axis - 12) + d for s, d, axis in zip(scale, move, (x, y))])
                             for scale, move in zip(stretch, shift)])
    canonical = 12 + stretch[:, None] * (SHAPE - 12) + shift[:, None]
    np.testing.assert_allclose(canonical_landmarks(displacement, np.stack([SHAPE] * 3)), canonical, atol=1e-4)
    carried = carried_landmarks(displacement, SHAPE)
    np.testing.assert_allclose(carried, 12 + (SHAPE - 12 - shift[:, None]) / stretch[:, None], atol=1e-4)
