"""Inference networks, which mirror a generator's stack: of a VAE, or for the first values of Langevin chains."""

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
    deconvolutions; inputs: channels of the images; seed: of the initial weights; variance: False gives means alone.
    """

    def __init__(self, groups: Tuple[LatentGroup, ...], architecture: Architecture, inputs: int, seed: int,
                 variance: bool = True) -> None:
        super().__init__()
        self.variance = variance
        rng = generator(seed, "encoder weights")
        channels = [inputs, *reversed(architecture.inputs)]
        self.convolutions = nn.CellList([
            nn.Conv2d(a, b, k, stride=stride, pad_mode="same", has_bias=True, bias_init="zeros",
                      weight_init=ms.Tensor(truncated_normal((b, a, k, k), rng, (2 / (a * k * k)) ** 0.5)))
            for a, b, (_, k, stride) in zip(channels, channels[1:], reversed(architecture.layers))])
        features = architecture.channels * architecture.side ** 2
        self.flat = (-1, features)
        # gain 0.5: initial means and log-variances are small, so q starts near the prior
        self.heads = nn.CellList([Dense(features, (2 if variance else 1) * group.shape[0], rng, gain=0.5)
                                  for group in groups if group.sampled])

    def construct(self, x: Tensor) -> Tuple[Tensor, ...]:
        for layer in self.convolutions:
            x = ops.relu(layer(x))
        x = x.reshape(self.flat)  # (N, features)
        posterior = ()
        for head in self.heads:
            values = head(x)  # (N, d), or (N, 2 d)
            if self.variance:
                half = values.shape[1] // 2
                posterior = posterior + (values[:, :half], values[:, half:])
            else:
                posterior = posterior + (values,)
        return posterior

    def means(self, outputs: Tuple[Tensor, ...]) -> Tuple[Tensor, ...]:
        """The means among the outputs, of each sampled group."""
        return outputs[::2] if self.variance else outputs
