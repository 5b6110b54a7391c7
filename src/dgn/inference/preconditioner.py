"""A constant preconditioner for Langevin dynamics (beyond the paper).

For each latent group M = (E[J^T J] / sigma^2 + I)^-1, the inverse of the average Gauss-Newton matrix of the energy, and

  z <- z - delta^2 / 2 M dE/dz + delta M^(1/2) noise

M is the same for all chains and does not depend on z, so Eq. 7 keeps its stationary distribution. All directions relax
at about the same rate, so step sizes near 1 are stable. (With the average of squared gradients instead of J^T J the
steps would vanish, because gradients are large far from equilibrium.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from dgn import config as cfg
from dgn.inference.jacobian import gauss_newton
from dgn.nets.model import LatentGroup, Model, decode

SAMPLES = 32  # chains at which the Jacobian is evaluated
EARLY = 5  # M is updated before each of the first 5 epochs, then before every 5th epoch
USED = 2.0  # an eigenvalue of E[J^T J] / sigma^2 + I above this is counted as a dimension that the data determine


class Preconditioner(nn.Cell):
    """M and M^(1/2) of each sampled group; initially the identity.

    They are parameters, so that compiled graphs see changes: inverses (M, named metric_<group> in checkpoints) and
    roots. sigmas: the sigma of each sampled group for which M was computed. curvatures: E[J^T J] of each sampled group,
    (d, d) float64.
    """

    def __init__(self, groups: Sequence[LatentGroup]) -> None:
        super().__init__()
        sampled = [group for group in groups if group.sampled]
        self.names = [group.name for group in sampled]
        self.inverses = ms.ParameterTuple([_identity(f"metric_{group.name}", *group.shape) for group in sampled])
        self.roots = ms.ParameterTuple([_identity(f"root_{group.name}", *group.shape) for group in sampled])
        self.matmul = ops.MatMul()
        self.sigmas: tuple[float, ...] = ()
        self.curvatures: list[np.ndarray] = [np.zeros((group.shape[0],) * 2) for group in sampled]

    def construct(self, slot: int, gradient: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(M gradient, M^(1/2) noise), (N, d) each, of the sampled group with index `slot`."""
        return self.matmul(gradient, self.inverses[slot]), self.matmul(noise, self.roots[slot])

    def update(self, curvatures: Sequence[np.ndarray], sigmas: Sequence[float]) -> None:
        """Sets M from E[J^T J] (d, d) and sigma of each sampled group."""
        self.curvatures, self.sigmas = list(curvatures), ()
        self.adapt(sigmas)

    def adapt(self, sigmas: Sequence[float]) -> None:
        """Sets M for other sigmas and the same E[J^T J]."""
        for slot, (curvature, sigma) in enumerate(zip(self.curvatures, sigmas)):
            if not self.sigmas or self.sigmas[slot] != sigma:
                values, axes = np.linalg.eigh(curvature / sigma ** 2 + np.eye(len(curvature)))
                ops.assign(self.inverses[slot], Tensor((axes / values @ axes.T).astype(np.float32)))
                ops.assign(self.roots[slot], Tensor((axes / np.sqrt(values) @ axes.T).astype(np.float32)))
        self.sigmas = tuple(sigmas)

    def adapt_all(self, sigma: float) -> None:
        """`adapt` with one sigma for all groups."""
        self.adapt([sigma] * len(self.names))

    def recover_curvatures(self, sigmas: Sequence[float]) -> None:
        """Recomputes E[J^T J] from M after M was loaded from a checkpoint that was computed for these sigmas."""
        scaled = [np.linalg.inv(inverse.asnumpy().astype(np.float64)) for inverse in self.inverses]
        self.curvatures = [(matrix - np.eye(len(matrix))) * sigma ** 2 for matrix, sigma in zip(scaled, sigmas)]
        self.sigmas = tuple(sigmas)

    def copy(self, other: Preconditioner) -> None:
        """Copies the values of another preconditioner for the same groups."""
        for mine, theirs in zip([*self.inverses, *self.roots], [*other.inverses, *other.roots]):
            ops.assign(mine, Tensor(theirs.asnumpy()))
        self.curvatures, self.sigmas = list(other.curvatures), other.sigmas

    def rotate(self, rotations: Mapping[str, np.ndarray]) -> None:
        """Changes M and M^(1/2) to those for latents z @ rotation instead of z; see dgn.inference.axes.rotate."""
        for slot, name in enumerate(self.names):
            if name in rotations:
                turn = rotations[name]
                self.curvatures[slot] = turn.T @ self.curvatures[slot] @ turn
                for matrix in (self.inverses[slot], self.roots[slot]):
                    ops.assign(matrix, Tensor(turn.T @ matrix.asnumpy() @ turn))

    def used_dimensions(self) -> dict[str, int]:
        """The number of directions of each sampled group that the data determine: eigenvalues of M^-1 above USED."""
        return {f"{name}_used": int((np.linalg.eigvalsh(inverse.asnumpy()) < 1 / USED).sum())
                for name, inverse in zip(self.names, self.inverses)}


def group_sigmas(inference: cfg.Inference, names: Sequence[str], epoch: int) -> list[float]:
    """The sigma in the gradient of each named group in a training epoch (inference.sigma, inference.sigma_app)."""
    sigma, factor = (cfg.value_at(schedule, max(epoch, 0)) for schedule in (inference.sigma, inference.sigma_app))
    return [sigma * factor if name == "z_app" else sigma for name in names]


def curvatures(model: Model, latents: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sum over samples of J^T J, (d, d) float64, for each sampled group; J: Jacobian of the image at latents (n, d)."""
    def image(*points: np.ndarray) -> np.ndarray:
        return decode(model, *points, batch_size=len(points[0])).image
    return [gauss_newton(image, latents, g) for g, group in enumerate(model.groups) if group.sampled]


def _identity(name: str, size: int) -> Parameter:
    return Parameter(Tensor(np.eye(size, dtype=np.float32)), name=name, requires_grad=False)
