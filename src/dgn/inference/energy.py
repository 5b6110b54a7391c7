"""The negative complete-data log-likelihood of Eq. 8 (and 17), up to constants; the only definition of its reductions
and of sigma.

  E(x, z) = ||x - F(z)||^2 / (2 sigma^2) + ||z||^2 / 2  [+ smoothness / 2 * ||grad displacement||^2]

Sums run over all pixels, channels, frames and latent dimensions of one sample; nothing is averaged. Frames that a
clip's mask excludes are ignored.

The smoothness is a penalty (beyond the paper). With it, exp(-E) is no longer the joint density up to a constant: the
normalizing constant would depend on the weights, and is ignored.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from dgn.config import Config, last_smoothness
from dgn.nets.model import Model


def squared_norm(x: Tensor) -> Tensor:
    """Sum of squares of each sample, (N, ...) -> (N,)."""
    return ops.reduce_sum((x * x).reshape(x.shape[0], -1), 1)


def data_term(squared_error: Any, sigma: Any) -> Any:
    """-log p(x | z) up to constants: that of Gaussian noise with standard deviation sigma."""
    return squared_error / (2 * sigma * sigma)


def roughness(displacement: Tensor) -> Tensor:
    """Sum of squared differences between neighbouring pixels' displacements, (N, ..., 2, H, W) -> (N,), in pixels^2."""
    across = displacement[..., 1:] - displacement[..., :-1]
    down = displacement[..., 1:, :] - displacement[..., :-1, :]
    return squared_norm(across) + squared_norm(down)


def mask_or_ones(count: int, mask: np.ndarray | None = None) -> np.ndarray:
    """The mask that the energy expects: (N, F) for clips, ones (N, 1) for images, where it is unused."""
    return np.ones((count, 1), np.float32) if mask is None else np.ascontiguousarray(mask, np.float32)


class Energy(nn.Cell):
    """-log p(x, z) of a model as a function of its branch outputs.

    smoothness: weight of a quadratic penalty on the displacement's differences; 0 in the paper. It requires a model
    whose second branch outputs the displacement. variable: whether the weight can be changed, see set_smoothness.
    """

    def __init__(self, model: Model, smoothness: float = 0.0, variable: bool = False) -> None:
        super().__init__()
        self.model, self.clips = model, model.frames > 0
        self.smooth, self.smoothness = smoothness > 0 or variable, smoothness
        if variable:  # a parameter, so that compiled graphs see changes
            self.smoothness = Parameter(Tensor(smoothness, ms.float32), "smoothness", requires_grad=False)
        self.branches = model.branches
        self.sampled = tuple(g for g, group in enumerate(model.groups) if group.sampled)

    def set_smoothness(self, weight: float) -> None:
        """Changes the weight of the smoothness. Raises ValueError if the weight is a constant (variable=False)."""
        if isinstance(self.smoothness, Parameter):
            ops.assign(self.smoothness, Tensor(weight, ms.float32))
        elif weight != self.smoothness:
            raise ValueError("the smoothness weight of this energy is constant; build it with variable=True")

    def outputs(self, latents: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The output of each branch for the latents of its group."""
        outputs = ()
        for g in range(len(self.branches)):
            outputs = outputs + (self.branches[g](latents[g]),)
        return outputs

    def residual(self, x: Tensor, mask: Tensor, outputs: tuple[Tensor, ...]) -> Tensor:
        """F - x, with 0 in frames that a clip does not have. mask: (N, F), 1 where a clip has the frame."""
        return self.masked(self.model.compose(outputs) - x, mask)

    def squared_error(self, x: Tensor, mask: Tensor, outputs: tuple[Tensor, ...]) -> Tensor:
        """||x - F||^2 of each sample, (N,)."""
        return squared_norm(self.residual(x, mask, outputs))

    def image_gradient(self, x: Tensor, mask: Tensor, outputs: tuple[Tensor, ...], sigma: Tensor) -> Tensor:
        """Gradient of data_term with respect to the image F, of its shape."""
        return self.residual(x, mask, outputs) * (ops.ones((), sigma.dtype) / (sigma * sigma))

    def smoothness_energy(self, mask: Tensor, outputs: tuple[Tensor, ...]) -> Tensor:
        """The penalty on the displacement's differences, (N,)."""
        return 0.5 * self.smoothness * roughness(self.masked(outputs[1], mask))

    def energy_given_latents(self, x: Tensor, mask: Tensor, outputs: tuple[Tensor, ...], sigma: Tensor) -> Tensor:
        """The terms that depend on the weights, (N,): -log p(x | z), and the smoothness energy if it is on (Eq. 9)."""
        energy = data_term(self.squared_error(x, mask, outputs), sigma)
        if self.smooth:
            energy = energy + self.smoothness_energy(mask, outputs)
        return energy

    def latent_prior(self, z: Tensor) -> Tensor:
        """-log p(z), (N,)."""
        return 0.5 * squared_norm(z)

    def total(self, x: Tensor, mask: Tensor, latents: tuple[Tensor, ...], outputs: tuple[Tensor, ...],
              sigma: Tensor) -> Tensor:
        """E(x, z) of each sample, (N,). Groups that are not sampled have no prior term."""
        energy = self.energy_given_latents(x, mask, outputs, sigma)
        for g in self.sampled:
            energy = energy + self.latent_prior(latents[g])
        return energy

    def masked(self, values: Tensor, mask: Tensor) -> Tensor:
        """Clips (N, F, C, H, W) with 0 in the frames that a clip does not have; images are returned unchanged."""
        return values * mask.reshape(mask.shape + (1, 1, 1)) if self.clips else values


class TotalEnergy(nn.Cell):
    """E(x, z) of Eq. 8: (x, mask, sigma, latents of each group) -> (N,)."""

    def __init__(self, energy: Energy) -> None:
        super().__init__()
        self.energy = energy

    def construct(self, x: Tensor, mask: Tensor, sigma: Tensor, *latents: Tensor) -> Tensor:
        return self.energy.total(x, mask, latents, self.energy.outputs(latents), sigma)


class EnergyGradient(nn.Cell):
    """dE/dz of each group, (N, d), with the arguments of TotalEnergy."""

    def __init__(self, energy: Energy) -> None:
        super().__init__()
        self.total, self.gradient = TotalEnergy(energy), ops.GradOperation(get_all=True)

    def construct(self, x: Tensor, mask: Tensor, sigma: Tensor, *latents: Tensor) -> tuple[Tensor, ...]:
        return self.gradient(self.total)(x, mask, sigma, *latents)[3:]


def make_energy(model: Model, config: Config) -> Energy:
    """The energy of a model under a config, with the smoothness of its last epoch."""
    if not model.warps:
        return Energy(model)
    return Energy(model, last_smoothness(config), variable=len(config.inference.smoothness) > 1)
