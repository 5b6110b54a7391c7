"""The deformable generator of images: Eq. 1, Fig. 1, Table 4."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops

from dgn import config as cfg
from dgn.nets.layers import Dense
from dgn.nets.model import LatentGroup, Model
from dgn.nets.stack import NETWORKS, Architecture, DeconvStack, ImageGenerator, StackOptions
from dgn.nets.warp import make_warp
from dgn.randomness import generator

REFINE_KERNEL = 3  # pixels a side, of the refining layer
INCREMENT, AFFINE = 0.65, 0.3  # of a monotone field: bounds of the derivatives of its two parts; their sum is below 1


class Surface(NamedTuple):
    """How a field (N, 2, points, points) becomes a displacement (N, 2, H, W): left field right^T, for both components
    alike, matrices (H, points), or for each of (dx, dy), (2, H, points)."""

    left: np.ndarray
    right: np.ndarray


class GeometryGenerator(nn.Cell):
    """F_g: Z^g (N, d_g) -> displacement (N, 2, H, W) in pixels: scale times the stack's output in [-1, 1], through the
    surface, plus the affine part.

    surface (beyond the paper): see `make_surface`; None: the stack gives the displacement of every pixel.
    affine: of a monotone field.
    """

    def __init__(self, stack: DeconvStack, scale: float, surface: Surface | None = None,
                 affine: AffineField | None = None) -> None:
        super().__init__()
        self.stack, self.scale, self.affine, self.smooth = stack, scale, affine, surface is not None
        if surface is not None:
            self.left, self.right = Tensor(surface.left), Tensor(np.swapaxes(surface.right, -1, -2).copy())

    @property
    def latent_layers(self) -> tuple[Dense, ...]:
        """The layers whose inputs are the latents."""
        return (self.stack.dense,) if self.affine is None else (self.stack.dense, self.affine.dense)

    def construct(self, z_geo: Tensor) -> Tensor:
        field = self.finish(self.stack(z_geo))
        return field if self.affine is None else field + self.affine(z_geo)

    def finish(self, x: Tensor) -> Tensor:
        """The stack's output, in [-1, 1], as displacement in pixels, without the affine part."""
        field = self.scale * x  # (N, 2, points, points), or (N, 2, H, W)
        return ops.matmul(ops.matmul(self.left, field), self.right) if self.smooth else field


class AffineField(nn.Cell):
    """z (N, d) -> an affine displacement (N, 2, H, W) in pixels: a shift within -max_pixels .. max_pixels, and
    derivatives within -AFFINE .. AFFINE about the middle of the image."""

    def __init__(self, latent: int, size: int, max_pixels: float, rng: np.random.Generator) -> None:
        super().__init__()
        self.dense, self.matmul = Dense(latent, 6, rng, init_scale=0.1), ops.MatMul()
        y, x = AFFINE * (np.indices((size, size), np.float32) - (size - 1) / 2)
        fields = np.stack([x, y, np.full_like(x, max_pixels)]).reshape(3, -1)
        self.fields = Tensor(np.kron(np.eye(2, dtype=np.float32), fields))  # (6, 2 H W)
        self.shape = (-1, 2, size, size)

    def construct(self, z: Tensor) -> Tensor:
        return self.finish(self.coefficients(z))

    def coefficients(self, z: Tensor) -> Tensor:
        """The six coefficients in [-1, 1], (N, 6)."""
        return ops.tanh(self.dense(z))

    def finish(self, coefficients: Tensor) -> Tensor:
        """The displacement of coefficients."""
        return self.matmul(coefficients, self.fields).reshape(self.shape)


def make_surface(kind: str, size: int, points: int) -> Surface | None:
    """The surface of a kind of field (model.field) on images of size x size pixels; points: of the stack's output a
    side. None: the stack's output is the displacement of every pixel.

    spline: the stack gives the control points of a uniform cubic B-spline surface. A smooth field cannot pick single
    pixels of the appearance, so the geometry cannot draw texture.
    monotone (Deforming Autoencoders, Shu et al. 2018): the stack gives the derivatives of dx along rows and of dy along
    columns, in units of INCREMENT; their cumulative sums are the displacements, or the control points of a spline. With
    the affine part the derivatives are above -INCREMENT - AFFINE > -1, so the sampled x grows along each row, and y
    along each column.
    """
    smooth = spline_weights(size, points) if points < size else np.eye(size, dtype=np.float32)
    if kind == "monotone":
        summed = smooth @ np.tri(points, dtype=np.float32) * np.float32(INCREMENT * size / points)
        return Surface(np.stack([smooth, summed]), np.stack([summed, smooth]))
    return Surface(smooth, smooth) if points < size else None


