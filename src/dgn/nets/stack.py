"""The deconvolution stack that every generator is, and the paper's networks as plans of it (Table 4, Table 5)."""

from __future__ import annotations

from typing import NamedTuple, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.nets.blocks import Deconv, Dense


class Layer(NamedTuple):
    """A deconvolution."""

    outputs: int
    kernel: int
    stride: int


class Architecture(NamedTuple):
    """A stack: a dense layer to `channels` maps of side x side pixels, then deconvolutions."""

    side: int
    channels: int
    layers: Tuple[Layer, ...]

    @property
    def maps(self) -> Tuple[Tuple[int, int], ...]:
        """(channels, side) of every layer's output, the dense layer's first."""
        found = [(self.channels, self.side)]
        for layer in self.layers:
            found.append((layer.outputs, found[-1][1] * layer.stride))
        return tuple(found)

    def parameters(self, latent: int) -> int:
        """Trainable scalars of the DeconvStack."""
        dense = (latent + 1) * self.channels * self.side ** 2
        inputs = (self.channels, *(layer.outputs for layer in self.layers))
        return dense + sum((a * layer.kernel ** 2 + 1) * layer.outputs for a, layer in zip(inputs, self.layers))


def table4(width: float, size: int, outputs: int, min_channels: int = 1) -> Architecture:
    """Table 4 at `size` pixels: `width` maps of 4x4, doubled in size and halved in number, down to `min_channels`, by every layer
    but the last. Kernels are 3 up to 16x16 and 5 beyond."""
    levels = int(np.log2(size)) - 2
    channels = [max(round(width / 2 ** level), min_channels) for level in range(levels)]
    return Architecture(4, channels[0], tuple(Layer(after, 3 if 8 * 2 ** level <= 16 else 5, 2)
                                      for level, after in enumerate([*channels[1:], outputs])))


def table5_appearance(width: float, size: int, outputs: int, min_channels: int = 1) -> Architecture:
    """Table 5 at `size` pixels, a multiple of 16: four doublings of size / 16, then a layer that keeps the size."""
    channels = [max(round(width / 2 ** level), min_channels) for level in (0, 0, 1, 2, 3)]
    return Architecture(size // 16, channels[0], (*(Layer(after, 3, 2) for after in channels[1:]), Layer(outputs, 5, 1)))


def table5_geometry(width: float, size: int, outputs: int, min_channels: int = 1) -> Architecture:
    """Table 5 at `size` pixels, a multiple of 16: size / 16 made four times larger twice, then a layer that keeps the size."""
    channels = [max(round(width / 2 ** level), min_channels) for level in range(3)]
    return Architecture(size // 16, channels[0], (*(Layer(after, 4, 4) for after in channels[1:]), Layer(outputs, 5, 1)))


# plans of (appearance, geometry) by the name that model.network gives them
NETWORKS = {"table4": (table4, table4), "table5": (table5_appearance, table5_geometry)}


class DeconvStack(nn.Cell):
    """(N, latent) -> (N, outputs, size, size) as `architecture` says.

    ReLU after all but the last deconvolution, which is followed by tanh; `smooth` is that layer's, and its initial
    weights are multiplied by `last_init`. half: the hidden deconvolutions, which are nearly all of the work and memory, are
    done in 16 bits; weights, their gradients and what goes out stay in 32.
    """

    def __init__(self, latent: int, architecture: Architecture, rng: np.random.Generator, gain: float | None = None,
                 smooth: bool = False, last_init: float = 1.0, deconv: str = "auto", half: bool = False) -> None:
        super().__init__()
        self.architecture, self.half = architecture, half
        self.start = (-1, architecture.channels, architecture.side, architecture.side)
        self.dense = Dense(latent, architecture.channels * architecture.side ** 2, rng, gain)
        common = {"rng": rng, "gain": gain, "kind": "stock" if half else deconv}
        inputs = (architecture.channels, *(layer.outputs for layer in architecture.layers))
        self.hidden = nn.CellList([Deconv(a, *layer, relu=True, **common) for a, layer in zip(inputs, architecture.layers[:-1])])
        self.last = Deconv(inputs[-2], *architecture.layers[-1], smooth=smooth, init=last_init, **common)

    def construct(self, z: Tensor) -> Tensor:
        return self.maps(z)[-1]

    def maps(self, z: Tensor) -> Tuple[Tensor, ...]:
        """What every layer gives, the dense one first."""
        x = ops.relu(self.dense(z)).reshape(self.start)
        found = (x,)
        if self.half:
            x = ops.cast(x, ms.float16)
        for layer in self.hidden:
            x = layer(x)
            found = found + (x,)
        if self.half:
            x = ops.cast(x, ms.float32)
        return found + (ops.tanh(self.last(x)),)


class ImageGenerator(nn.Cell):
    """Latents (N, d) -> image (N, C, H, W) in [0, 1]: F_a, and the whole of a plain model."""

    def __init__(self, stack: DeconvStack) -> None:
        super().__init__()
        self.stack = stack

    def construct(self, z: Tensor) -> Tensor:
        return self.finish(self.stack(z))

    def finish(self, x: Tensor) -> Tensor:
        """The tanh of the stack mapped to [0, 1]."""
        return 0.5 * x + 0.5
