"""Langevin dynamics with the gradient written out by hand.

MindSpore Lite 2.0 runs the decoder, but no graph that automatic differentiation made of it. Here the gradient of the energy to the
latents (Eq. 7, 8) is made of operators that it knows, and every operator has its own copy of its constants: Lite 2.0 silently
gives wrong numbers where one constant goes into two operators that use it differently (a weight into a Conv2DTranspose and a
Conv2D, a matrix to the left in one product and to the right in another).
"""

from __future__ import annotations

from typing import Tuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from dgn.inference.energy import Energy
from dgn.nets.deformable import GeometryGenerator
from dgn.nets.layers import Deconv
from dgn.nets.stack import DeconvStack, ImageGenerator
from dgn.nets.warp import ReferenceWarp

Maps = Tuple[Tensor, ...]  # what every layer of a stack gives


class DeconvAdjoint(nn.Cell):
    """Gradient of a deconvolution to its input: the convolution of which it is the transpose."""

    def __init__(self, layer: Deconv) -> None:
        super().__init__()
        self.weight = _constant(layer.weight.asnumpy(), "weight")
        inputs, _, kernel, _ = layer.weight.shape
        self.convolution = ops.Conv2D(out_channel=inputs, kernel_size=kernel, pad_mode="same", stride=layer.stride)

    def construct(self, dout: Tensor) -> Tensor:
        return self.convolution(dout, self.weight)


class StackAdjoint(nn.Cell):
    """Gradient of a DeconvStack, whose weights are folded, to its latents."""

    def __init__(self, stack: DeconvStack) -> None:
        super().__init__()
        self.features = stack.architecture.channels * stack.architecture.side ** 2
        self.last = DeconvAdjoint(stack.last)
        self.hidden = nn.CellList([DeconvAdjoint(layer) for layer in list(stack.hidden)[::-1]])
        self.weight, self.matmul = _constant(stack.dense.weight.asnumpy(), "weight"), ops.MatMul(transpose_b=True)

    def construct(self, dout: Tensor, *maps: Tensor) -> Tensor:
        """dout: gradient to the last of `maps`, which a forward pass gave."""
        gradient = self.last(dout * (1 - maps[-1] * maps[-1]))  # through tanh
        before = len(maps) - 2
        for layer in self.hidden:
            gradient = layer(gradient * _positive(maps[before]))  # through ReLU
            before -= 1
        gradient = (gradient * _positive(maps[0])).reshape(-1, self.features)
        return self.matmul(gradient, self.weight)


class ImageAdjoint(nn.Cell):
    """An ImageGenerator: the gradient to its latents from that to the image."""

    def __init__(self, generator: ImageGenerator) -> None:
        super().__init__()
        self.stack = StackAdjoint(generator.stack)

    def construct(self, dimage: Tensor, *maps: Tensor) -> Tensor:
        return self.stack(0.5 * dimage, *maps)


class GeometryAdjoint(nn.Cell):
    """A GeometryGenerator: the gradient to its latents from that to the displacement."""

    def __init__(self, generator: GeometryGenerator) -> None:
        super().__init__()
        self.stack, self.max_pixels = StackAdjoint(generator.stack), generator.max_pixels
        self.smooth = generator.spline is not None
        if self.smooth:
            spline = generator.spline.asnumpy()
            self.left, self.right = _constant(spline.T, "left"), _constant(spline, "right")

    def construct(self, dfield: Tensor, *maps: Tensor) -> Tensor:
        if self.smooth:
            dfield = ops.matmul(ops.matmul(self.left, dfield), self.right)
        return self.stack(self.max_pixels * dfield, *maps)


