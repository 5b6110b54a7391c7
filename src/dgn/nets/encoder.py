"""The inference network of a VAE, which mirrors a generator's stack."""

from __future__ import annotations

from typing import Tuple

import mindspore as ms
from mindspore import Tensor, nn, ops

from dgn.nets.layers import Dense, truncated_normal
from dgn.nets.model import LatentGroup
from dgn.nets.stack import Architecture
from dgn.randomness import generator


class Encoder(nn.Cell):
    """Images (N, C, H, W) -> mean and log-variance of q(z | x), (N, d) each, of every sampled latent group in turn.

    architecture: of the generator that is mirrored: its layers in reverse order, with convolutions in place of
    deconvolutions; inputs: channels of the images; seed: of the initial weights.
    """

    def __init__(self, groups: Tuple[LatentGroup, ...], architecture: Architecture, inputs: int, seed: int) -> None:
        super().__init__()
        rng = generator(seed, "encoder weights")
        channels = [inputs, *reversed(architecture.inputs)]
        self.convolutions = nn.CellList([
            nn.Conv2d(a, b, k, stride=stride, pad_mode="same", has_bias=True, bias_init="zeros",
                      weight_init=ms.Tensor(truncated_normal((b, a, k, k), rng, (2 / (a * k * k)) ** 0.5)))
            for a, b, (_, k, stride) in zip(channels, channels[1:], reversed(architecture.layers))])
        features = architecture.channels * architecture.side ** 2
        self.flat = (-1, features)
        # gain 0.5: initial means and log-variances are small, so q starts near the prior
        self.heads = nn.CellList([Dense(features, 2 * group.shape[0], rng, gain=0.5)
                                  for group in groups if group.sampled])

    def construct(self, x: Tensor) -> Tuple[Tensor, ...]:
        for layer in self.convolutions:
            x = ops.relu(layer(x))
        x = x.reshape(self.flat)  # (N, features)
        posterior = ()
        for head in self.heads:
            both = head(x)  # (N, 2 d)
            half = both.shape[1] // 2
            posterior = posterior + (both[:, :half], both[:, half:])
        return posterior
