"""Decorrelation of the appearance's latents from the geometry's."""

from __future__ import annotations

import numpy as np
import pytest
from mindspore import Tensor

from dgn.inference.decorrelation import RIDGE, Decorrelation, moments, regression


@pytest.fixture
def latents(rng):
    """Latents of 400 samples, of which the geometry's predict a part of the appearance's."""
    z_geo = 0.5 + rng.standard_normal((400, 3))
    z_app = z_geo @ rng.standard_normal((3, 4)) + rng.standard_normal((400, 4))
    return z_app, z_geo


def test_the_regression_is_that_of_least_squares_from_the_moments_of_two_processes(latents):
    z_app, z_geo = latents
    total = moments(z_app[::2], z_geo[::2]) + moments(z_app[1::2], z_geo[1::2])
    mean, weights = regression(total, 3)
    np.testing.assert_allclose(mean, z_geo.mean(0))
    ridge = np.sqrt(RIDGE * len(z_geo)) * np.eye(3)  # as further samples
    expected = np.linalg.lstsq(np.concatenate([z_geo - mean, ridge]),
                               np.concatenate([z_app - z_app.mean(0), np.zeros((3, 4))]), rcond=None)[0]
    np.testing.assert_allclose(weights, (1 - 3 / 400) * expected)


def test_of_independent_latents_little_is_removed(rng):
    """64 numbers explain most of the variance of others by chance if there are 100 samples."""
    z_app, z_geo = rng.standard_normal((100, 16)), rng.standard_normal((100, 64))
    mean, weights = regression(moments(z_app, z_geo), 64)
    assert (z_app - (z_geo - mean) @ weights).std() > 0.75 * z_app.std()


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_share_of_the_covariance_is_removed(latents, share):
    z_app, z_geo = latents
    decorrelation = Decorrelation(4, 3)
    arguments = [Tensor(z.astype(np.float32)) for z in latents]
    np.testing.assert_allclose(decorrelation(*arguments).asnumpy(), z_app, rtol=1e-5)  # nothing before an update
    decorrelation.update(moments(*latents), share)
    new = decorrelation(*arguments).asnumpy()

    def covariance(values):
        return (z_geo - z_geo.mean(0)).T @ (values - values.mean(0)) / len(values)

    left = (1 - share) * covariance(z_app)  # and 2 %, by the ridge and the shrinkage
    np.testing.assert_allclose(covariance(new), left, atol=0.05)
    np.testing.assert_allclose(new.mean(0), z_app.mean(0), rtol=1e-3)
