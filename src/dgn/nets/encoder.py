"""The inference network of a VAE: the generators' stack turned round (Table 4 read from below)."""

from __future__ import annotations

from typing import List, Tuple

import mindspore as ms
from mindspore import Tensor, nn, ops

from dgn.nets.blocks import Dense, truncated_normal
from dgn.nets.model import LatentGroup
from dgn.nets.stack import kernels_by_level
from dgn.randomness import generator


class Encoder(nn.Cell):
    """Images (N, C, H, W) -> mean and log-variance of q(z | x), each (N, d), for every sampled latent group in turn.

    channels: of the generators' levels, from 4x4 up; the encoder has the same, from the image down.
    """

    def __init__(self, groups: Tuple[LatentGroup, ...], channels: List[int], inputs: int, seed: int) -> None:
        super().__init__()
        rng = generator(seed, "encoder weights")
        widths = [inputs, *reversed(channels)]
        kernels = reversed(kernels_by_level(len(channels)))
        self.convolutions = nn.CellList([
            nn.Conv2d(a, b, k, stride=2, pad_mode="same", has_bias=True, bias_init="zeros",
                      weight_init=ms.Tensor(truncated_normal((b, a, k, k), rng, (2 / (a * k * k)) ** 0.5)))
            for a, b, k in zip(widths, widths[1:], kernels)])
        flat = channels[0] * 16
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
