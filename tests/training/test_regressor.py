"""The landmark regressors on features that determine the landmarks, and on noise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from dgn.evaluation.landmarks import landmark_distances
from dgn.training.optim import cosine
from dgn.training.regressor import LandmarkRegressor, RidgeRegressor

SHAPE = np.array([[8, 8], [16, 8], [12, 13], [9, 17], [15, 17]], np.float64)  # eyes 8 pixels apart
TRAINED, TESTED = slice(0, 500), slice(500, 600)


def test_displacements_of_the_landmarks_beat_the_mean_shape_and_noise_does_not(rng):
    shifts = rng.uniform(-3, 3, (600, 2))
    truth = SHAPE + shifts[:, None]
    fields = np.broadcast_to(-shifts[:, :, None, None], (600, 2, 12, 12)).astype(np.float32)
    noise = rng.standard_normal((600, 2, 12, 12)).astype(np.float32)

    def error(features: np.ndarray) -> float:
        regressor = LandmarkRegressor(seed=1, epochs=60).fit(features[TRAINED], truth[TRAINED])
        return landmark_distances(regressor.predict(features[TESTED]), truth[TESTED]).mean()

    mean_shape = landmark_distances(np.broadcast_to(truth[TRAINED].mean(0), (100, 5, 2)), truth[TESTED]).mean()
    assert mean_shape == pytest.approx(100 * np.linalg.norm(shifts[TESTED], axis=1).mean() / 8, rel=0.05)
    assert error(fields) < 3 and error(noise) > 0.9 * mean_shape


def test_ridge_regression_takes_few_samples_and_the_penalty_that_their_noise_needs(rng):
    factors = rng.standard_normal((140, 12))
    features = factors @ rng.standard_normal((12, 300)) + 0.5 * rng.standard_normal((140, 300))
    truth = 3 * (factors @ rng.standard_normal((12, 10))).reshape(-1, 5, 2) + 12
    noisy = truth + 5 * rng.standard_normal(truth.shape)

    def error(predicted: np.ndarray) -> float:
        return float(np.abs(predicted - truth[100:]).mean())

    def ridge(landmarks: np.ndarray) -> np.ndarray:
        return RidgeRegressor().fit(features[:100], landmarks[:100]).predict(features[100:])

    least_squares = LinearRegression().fit(features[:100], noisy[:100].reshape(100, -1)).predict(features[100:])
    assert error(ridge(truth)) < 0.05 * error(truth[:100].mean(0))
    assert error(ridge(noisy)) < 0.6 * error(least_squares.reshape(-1, 5, 2))


def test_the_seed_determines_the_regressor(rng):
    features, truth = rng.standard_normal((30, 8)), rng.uniform(0, 16, (30, 5, 2))

    def predicted(seed: int) -> np.ndarray:
        return LandmarkRegressor(seed, epochs=2).fit(features, truth).predict(features)

    np.testing.assert_array_equal(predicted(1), predicted(1))
    assert not np.array_equal(predicted(1), predicted(2))


def test_the_learning_rate_falls_along_a_cosine():
    assert [cosine(2.0, done) for done in (0, 1 / 3, 0.5, 1)] == pytest.approx([2, 1.5, 1, 0], abs=2e-6)


def test_the_epoch_with_the_smallest_error_is_kept(rng, monkeypatch):
    """Here the first one: the second has a learning rate that spoils the weights."""
    monkeypatch.setattr("dgn.training.regressor.cosine", lambda rate, done: rate if done < 0.5 else 100.0)
    features, truth = rng.standard_normal((30, 8)), rng.uniform(0, 16, (30, 5, 2))
    one, two = (LandmarkRegressor(1, epochs).fit(features, truth).predict(features) for epochs in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_prediction_before_the_training_is_refused():
    features = np.zeros((3, 4), np.float32)
    with pytest.raises(ValueError, match="call fit first"):
        LandmarkRegressor(seed=1).predict(features)
    with pytest.raises(ValueError, match="not fitted"):
        RidgeRegressor().predict(features)
