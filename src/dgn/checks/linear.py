"""A model whose posterior is known in closed form."""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.nets.model import LatentGroup, Model


class LinearBranch(nn.Cell):
    """z (N, d) -> z W, (N, n)."""

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.weights = ms.Parameter(ms.Tensor(weights.astype(np.float32)), name="weights")

    def construct(self, z: Tensor) -> Tensor:
        return ops.matmul(z, self.weights)


class LinearModel(Model):
    """x = z_app A + z_geo B + noise, A (d_a, n), B (d_g, n); the posterior is Gaussian with known moments."""

    def __init__(self, a: np.ndarray, b: np.ndarray) -> None:
        super().__init__()
        self.groups = (LatentGroup("z_app", (a.shape[0],)), LatentGroup("z_geo", (b.shape[0],)))
        self.branches = nn.CellList([LinearBranch(a), LinearBranch(b)])

    def compose(self, outputs: tuple[Tensor, ...]) -> Tensor:
        return outputs[0] + outputs[1]


def linear_posterior(a: np.ndarray, b: np.ndarray, x: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) and covariance (d, d) of (z_app, z_geo) given x, for a standard normal prior."""
    w = np.concatenate([a, b])  # x = w^T z
    covariance = np.linalg.inv(np.eye(len(w)) + w @ w.T / sigma ** 2)
    return covariance @ w @ x / sigma ** 2, covariance