def spline_weights(size: int, points: int) -> np.ndarray:
    """(size, points) weights of a uniform cubic B-spline: pixel values from those of evenly spaced control points.

    Each row is nonnegative and sums to 1, so a field stays within the range of its control points; the points at the
    border are repeated beyond it.
    """
    position = (np.arange(size) + 0.5) * points / size - 0.5
    first = np.floor(position).astype(int)
    t = position - first
    basis = np.stack([(1 - t) ** 3, 3 * t ** 3 - 6 * t ** 2 + 4, -3 * t ** 3 + 3 * t ** 2 + 3 * t + 1, t ** 3], 1) / 6
    weights = np.zeros((size, points), np.float32)
    for k in range(4):
        np.add.at(weights, (np.arange(size), np.clip(first - 1 + k, 0, points - 1)), basis[:, k])
    return weights


def architectures(model: cfg.Model, channels: int, size: int) -> tuple[Architecture, Architecture]:
    """The stacks of the appearance and of the geometry generator; the latter's outputs are the control points, if
    any."""
    appearance, geometry = NETWORKS[model.network]
    return (appearance(model.width * model.alpha, size, channels, model.min_channels),
            geometry(model.width, model.control_grid or size, 2, model.min_channels))


def parameters(model: cfg.Model, channels: int, size: int) -> int:
    """Number of trainable scalars of a DeformableGenerator."""
    appearance, geometry = architectures(model, channels, size)
    refine = (channels * REFINE_KERNEL ** 2 + 1) * channels if model.refine else 0
    affine = (model.z_geo + 1) * 6 if model.field == "monotone" else 0
    return appearance.parameters(model.z_app) + geometry.parameters(model.z_geo) + affine + refine


class DeformableGenerator(Model):
    """X = F_w(F_a(Z^a), F_g(Z^g)), Eq. 1. channels, size: of the images; seed: of the initial weights."""

    branch_names = ("appearance", "geometry")

    def __init__(self, model: cfg.Model, channels: int, size: int, seed: int) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        self.groups = (LatentGroup("z_app", (model.z_app,), sampled=model.appearance == "sampled"),
                       LatentGroup("z_geo", (model.z_geo,)))
        grid = model.control_grid or size
        he = model.scaling == "he"
        options = StackOptions(1.0 if he else None, model.deconv, precision=model.precision)
        appearance, geometry = architectures(model, channels, size)
        appearance_stack = DeconvStack(model.z_app, appearance, generator(seed, "appearance weights"),
                                       replace(options, smooth_last=model.smooth_appearance))
        geometry_stack = DeconvStack(model.z_geo, geometry, generator(seed, "geometry weights"),
                                     replace(options, gain=model.beta if he else None,
                                             last_init_scale=model.geometry_init))
        max_pixels, monotone = model.max_displacement * size, model.field == "monotone"
        affine = AffineField(model.z_geo, size, max_pixels, generator(seed, "affine weights")) if monotone else None
        self.branches = nn.CellList([
            ImageGenerator(appearance_stack),
            GeometryGenerator(geometry_stack, 1.0 if monotone else max_pixels, make_surface(model.field, size, grid),
                              affine)])
        self.warp = make_warp(model.warp, size, size, model.grid)
        self.refine = nn.Conv2d(channels, channels, REFINE_KERNEL, pad_mode="same", has_bias=True, weight_init="zeros",
                                bias_init="zeros") if model.refine else None

    def compose(self, outputs: tuple[Tensor, Tensor]) -> Tensor:
        """The images (N, C, H, W) of (appearance, displacement)."""
        return self.deform(outputs[0], outputs[1])

    def deform(self, appearance: Tensor, displacement: Tensor) -> Tensor:
        """Appearances (N, C, H, W) warped by displacements (N, 2, H, W), and refined if the model refines (Fig. 1)."""
        image = self.warp(appearance, displacement)
        if self.refine is not None:
            image = image + self.refine(image)
        return image

    def construct(self, z_app: Tensor, z_geo: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The fields of Decoded: image, appearance, displacement."""
        appearance, displacement = self.branches[0](z_app), self.branches[1](z_geo)
        return self.compose((appearance, displacement)), appearance, displacement
