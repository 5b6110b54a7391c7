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
    np.testing.assert_allclose(weights, expected)


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

    np.testing.assert_allclose(covariance(new), (1 - share) * covariance(z_app), atol=0.02)  # the ridge leaves 1 %
    np.testing.assert_allclose(new.mean(0), z_app.mean(0), rtol=1e-3)
