"""The landmark regressor on fields that say everything, and on noise."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation import landmarks

SHAPE = np.array([[8, 8], [16, 8], [12, 13], [9, 17], [15, 17]], np.float64)  # eyes 8 pixels apart


def test_the_error_is_a_percentage_of_the_inter_ocular_distance():
    truth = np.stack([SHAPE, 2 * SHAPE])
    off = truth.copy()
    off[:, :, 0] += 2  # 2 of 8 pixels, 2 of 16
    assert landmarks.error(off, truth) == pytest.approx((25 + 12.5) / 2)
    assert landmarks.error(truth, truth) == 0


def test_fields_that_tell_beat_the_mean_shape_and_noise_does_not(rng):
    shifts = rng.uniform(-3, 3, (600, 2))
    truth = SHAPE + shifts[:, None]
    fields = np.broadcast_to(-shifts[:, :, None, None], (600, 2, 12, 12)).astype(np.float32)
    noise = rng.standard_normal((600, 2, 12, 12)).astype(np.float32)
    split = np.arange(500), np.arange(500, 600)
    found = landmarks.compute(landmarks.predict({"field": fields, "noise": noise}, truth, *split, seed=1, epochs=60), truth[500:])
    assert found["mean_shape"] == pytest.approx(100 * np.linalg.norm(shifts[500:], axis=1).mean() / 8, rel=0.05)
    assert found["field"] < 3 and found["noise"] > 0.9 * found["mean_shape"]
    again = landmarks.predict({"field": fields}, truth, *split, seed=1, epochs=60)
    assert landmarks.error(again["field"], truth[500:]) == found["field"]
