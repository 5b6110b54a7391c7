"""The differentiable warp F_w of Eq. 2-4, in three equivalent implementations.

All take an image (N, C, H, W) and a displacement (N, 2, H, W) in pixels, channel 0 horizontal (dx), channel 1 vertical
(dy), and return (N, C, H, W): X(x, y) = X_a(x + dx, y + dy), bilinear, with coordinates clamped to the image. The
derivative with respect to a clamped coordinate is 0. (Eq. 4 as printed gives 0 outside of the image.)

  reference    gather and elementwise operators, for all devices and for export
  grid_sample  one operator, for Ascend and GPU
  native       C++ kernels with their own gradients, for CPU
"""

from __future__ import annotations

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from dgn.nets import choice
from dgn.nets.native import operator


def coordinates(height: int, width: int) -> np.ndarray:
    """The sampling positions for zero displacement, (1, 2, height, width) float32: x in channel 0, y in channel 1."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.stack([x, y])[None]


class ReferenceWarp(nn.Cell):
    """The definition, with gather operators. The other implementations are compared with it, and it is exported."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width
        self.grid = ms.Tensor(coordinates(height, width))
        self.steps = (0, 1, width, width + 1)  # index offsets from the upper left neighbour to each of the four

    def construct(self, image: ms.Tensor, displacement: ms.Tensor) -> ms.Tensor:
        corner, a, b = self.locate(displacement)
        upper_left, upper_right, lower_left, lower_right = self.neighbours(image, corner)
        upper = upper_left * (1 - a) + upper_right * a
        lower = lower_left * (1 - a) + lower_right * a
        return upper * (1 - b) + lower * b

    def locate(self, displacement: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor]:
        """The sampling position of each pixel: index of the upper left neighbour among all pixels of all images, int32,
        and the fractional distances from it to the right and down, (N, 1, H, W) each."""
        n = displacement.shape[0]
        source = self.grid + displacement
        u = self.clamp(source[:, 0:1], self.width - 1)
        v = self.clamp(source[:, 1:2], self.height - 1)
        # positions in the last column or row use the neighbour before it, at distance 1
        left = ops.minimum(ops.floor(ops.stop_gradient(u)), float(self.width - 2))
        top = ops.minimum(ops.floor(ops.stop_gradient(v)), float(self.height - 2))
        first = ops.arange(0, n).reshape(n, 1, 1, 1) * (self.height * self.width)
        corner = first + ops.cast(top * self.width + left, ms.int32)  # exact in float32 up to 4096 x 4096 pixels
        return corner, u - left, v - top

    def neighbours(self, image: ms.Tensor, corner: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """The four pixels at `corner`: upper left, upper right, lower left, lower right, (N, C, H, W) each."""
        pixels, values = self.rows(image), ()
        for step in self.steps:
            values = values + (self.planes(ops.gather(pixels, (corner + step).reshape(-1), 0), image.shape[0]),)
        return values

    def rows(self, image: ms.Tensor) -> ms.Tensor:
        """(N, C, H, W) -> (N H W, C). The transposition has three dimensions, because MindSpore Lite 2.0 mistakes a
        transposition of four (NCHW to NHWC) for a change of layout, and merges it with its own before convolutions."""
        n, channels = image.shape[0], image.shape[1]
        return image.reshape(n, channels, self.height * self.width).transpose(0, 2, 1).reshape(-1, channels)

    def planes(self, rows: ms.Tensor, n: int) -> ms.Tensor:
        """(N H W, C) -> (N, C, H, W)."""
        channels = rows.shape[1]
        planes = rows.reshape(n, self.height * self.width, channels).transpose(0, 2, 1)
        return planes.reshape(n, channels, self.height, self.width)

    def clamp(self, coordinate: ms.Tensor, last: int) -> ms.Tensor:
        """The coordinate clamped to 0 .. last, with derivative 0 where it is clamped."""
        clamped = ops.minimum(ops.maximum(coordinate, 0.0), float(last))
        inside = ops.logical_and(coordinate > 0, coordinate < last)
        return ops.select(inside, coordinate, ops.stop_gradient(clamped))


class GridSampleWarp(nn.Cell):
    """ops.grid_sample on normalized coordinates; with align_corners, -1 and 1 are the centres of border pixels."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        half = np.array([(width - 1) / 2, (height - 1) / 2]).reshape(1, 2, 1, 1)
        positions = (coordinates(height, width) - half) / half  # without displacement
        self.positions, self.scale = (ms.Tensor(values.astype(np.float32)) for values in (positions, 1 / half))

    def construct(self, image: ms.Tensor, displacement: ms.Tensor) -> ms.Tensor:
        grid = (displacement * self.scale + self.positions).transpose(0, 2, 3, 1)
        return ops.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


class NativeWarp(nn.Cell):
    """The kernels of warp_cpu.cc. The two gradients are separate operators, so that an unused gradient is not
    computed."""

    def __init__(self) -> None:
        super().__init__()
        self.forward = operator("warp_cpu.cc", "WarpForward", lambda image, displacement: image)
        self.image_gradient = operator("warp_cpu.cc", "WarpImageGradient", lambda displacement, dout: dout)
        self.displacement_gradient = operator("warp_cpu.cc", "WarpDisplacementGradient",
                                              lambda image, displacement, dout: displacement)

    def construct(self, image: ms.Tensor, displacement: ms.Tensor) -> ms.Tensor:
        return self.forward(image, displacement)

    def bprop(self, image, displacement, out, dout):
        return self.image_gradient(displacement, dout), self.displacement_gradient(image, displacement, dout)


def make_warp(kind: str, height: int, width: int) -> nn.Cell:
    """The warp for `kind`, a value of model.warp. Raises UserError, see choice.make."""
    makers = {"reference": lambda: ReferenceWarp(height, width), "native": NativeWarp,
              "grid_sample": lambda: GridSampleWarp(height, width)}
    return choice.make("model.warp", kind, makers, accelerator="grid_sample", cpu_fallback="reference")
