"""The inference network of a VAE: a generator's stack turned round (its table read from below)."""

from __future__ import annotations

from typing import Tuple

import mindspore as ms
from mindspore import Tensor, nn, ops

from dgn.nets.blocks import Dense, truncated_normal
from dgn.nets.model import LatentGroup
from dgn.nets.stack import Architecture
from dgn.randomness import generator


class Encoder(nn.Cell):
    """Images (N, C, H, W) -> mean and log-variance of q(z | x), each (N, d), for every sampled latent group in turn.

    architecture: the encoder has its layers, from the image down. (`build` gives that of model.network at model.width, whatever the
    model: plain generators are a little narrower, so the encoder is no smaller than what it inverts.)
    """

    def __init__(self, groups: Tuple[LatentGroup, ...], architecture: Architecture, inputs: int, seed: int) -> None:
        super().__init__()
        rng = generator(seed, "encoder weights")
        widths = [inputs, *(channels for channels, _ in reversed(architecture.maps[:-1]))]
        self.convolutions = nn.CellList([
            nn.Conv2d(a, b, k, stride=stride, pad_mode="same", has_bias=True, bias_init="zeros",
                      weight_init=ms.Tensor(truncated_normal((b, a, k, k), rng, (2 / (a * k * k)) ** 0.5)))
            for a, b, (_, k, stride) in zip(widths, widths[1:], reversed(architecture.layers))])
        flat = architecture.channels * architecture.side ** 2
        self.flat = (-1, flat)
        self.heads = nn.CellList([Dense(flat, 2 * group.shape[0], rng, gain=0.5) for group in groups if group.sampled])

    def construct(self, x: Tensor) -> Tuple[Tensor, ...]:
        for layer in self.convolutions:
            x = ops.relu(layer(x))
        x = x.reshape(self.flat)
        found = ()
        for head in self.heads:
            both = head(x)
            half = both.shape[1] // 2
            found = found + (both[:, :half], both[:, half:])
        return found
