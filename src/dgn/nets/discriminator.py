"""The critic of adversarial learning (5.3): residual blocks without batch statistics, as the R1 paper has them.

L. Mescheder, A. Geiger, S. Nowozin, Which Training Methods for GANs do actually Converge?, ICML 2018.
"""

from __future__ import annotations

from typing import List

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from dgn.nets.blocks import Dense, truncated_normal
from dgn.nets.conv import make_conv
from dgn.randomness import generator

RESIDUAL = 0.1  # share of a block's convolutions in its output
SLOPE = 0.2  # of the activation below 0
LAST = 4  # pixels a side of the last feature maps
WIDEST = 16  # times `width`, at most


def activation(x: Tensor) -> Tensor:
    """x above 0, SLOPE x below. (Written so that its second derivative, which R1 needs, is of operators that are documented
    for every device.)"""
    return ops.relu(x) - SLOPE * ops.relu(-x)


def halve(x: Tensor) -> Tensor:
    """Means of 2x2 pixels, (N, C, H, W) -> (N, C, H/2, W/2)."""
    n, channels, height, width = x.shape
    return ops.reduce_mean(x.reshape((n, channels, height // 2, 2, width // 2, 2)), (3, 5))


class Conv(nn.Cell):
    """Convolution of stride 1, same size, with He's initial weights; (N, inputs, H, W) -> (N, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, rng: np.random.Generator, kind: str,
                 bias: bool = True) -> None:
        super().__init__()
        weight = truncated_normal((outputs, inputs, kernel, kernel), rng, (2 / (inputs * kernel ** 2)) ** 0.5)
        self.weight = Parameter(Tensor(weight), name="weight")
        self.bias = Parameter(Tensor(np.zeros(outputs, np.float32)), name="bias") if bias else None
        self.conv = make_conv(kind, outputs, kernel)

    def construct(self, x: Tensor) -> Tensor:
        return self.conv(x, self.weight, self.bias)


class Block(nn.Cell):
    """x + RESIDUAL * two 3x3 convolutions of it; a 1x1 convolution takes the place of x where the channels change."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator, kind: str) -> None:
        super().__init__()
        between = min(inputs, outputs)
        self.first, self.second = Conv(inputs, between, 3, rng, kind), Conv(between, outputs, 3, rng, kind)
        self.shortcut = Conv(inputs, outputs, 1, rng, kind, bias=False) if inputs != outputs else None

    def construct(self, x: Tensor) -> Tensor:
        straight = x if self.shortcut is None else self.shortcut(x)
        return straight + RESIDUAL * self.second(activation(self.first(activation(x))))


class Discriminator(nn.Cell):
    """Images (N, C, H, W) in [0, 1] -> scores (N,), the logits of "real"; H a power of two from 8 on.

    A convolution to `width` channels and, at every size down to 4x4, two blocks; channels double as sizes halve.
    kind chooses the convolution (see dgn.nets.conv).
    """

    def __init__(self, channels: int, size: int, width: int, seed: int, kind: str = "auto") -> None:
        super().__init__()
        rng = generator(seed, "discriminator weights")
        maps = feature_maps(size, width)
        self.enter = Conv(channels, maps[0], 3, rng, kind)
        self.levels = nn.CellList([nn.SequentialCell(Block(before, before, rng, kind), Block(before, after, rng, kind))
                                   for before, after in zip([maps[0], *maps[:-1]], maps)])
        self.flat = (-1, maps[-1] * LAST ** 2)
        self.score = Dense(self.flat[1], 1, rng, gain=0.5)
        self.activations = activations(maps, size)

    def construct(self, x: Tensor) -> Tensor:
        x = self.enter(2 * x - 1)
        for k in range(len(self.levels)):
            if k > 0:
                x = halve(x)
            x = self.levels[k](x)
        return self.score(activation(x).reshape(self.flat)).reshape((-1,))


def feature_maps(size: int, width: int) -> List[int]:
    """Channels at `size`, size / 2, ... 4."""
    return [width * min(2 ** level, WIDEST) for level in range(int(np.log2(size // LAST)) + 1)]


def activations(maps: List[int], size: int) -> int:
    """Values that one image's forward pass keeps: what `enter` gives, the halved maps, and of every block both its activations
    (three values each: two ReLUs and their difference), what its convolutions give, and their sum with the shortcut, which is a
    value more where channels change."""
    values = size ** 2 * maps[0] + 3 * LAST ** 2 * maps[-1]
    for level, (before, after) in enumerate(zip([maps[0], *maps[:-1]], maps)):
        pixels = (size // 2 ** level) ** 2
        for inputs, outputs in ((before, before), (before, after)):
            between, changed = min(inputs, outputs), inputs != outputs
            values += pixels * (3 * inputs + 4 * between + (3 if changed else 2) * outputs)
        values += pixels // 4 * after
    return values
