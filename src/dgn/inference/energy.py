"""The negative complete-data log-likelihood of Eq. 8 (and 17), up to constants: the one place for sigma and every sum or mean.

  E(x, z) = ||x - F(z)||^2 / (2 sigma^2) + ||z||^2 / 2  [+ smoothness / 2 * ||grad displacement||^2]

Sums run over all pixels, channels, frames and latent dimensions of one sample; nothing is averaged here. Frames that a
shorter clip does not have are left out of them.
"""

from __future__ import annotations

from typing import Tuple

import mindspore as ms
from mindspore import Tensor, nn, ops


def squared_norm(x: Tensor) -> Tensor:
    """Sum of squares of each sample, (N, ...) -> (N,)."""
    return ops.reduce_sum(ops.square(x).reshape(x.shape[0], -1), 1)


def roughness(displacement: Tensor) -> Tensor:
    """Sum of squared differences between neighbouring pixels' displacements, (N, ..., 2, H, W) -> (N,), in pixels^2."""
    across = displacement[..., 1:] - displacement[..., :-1]
    down = displacement[..., 1:, :] - displacement[..., :-1, :]
    return squared_norm(across) + squared_norm(down)


def observed(x: Tensor) -> Tensor:
    """1 where a clip of x (N, F, C, H, W) has a frame, 0 where it is filled up (data.source.MISSING); (N, F, 1, 1, 1)."""
    return ops.cast(x[:, :, :1, :1, :1] >= 0, ms.float32)


class Energy(nn.Cell):
    """-log p(x, z) of a model given as its parts (what its branches make of the latents).

    smoothness: weight of a Gaussian prior on the differences of the displacement; 0 in the paper. It needs a model
    whose second part is a displacement. clips: samples are clips, which may be shorter than the array that holds them.
    """

    def __init__(self, model: nn.Cell, smoothness: float = 0.0, clips: bool = False) -> None:
        super().__init__()
        self.model, self.smoothness, self.clips = model, smoothness, clips

    def residual(self, x: Tensor, parts: Tuple[Tensor, ...]) -> Tensor:
        """Squared reconstruction error ||x - F||^2 of each sample, (N,)."""
        difference = x - self.model.compose(parts)
        if self.clips:
            difference = difference * observed(x)
        return squared_norm(difference)

    def field_prior(self, x: Tensor, parts: Tuple[Tensor, ...]) -> Tensor:
        """Energy of the displacement under the smoothness prior, (N,)."""
        displacement = parts[1] * observed(x) if self.clips else parts[1]
        return 0.5 * self.smoothness * roughness(displacement)

    def likelihood(self, x: Tensor, parts: Tuple[Tensor, ...], sigma: Tensor) -> Tensor:
        """What depends on the weights, (N,): the learning step descends its mean (Eq. 9)."""
        energy = self.residual(x, parts) / (2 * sigma * sigma)
        if self.smoothness > 0:
            energy = energy + self.field_prior(x, parts)
        return energy

    def latent_prior(self, z: Tensor) -> Tensor:
        """-log p(z), (N,)."""
        return 0.5 * squared_norm(z)
