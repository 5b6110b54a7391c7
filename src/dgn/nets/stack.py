"""The stack of deconvolutions in every generator, and the paper's architectures (Table 4, Table 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn import device
from dgn.nets.layers import Deconv, Dense, LayerOptions, LayerShape
from dgn.nets.native import warn_once


class Architecture(NamedTuple):
    """A stack: a dense layer to `channels` maps of side x side pixels, then deconvolutions."""

    side: int
    channels: int
    layers: tuple[LayerShape, ...]

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """(channels, side) of every layer's output, starting with the dense layer."""
        maps = [(self.channels, self.side)]
        for layer in self.layers:
            maps.append((layer.outputs, maps[-1][1] * layer.stride))
        return tuple(maps)

    @property
    def inputs(self) -> tuple[int, ...]:
        """Input channels of every deconvolution."""
        return (self.channels, *(layer.outputs for layer in self.layers[:-1]))

    def parameters(self, latent: int) -> int:
        """Number of trainable scalars of a DeconvStack with `latent` latent dimensions."""
        dense = (latent + 1) * self.channels * self.side ** 2
        return dense + sum((inputs * layer.kernel ** 2 + 1) * layer.outputs
                           for inputs, layer in zip(self.inputs, self.layers))


def table4(width: float, size: int, outputs: int, min_channels: int = 1) -> Architecture:
    """Table 4 at `size` pixels, a power of two: `width` maps of 4x4 pixels; every layer doubles the size, and all but
    the last one halve the number of maps, down to `min_channels`. Kernels are 3x3 up to 16x16 pixels, 5x5 above."""
    levels = int(np.log2(size)) - 2
    channels = [max(round(width / 2 ** level), min_channels) for level in range(levels)]
    return Architecture(4, channels[0], tuple(LayerShape(after, 3 if 8 * 2 ** level <= 16 else 5, 2)
                                              for level, after in enumerate([*channels[1:], outputs])))


def table5_appearance(width: float, size: int, outputs: int, min_channels: int = 1) -> Architecture:
    """Table 5 at `size` pixels, a multiple of 16: four layers that double the size, from size / 16, then one that
    keeps it."""
    channels = [max(round(width / 2 ** level), min_channels) for level in (0, 0, 1, 2, 3)]
    layers = (*(LayerShape(after, 3, 2) for after in channels[1:]), LayerShape(outputs, 5, 1))
    return Architecture(size // 16, channels[0], layers)


def table5_geometry(width: float, size: int, outputs: int, min_channels: int = 1) -> Architecture:
    """Table 5 at `size` pixels, a multiple of 16: two layers that quadruple the size, from size / 16, then one that
    keeps it."""
    channels = [max(round(width / 2 ** level), min_channels) for level in range(3)]
    layers = (*(LayerShape(after, 4, 4) for after in channels[1:]), LayerShape(outputs, 5, 1))
    return Architecture(size // 16, channels[0], layers)


# model.network -> functions (width, size, outputs, min_channels) -> architecture, for appearance and geometry
NETWORKS: dict[str, tuple[Callable[..., Architecture], Callable[..., Architecture]]] = {
    "table4": (table4, table4), "table5": (table5_appearance, table5_geometry)}


@dataclass(frozen=True)
class StackOptions:
    """How the layers of a stack are initialized and run.

    gain: see dgn.nets.layers.ScaledLayer. deconv: model.deconv, see dgn.nets.deconv. smooth_last: whether the last
    layer is smoothed, see Deconv. last_init_scale: factor on the last layer's initial weights. precision:
    model.precision, which applies to the hidden deconvolutions (most of the work and memory); weights, their gradients
    and the stack's output are always float32.
    """

    gain: float | None = None
    deconv: str = "auto"
    smooth_last: bool = False
    last_init_scale: float = 1.0
    precision: str = "float32"


def hidden_type(precision: str) -> ms.Type:
    """The type in which the hidden layers run for a value of model.precision.

    The convolutions on CPU and GPU do not support bfloat16: there float32 is used, with a warning.
    """
    if precision == "bfloat16" and device.current() != "Ascend":
        warn_once(f"model.precision: no bfloat16 on {device.current()}; using float32")
        return ms.float32
    return {"float32": ms.float32, "float16": ms.float16, "mixed": ms.float16, "bfloat16": ms.bfloat16}[precision]


class DeconvStack(nn.Cell):
    """(N, latent) -> (N, outputs, size, size) in [-1, 1]: a dense layer and the deconvolutions of `architecture`.

    Every layer is followed by ReLU, the last one by tanh.
    """

    def __init__(self, latent: int, architecture: Architecture, rng: np.random.Generator,
                 options: StackOptions = StackOptions()) -> None:
        super().__init__()
        self.architecture, self.dtype = architecture, hidden_type(options.precision)
        self.first_map = (-1, architecture.channels, architecture.side, architecture.side)
        self.dense = Dense(latent, architecture.channels * architecture.side ** 2, rng, options.gain)
        # the C++ kernels are float32 only
        kind = options.deconv if self.dtype == ms.float32 or options.deconv == "symmetric" else "stock"
        hidden = LayerOptions(options.gain, relu=True, kind=kind)
        last = LayerOptions(options.gain, options.last_init_scale, smooth=options.smooth_last, kind=kind)
        *layers, last_layer = zip(architecture.inputs, architecture.layers)
        self.hidden = nn.CellList([Deconv(*layer, rng, hidden) for layer in layers])
        self.last = Deconv(*last_layer, rng, last)

    def construct(self, z: Tensor) -> Tensor:
        return self.maps(z)[-1]

    def maps(self, z: Tensor) -> tuple[Tensor, ...]:
        """The output of every layer, (N, channels, side, side) each, starting with the dense layer."""
        x = ops.relu(self.dense(z)).reshape(self.first_map)
        maps = (x,)
        x = ops.cast(x, self.dtype)
        for layer in self.hidden:
            x = layer(x)
            maps = maps + (x,)
        return maps + (ops.tanh(self.last(ops.cast(x, ms.float32))),)


def stacks(model: nn.Cell) -> list[DeconvStack]:
    """Every DeconvStack of a model."""
    return [cell for _, cell in model.cells_and_names() if isinstance(cell, DeconvStack)]


class ImageGenerator(nn.Cell):
    """Latents (N, d) -> image (N, C, H, W) in [0, 1]: F_a, or a complete plain model."""

    def __init__(self, stack: DeconvStack) -> None:
        super().__init__()
        self.stack = stack

    @property
    def latent_layers(self) -> tuple[Dense, ...]:
        """The layers whose inputs are the latents."""
        return (self.stack.dense,)

    def construct(self, z: Tensor) -> Tensor:
        return self.finish(self.stack(z))

    def finish(self, x: Tensor) -> Tensor:
        """Maps the stack's output from [-1, 1] to [0, 1]."""
        return 0.5 * x + 0.5
