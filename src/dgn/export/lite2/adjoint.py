"""Langevin dynamics with an explicit gradient.

MindSpore Lite 2.0 runs the decoder, but no graphs of automatic differentiation. Here the gradient of the energy with
respect to the latents (Eq. 7, 8) consists of operators that it supports, and every operator has its own copy of its
constants, because Lite 2.0 silently gives wrong numbers if one constant is used in two different ways (a weight in a
Conv2DTranspose and a Conv2D, a matrix on the left in one product and on the right in another).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from dgn import config as cfg
from dgn.export.cells import decoder, full_precision, load_sampler, portable
from dgn.inference.langevin import Langevin, LangevinStep, noise_of_step
from dgn.nets.deformable import GeometryGenerator
from dgn.nets.layers import Deconv
from dgn.nets.model import Tensors
from dgn.nets.stack import DeconvStack, ImageGenerator
from dgn.nets.warp import ReferenceWarp


class DeconvAdjoint(nn.Cell):
    """Gradient of a deconvolution with respect to its input: the convolution that it transposes."""

    def __init__(self, layer: Deconv) -> None:
        super().__init__()
        self.weight = _constant(layer.weight.asnumpy(), "weight")
        inputs, _, kernel, _ = layer.weight.shape
        self.convolution = ops.Conv2D(out_channel=inputs, kernel_size=kernel, pad_mode="same", stride=layer.stride)

    def construct(self, dout: Tensor) -> Tensor:
        return self.convolution(dout, self.weight)


class StackAdjoint(nn.Cell):
    """Gradient of a DeconvStack, whose weights are folded, with respect to its latents."""

    def __init__(self, stack: DeconvStack) -> None:
        super().__init__()
        self.features = stack.architecture.channels * stack.architecture.side ** 2
        self.last = DeconvAdjoint(stack.last)
        self.hidden = nn.CellList([DeconvAdjoint(layer) for layer in list(stack.hidden)[::-1]])
        self.weight, self.matmul = _constant(stack.dense.weight.asnumpy(), "weight"), ops.MatMul(transpose_b=True)

    def construct(self, dout: Tensor, *maps: Tensor) -> Tensor:
        """dout: gradient with respect to the last of `maps`, the maps of the forward pass. Returns (N, d)."""
        gradient = self.last(dout * (1 - maps[-1] * maps[-1]))  # through tanh
        before = len(maps) - 2
        for layer in self.hidden:
            gradient = layer(gradient * _positive(maps[before]))  # through ReLU
            before -= 1
        gradient = (gradient * _positive(maps[0])).reshape(-1, self.features)
        return self.matmul(gradient, self.weight)


class ImageAdjoint(nn.Cell):
    """Gradient of an ImageGenerator: (dE/dimage (N, C, H, W), maps of its stack) -> dE/dz (N, d)."""

    def __init__(self, generator: ImageGenerator) -> None:
        super().__init__()
        self.stack = StackAdjoint(generator.stack)

    def construct(self, dimage: Tensor, *maps: Tensor) -> Tensor:
        return self.stack(0.5 * dimage, *maps)


class GeometryAdjoint(nn.Cell):
    """Gradient of a GeometryGenerator: (dE/ddisplacement (N, 2, H, W), maps of its stack, and the coefficients of the
    affine part, if it has one) -> dE/dz (N, d)."""

    def __init__(self, generator: GeometryGenerator) -> None:
        super().__init__()
        self.stack, self.scale, self.has_basis = StackAdjoint(generator.stack), generator.scale, generator.has_basis
        if generator.has_basis:
            left, right = (np.swapaxes(matrix.asnumpy(), -1, -2) for matrix in (generator.left, generator.right))
            self.left, self.right = _constant(left, "left"), _constant(right, "right")
        self.has_affine = generator.affine is not None
        if generator.affine is not None:
            self.matmul = ops.MatMul(transpose_b=True)
            self.fields = _constant(generator.affine.fields.asnumpy(), "fields")
            self.weight = _constant(generator.affine.dense.weight.asnumpy(), "weight")

    def construct(self, dfield: Tensor, *maps: Tensor) -> Tensor:
        field = dfield
        if self.has_basis:
            field = ops.matmul(ops.matmul(self.left, dfield), self.right)
        if not self.has_affine:
            return self.stack(self.scale * field, *maps)
        dcoefficients = self.matmul(dfield.reshape(dfield.shape[0], -1), self.fields) * (1 - maps[-1] * maps[-1])
        return self.stack(self.scale * field, *maps[:-1]) + self.matmul(dcoefficients, self.weight)


class WarpAdjoint(nn.Cell):
    """Gradients of the reference warp with respect to both inputs. dout: gradient with respect to the warped image
    (N, C, H, W)."""

    def __init__(self, warp: ReferenceWarp) -> None:
        super().__init__()
        self.warp, self.over_channels, self.add_rows = warp, ops.ReduceSum(keep_dims=True), ops.UnsortedSegmentSum()

    def to_image(self, displacement: Tensor, dout: Tensor) -> Tensor:
        """(N, C, H, W): adds each pixel of dout, with bilinear weights, to the four pixels that it was sampled from."""
        corner, a, b = self.warp.locate(displacement)
        indices, weighted = (), ()
        for step, weight in zip(self.warp.steps, ((1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b)):
            indices = indices + ((corner + step).reshape(-1),)
            weighted = weighted + (self.warp.rows(dout * weight),)
        n, _, height, width = dout.shape
        return self.warp.planes(self.add_rows(ops.cat(weighted), ops.cat(indices), n * height * width), n)

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


class AdjointLangevin(LangevinStep):
    """The steps of a sampler at one sigma: (images (N, C, H, W), latents (N, d) of each group, noise (K, N, d) of each
    sampled group) -> latents of each group.

    sampler: of an image model with the reference warp and folded weights.
    """

    def __init__(self, sampler: Langevin, sigma: float) -> None:
        super().__init__(sampler.sampled, sampler.alternating)
        model, smoothness = sampler.energy.model, sampler.energy.smoothness
        self.model, self.branches, self.steps = model, model.branches, sampler.steps
        self.precision = 1 / sigma ** 2
        self.drift, self.diffusion = -0.5 * sampler.step_size ** 2, sampler.step_size
        self.deformable = len(model.groups) == 2
        self.adjoints = nn.CellList([_adjoint(branch) for branch in model.branches])
        self.affine: Any = model.branches[1].affine if self.deformable else None
        self.warp: Any = WarpAdjoint(model.warp) if self.deformable else None
        self.refine = None
        if self.deformable and model.refine is not None:
            self.refine_weight = _constant(model.refine.weight.asnumpy(), "refine_weight")
            self.refine = ops.Conv2DTranspose(out_channel=model.channels, kernel_size=3, pad_mode="same")
        self.smooth = sampler.energy.smooth
        if self.smooth:
            curvature = smoothness * second_differences(model.size)
            self.down, self.across = _constant(curvature, "down"), _constant(curvature, "across")
        self.preconditioner, self.slots = sampler.preconditioner, sampler.slots

    def construct(self, images: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        groups = len(self.branches)
        latents, noise, outputs = state[:groups], state[groups:], ()
        for g in range(groups):
            outputs = outputs + (self.run_branch(g, latents[g]),)
        for k in range(self.steps):
            latents, _, outputs, _ = self.step(latents, (), outputs, noise_of_step(noise, k), images)
        return latents

    def run_branch(self, g: int, z: Tensor) -> tuple[Tensor, Tensors]:
        """(output of branch g, maps of its stack and coefficients of its affine part)."""
        maps = self.branches[g].stack.maps(z)
        output = self.branches[g].finish(maps[-1])
        if g == 0 or self.affine is None:
            return output, maps
        coefficients = self.affine.coefficients(z)
        return output + self.affine.finish(coefficients), maps + (coefficients,)

    def gradient_of(self, g: int, z: Tensor, outputs: tuple, *data) -> Tensor:
        finished = ()
        for output in outputs:
            finished = finished + (output[0],)
        return self.adjoints[g](self.output_gradient(g, data[0], finished), *outputs[g][1]) + z

    def update(self, g: int, z: Tensor, gradient: Tensor, noise: Tensor, *data) -> Tensor:
        if self.preconditioner is not None:
            gradient, noise = self.preconditioner(self.slots[g], gradient, noise)
        return z + self.drift * gradient + self.diffusion * noise

    def output_gradient(self, g: int, images: Tensor, outputs: Tensors) -> Tensor:
        """Gradient of the data energy with respect to the output of branch g."""
        # reshaped to (N, values) and back: Lite 2.0 fails to insert its layout changes between a stack and its adjoint
        rows = (self.model.compose(outputs) - images).reshape(images.shape[0], -1)
        gradient = (self.precision * rows).reshape(images.shape)
        if not self.deformable:
            return gradient
        if self.refine is not None:
            gradient = gradient + self.refine(gradient, self.refine_weight, gradient.shape)
        if g == 0:
            return self.warp.to_image(outputs[1], gradient)
        gradient = self.warp.to_displacement(outputs[0], outputs[1], gradient)
        if self.smooth:
            gradient = gradient + ops.matmul(outputs[1], self.across) + ops.matmul(self.down, outputs[1])
        return gradient


def adjoint_inference(config: cfg.Config, saved: Path, steps: int) -> AdjointLangevin:
    """The function of dgn.export.cells.inference with an explicit gradient."""
    config = full_precision(portable(config))
    return AdjointLangevin(load_sampler(config, decoder(config, saved), saved, steps), cfg.last_sigma(config))


def second_differences(size: int) -> np.ndarray:
    """(size, size) matrix A: A x is half the gradient of the sum of squared differences between neighbours of x."""
    difference = np.diff(np.eye(size, dtype=np.float32), axis=0)
    return difference.T @ difference


def _adjoint(branch: nn.Cell) -> nn.Cell:
    return GeometryAdjoint(branch) if isinstance(branch, GeometryGenerator) else ImageAdjoint(branch)


def _constant(values: np.ndarray, name: str) -> Parameter:
    """A Parameter for only one operator (see above)."""
    return Parameter(Tensor(np.array(values, np.float32)), name=name, requires_grad=False)


def _positive(x: Tensor) -> Tensor:
    return ops.cast(x > 0, ms.float32)


def _inside(coordinate: Tensor, last: int) -> Tensor:
    return ops.cast(ops.logical_and(coordinate > 0, coordinate < last), ms.float32)
