"""The deconvolution stack that every generator is (Table 4)."""

from __future__ import annotations

from typing import List

import numpy as np
from mindspore import Tensor, nn, ops

from dgn.nets.blocks import Deconv, Dense


class DeconvStack(nn.Cell):
    """(N, latent) -> (N, outputs, size, size): dense to 4x4, then deconvolutions that double the size (Table 4).

    channels: at 4x4 and after each deconvolution but the last. Kernels are 3 up to 16x16 and 5 beyond.
    ReLU after all but the last deconvolution, which is followed by tanh; `smooth` is that layer's, and its initial
    weights are multiplied by `last_init`.
    """

    def __init__(self, latent: int, channels: List[int], outputs: int, rng: np.random.Generator, gain: float | None = None,
                 smooth: bool = False, last_init: float = 1.0, deconv: str = "auto", device: str = "CPU") -> None:
        super().__init__()
        self.start = (-1, channels[0], 4, 4)
        self.dense = Dense(latent, channels[0] * 16, rng, gain)
        self.widths = [*channels, outputs]
        kernels = kernels_by_level(len(channels))
        common = {"stride": 2, "rng": rng, "gain": gain, "kind": deconv, "device": device}
        self.hidden = nn.CellList([Deconv(a, b, k, relu=True, **common) for a, b, k in zip(channels, channels[1:], kernels)])
        self.last = Deconv(channels[-1], outputs, kernels[-1], smooth=smooth, init=last_init, **common)

    def construct(self, z: Tensor) -> Tensor:
        x = ops.relu(self.dense(z)).reshape(self.start)
        for layer in self.hidden:
            x = layer(x)
        return ops.tanh(self.last(x))


class ImageGenerator(nn.Cell):
    """Latents (N, d) -> image (N, C, H, W) in [0, 1]: F_a, and the whole of a plain model."""

    def __init__(self, stack: DeconvStack) -> None:
        super().__init__()
        self.stack = stack

    def construct(self, z: Tensor) -> Tensor:
        return 0.5 * self.stack(z) + 0.5


def channels_by_level(width: float, size: int) -> List[int]:
    """Channels at 4x4, 8x8 ... up to half of `size`: `width`, halved at every level (Table 4)."""
    return [max(round(width / 2 ** level), 1) for level in range(int(np.log2(size)) - 2)]


def kernels_by_level(levels: int) -> List[int]:
    """Kernel sizes of the layers between 4x4 and 8x8, 8x8 and 16x16, ...: 3 up to 16x16, 5 beyond (Table 4)."""
    return [3 if 8 * 2 ** level <= 16 else 5 for level in range(levels)]


def stack_parameters(latent: int, channels: List[int], outputs: int) -> int:
    """Trainable scalars of such a DeconvStack."""
    widths, kernels = [*channels, outputs], kernels_by_level(len(channels))
    dense = (latent + 1) * channels[0] * 16
    return dense + sum(a * b * k ** 2 + b for a, b, k in zip(widths, widths[1:], kernels))
