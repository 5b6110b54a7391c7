"""The critic of adversarial training (5.3): residual blocks without normalization, as in the paper that introduced R1:

L. Mescheder, A. Geiger, S. Nowozin, Which Training Methods for GANs do actually Converge?, ICML 2018.
"""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from dgn.nets.conv import make_conv
from dgn.nets.layers import Dense, truncated_normal
from dgn.randomness import generator

RESIDUAL_SCALE = 0.1  # factor on a block's convolutions before the shortcut is added
NEGATIVE_SLOPE = 0.2  # of the leaky ReLU
LAST_SIDE = 4  # side length of the last feature maps
INPUT_SCALE = 2.0  # images in [0, 1] -> the network's input in [-1, 1]
MAX_WIDENING = 16  # largest number of channels relative to the channels at full size


def activation(x: Tensor) -> Tensor:
    """Leaky ReLU, as a product with its derivative: the second derivative of ops.leaky_relu, which R1 needs, uses
    operators that are not documented for every device."""
    derivative = ops.cast(x > 0, x.dtype) * (1 - NEGATIVE_SLOPE) + NEGATIVE_SLOPE
    return x * ops.stop_gradient(derivative)


def halve(x: Tensor) -> Tensor:
    """Average pooling of 2x2 pixels, (N, C, H, W) -> (N, C, H/2, W/2)."""
    n, channels, height, width = x.shape
    return ops.reduce_mean(x.reshape((n, channels, height // 2, 2, width // 2, 2)), (3, 5))


class Conv(nn.Cell):
    """Convolution of stride 1 with He initialization, (N, inputs, H, W) -> (N, outputs, H, W). kind: model.deconv."""

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
    """x + RESIDUAL_SCALE * (two 3x3 convolutions of x), (N, inputs, H, W) -> (N, outputs, H, W).

    If inputs and outputs differ, the shortcut is a 1x1 convolution of x.
    """

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator, kind: str) -> None:
        super().__init__()
        hidden = min(inputs, outputs)
        self.first, self.second = Conv(inputs, hidden, 3, rng, kind), Conv(hidden, outputs, 3, rng, kind)
        self.shortcut = Conv(inputs, outputs, 1, rng, kind, bias=False) if inputs != outputs else None

    def construct(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return shortcut + RESIDUAL_SCALE * self.second(activation(self.first(activation(x))))


class Discriminator(nn.Cell):
    """Images (N, C, H, W) in [0, 1] -> scores (N,), the logits of D(x); H = W a power of two, at least 8.

    Clips (N, F, C, H, W) are treated as images with F C channels.

    A convolution to `width` channels is followed by two blocks at every size down to 4x4; channels double where the
    size halves, up to MAX_WIDENING times. channels: C, or F C. size: H. seed: random seed of the initial weights. kind:
    model.deconv, see dgn.nets.conv.
    """

    def __init__(self, channels: int, size: int, width: int, seed: int, kind: str = "auto") -> None:
        super().__init__()
        rng, self.shape = generator(seed, "discriminator weights"), (-1, channels, size, size)
        maps = feature_maps(size, width)
        self.enter = Conv(channels, maps[0], 3, rng, kind)
        self.levels = nn.CellList([nn.SequentialCell(Block(before, before, rng, kind), Block(before, after, rng, kind))
                                   for before, after in zip([maps[0], *maps[:-1]], maps)])
        self.flat = (-1, maps[-1] * LAST_SIDE ** 2)
        self.score = Dense(self.flat[1], 1, rng, gain=0.5)
        self.activations = activations(maps, size)

    def construct(self, x: Tensor) -> Tensor:
        x = self.enter(INPUT_SCALE * x.reshape(self.shape) - 1)
        for k in range(len(self.levels)):
            if k > 0:
                x = halve(x)
            x = self.levels[k](x)
        return self.score(activation(x).reshape(self.flat)).reshape((-1,))


def feature_maps(size: int, width: int) -> list[int]:
    """Channels at `size`, size / 2, ... 4."""
    return [width * min(2 ** level, MAX_WIDENING) for level in range(int(np.log2(size // LAST_SIDE)) + 1)]


def activations(maps: list[int], size: int) -> int:
    """Number of values that the forward pass of one image stores for the backward pass.

    They are the outputs of the first convolution and of the poolings, and in every block: the derivative and the output
    of both activations, the outputs of both convolutions, the sum with the shortcut, and the output of a shortcut with
    a convolution.
    """
    values = size ** 2 * maps[0] + 2 * LAST_SIDE ** 2 * maps[-1]
    for level, (before, after) in enumerate(zip([maps[0], *maps[:-1]], maps)):
        pixels = (size // 2 ** level) ** 2
        for inputs, outputs in ((before, before), (before, after)):
            hidden, changed = min(inputs, outputs), inputs != outputs
            values += pixels * (2 * inputs + 3 * hidden + (3 if changed else 2) * outputs)
        values += pixels // 4 * after
    return values
