"""Decorrelation of Z^a from Z^g over the training samples (beyond the paper).

Under the prior Z^a and Z^g are independent, but the chains need not be: variation that both generators can explain,
such as the pose of a head, may be in both. After the Langevin steps of an iteration

  z^a <- z^a - fraction (z^g - mean) B

where B is the linear regression of z^a on z^g over the training samples' chains, estimated before each epoch, and
`fraction` is a setting from 0 to 1 (inference.decorrelation). The appearance generator is then trained on latents from
which less of the geometry can be predicted. With this step the chains no longer sample the posterior of a model
exactly. Unseen images are inferred without it.
"""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

SAMPLES = 20_000  # largest number of chains from which B is estimated; they are evenly spaced
RIDGE = 0.01  # added to the variances of Z^g, so that B is finite


class Decorrelation(nn.Cell):
    """(z^a (N, a), z^g (N, g)) -> the new z^a. mean and fraction * B are parameters; both are 0 until `update`."""

    def __init__(self, appearance: int, geometry: int) -> None:
        super().__init__()
        self.mean = Parameter(Tensor(np.zeros((1, geometry), np.float32)), "mean", requires_grad=False)
        self.weights = Parameter(Tensor(np.zeros((geometry, appearance), np.float32)), "weights", requires_grad=False)
        self.matmul = ops.MatMul()

    def construct(self, z_app: Tensor, z_geo: Tensor) -> Tensor:
        return z_app - self.matmul(z_geo - self.mean, self.weights)

    def update(self, sums: np.ndarray, fraction: float) -> None:
        """Sets mean and fraction * B. sums: `moments` of all chains."""
        mean, weights = regression(sums, self.mean.shape[1])
        ops.assign(self.mean, Tensor(mean[None].astype(np.float32)))
        ops.assign(self.weights, Tensor((fraction * weights).astype(np.float32)))


def moments(z_app: np.ndarray, z_geo: np.ndarray) -> np.ndarray:
    """Sums over samples of the products of (1, z^g) with (1, z^g, z^a), (1 + g, 1 + g + a) float64; they are additive
    over sets of samples."""
    one = np.ones((len(z_geo), 1))
    known = np.concatenate([one, z_geo], 1, dtype=np.float64)
    return known.T @ np.concatenate([known, z_app], 1)


def regression(sums: np.ndarray, geometry: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of z^g (g,) and B (g, a), where (z^g - mean) B is the linear prediction of z^a minus its mean.

    sums: see `moments`.

    B is multiplied by max(0, 1 - g / n) for n samples, because g random numbers predict by chance a fraction g / n of
    the variance of another number.
    """
    count = sums[0, 0]
    averages = sums / count
    mean = averages[0, 1:]
    covariance = averages[1:, 1:] - np.outer(averages[1:, 0], mean)
    of_geometry = covariance[:, :geometry] + RIDGE * np.eye(geometry)
    shrinkage = max(0.0, 1 - geometry / count)
    return mean[:geometry], shrinkage * np.linalg.solve(of_geometry, covariance[:, geometry:])