class WarpAdjoint(nn.Cell):
    """Gradients of the reference warp from that to the warped image."""

    def __init__(self, warp: ReferenceWarp) -> None:
        super().__init__()
        self.warp, self.over_channels, self.add_rows = warp, ops.ReduceSum(keep_dims=True), ops.UnsortedSegmentSum()

    def to_image(self, displacement: Tensor, dout: Tensor) -> Tensor:
        """Every pixel of dout (N, C, H, W), by its weights, to the four pixels that it came from."""
        corner, a, b = self.warp.locate(displacement)
        places, shares = (), ()
        for step, weight in zip(self.warp.steps, ((1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b)):
            places = places + ((corner + step).reshape(-1),)
            shares = shares + (self.warp.rows(dout * weight),)
        n, _, height, width = dout.shape
        return self.warp.planes(self.add_rows(ops.cat(shares), ops.cat(places), n * height * width), n)

    def to_displacement(self, image: Tensor, displacement: Tensor, dout: Tensor) -> Tensor:
        """(N, 2, H, W); 0 where a coordinate is clamped."""
        corner, a, b = self.warp.locate(displacement)
        upper_left, upper_right, lower_left, lower_right = self.warp.neighbours(image, corner)
        across = (upper_right - upper_left) * (1 - b) + (lower_right - lower_left) * b
        down = (lower_left - upper_left) * (1 - a) + (lower_right - upper_right) * a
        source = self.warp.grid + displacement
        dx = self.over_channels(dout * across, 1) * _inside(source[:, 0:1], self.warp.width - 1)
        dy = self.over_channels(dout * down, 1) * _inside(source[:, 1:2], self.warp.height - 1)
        return ops.cat((dx, dy), 1)


class AdjointLangevin(nn.Cell):
    """`steps` steps of dgn.inference.langevin.Langevin at one sigma: (images, latents of each group, noise (K, N, d) of each
    sampled group) -> latents of each group.

    energy: of an image model with the reference warp and folded weights.
    """

    def __init__(self, energy: Energy, sigma: float, step_size: float, steps: int, order: str = "alternating") -> None:
        super().__init__()
        model = energy.model
        self.model, self.branches, self.steps = model, model.branches, steps
        self.precision = 1 / sigma ** 2
        self.drift, self.diffusion = -0.5 * step_size ** 2, step_size
        self.moving = tuple(g for g, group in enumerate(model.groups) if group.sampled)
        self.alternating, self.deformable = order == "alternating", len(model.groups) == 2
        self.adjoints = nn.CellList([GeometryAdjoint(branch) if isinstance(branch, GeometryGenerator) else ImageAdjoint(branch)
                                     for branch in model.branches])
        self.warp = WarpAdjoint(model.warp) if self.deformable else None
        self.refine = None
        if self.deformable and model.refine is not None:
            self.refine_weight = _constant(model.refine.weight.asnumpy(), "refine_weight")
            self.refine = ops.Conv2DTranspose(out_channel=model.channels, kernel_size=3, pad_mode="same")
        self.rough = energy.smoothness > 0
        if self.rough:
            curvature = energy.smoothness * second_differences(model.size)
            self.down, self.across = _constant(curvature, "down"), _constant(curvature, "across")

    def construct(self, images: Tensor, *state: Tensor) -> Tuple[Tensor, ...]:
        groups = len(self.branches)
        latents, noise = state[:groups], state[groups:]
        maps, parts = (), ()
        for g in range(groups):
            maps = maps + (self.branches[g].stack.maps(latents[g]),)
            parts = parts + (self.branches[g].finish(maps[g][-1]),)
        for k in range(self.steps):
            seen = parts
            for g, own in zip(self.moving, noise):
                if self.alternating:
                    seen = parts
                slope = self.adjoints[g](self.part_slope(g, images, seen), *maps[g]) + latents[g]
                z = latents[g] + self.drift * slope + self.diffusion * own[k]
                latents = latents[:g] + (z,) + latents[g + 1:]
                maps = maps[:g] + (self.branches[g].stack.maps(z),) + maps[g + 1:]
                parts = parts[:g] + (self.branches[g].finish(maps[g][-1]),) + parts[g + 1:]
        return latents

    def part_slope(self, g: int, images: Tensor, parts: Tuple[Tensor, ...]) -> Tensor:
        """Gradient of the likelihood's energy to what branch g gives."""
        # in two dimensions between: from a stack straight into its adjoint, Lite 2.0 cannot place its own transpositions
        rows = (self.model.compose(parts) - images).reshape(images.shape[0], -1)
        slope = (self.precision * rows).reshape(images.shape)
        if not self.deformable:
            return slope
        if self.refine is not None:
            slope = slope + self.refine(slope, self.refine_weight, slope.shape)
        if g == 0:
            return self.warp.to_image(parts[1], slope)
        slope = self.warp.to_displacement(parts[0], parts[1], slope)
        if self.rough:
            slope = slope + ops.matmul(parts[1], self.across) + ops.matmul(self.down, parts[1])
        return slope


def second_differences(size: int) -> np.ndarray:
    """(size, size) matrix A: A x is half the gradient of the sum of squared differences between neighbours of x."""
    difference = np.diff(np.eye(size, dtype=np.float32), axis=0)
    return difference.T @ difference


def _constant(values: np.ndarray, name: str) -> Parameter:
    """A Parameter for one operator alone (see above)."""
    return Parameter(Tensor(np.array(values, np.float32)), name=name, requires_grad=False)


def _positive(x: Tensor) -> Tensor:
    return ops.cast(x > 0, ms.float32)


def _inside(coordinate: Tensor, last: int) -> Tensor:
    return ops.cast(ops.logical_and(coordinate > 0, coordinate < last), ms.float32)
