"""The error of predicted landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation import landmarks

SHAPE = np.array([[8, 8], [16, 8], [12, 13], [9, 17], [15, 17]], np.float64)  # eyes 8 pixels apart


def test_the_error_is_a_percentage_of_the_inter_ocular_distance():
    truth = np.stack([SHAPE, 2 * SHAPE])
    shifted = truth.copy()
    shifted[:, :, 0] += 2  # 2 of 8 pixels, 2 of 16
    assert landmarks.error(shifted, truth) == pytest.approx((25 + 12.5) / 2)
    assert landmarks.error(truth, truth) == 0


def test_the_error_is_a_mean_over_landmarks():
    truth = SHAPE[None]
    shifted = truth.copy()
    shifted[0, 2] += (3, 4)  # one of five by 5 of 8 pixels
    assert landmarks.compute({"one": shifted, "none": truth}, truth) == pytest.approx({"one": 12.5, "none": 0})
