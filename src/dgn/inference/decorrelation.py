"""Decorrelation of Z^a from Z^g over the training samples (beyond the paper).

The prior makes Z^a and Z^g independent, but the chains need not be: what both generators can explain, such as the turn
of a head, is in both. After the Langevin steps of an iteration

  z^a <- z^a - share (z^g - mean) B

where B is the linear regression of z^a on z^g over the training samples' chains, estimated before each epoch, and
`share` is a setting from 0 to 1 (inference.decorrelation). So the appearance generator is trained on latents from which
less of the geometry can be predicted. The chains do then not sample the posterior of one model exactly. Unseen images
are inferred without this step.
"""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

SAMPLES = 20_000  # chains that B is estimated from, at most; evenly spaced
RIDGE = 0.01  # added to the variances of Z^g, so that B is finite


class Decorrelation(nn.Cell):
    """(z^a (N, a), z^g (N, g)) -> the new z^a. mean and share * B are parameters; both are 0 until `update`."""

    def __init__(self, appearance: int, geometry: int) -> None:
        super().__init__()
        self.mean = Parameter(Tensor(np.zeros((1, geometry), np.float32)), "mean", requires_grad=False)
        self.weights = Parameter(Tensor(np.zeros((geometry, appearance), np.float32)), "weights", requires_grad=False)
        self.matmul = ops.MatMul()

    def construct(self, z_app: Tensor, z_geo: Tensor) -> Tensor:
        return z_app - self.matmul(z_geo - self.mean, self.weights)

    def update(self, sums: np.ndarray, share: float) -> None:
        """Sets mean and share * B from `moments` of all chains."""
        mean, weights = regression(sums, self.mean.shape[1])
        ops.assign(self.mean, Tensor(mean[None].astype(np.float32)))
        ops.assign(self.weights, Tensor((share * weights).astype(np.float32)))


def moments(z_app: np.ndarray, z_geo: np.ndarray) -> np.ndarray:
    """Sums over samples of the products of (1, z^g) with (1, z^g, z^a), (1 + g, 1 + g + a) float64; those of several
    sets of samples add up."""
    one = np.ones((len(z_geo), 1))
    known = np.concatenate([one, z_geo], 1, dtype=np.float64)
    return known.T @ np.concatenate([known, z_app], 1)


def regression(sums: np.ndarray, geometry: int) -> tuple[np.ndarray, np.ndarray]:
    """From `moments`: the mean of z^g (g,), and B (g, a), for which (z^g - mean) B is what z^g predicts of z^a.

    B of n samples is multiplied by 1 - g / n (0 at the least): by chance alone g numbers predict a share g / n of the
    variance of another.
    """
    count = sums[0, 0]
    averages = sums / count
    mean = averages[0, 1:]
    covariance = averages[1:, 1:] - np.outer(averages[1:, 0], mean)
    of_geometry = covariance[:, :geometry] + RIDGE * np.eye(geometry)
    shrinkage = max(0.0, 1 - geometry / count)
    return mean[:geometry], shrinkage * np.linalg.solve(of_geometry, covariance[:, geometry:])
