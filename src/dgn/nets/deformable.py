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
from dgn.nets.warp import coordinates, make_warp
from dgn.randomness import generator

REFINE_KERNEL = 3  # kernel size of the refining layer
INCREMENT, AFFINE = 0.65, 0.3  # bounds of the derivatives of a monotone field's two parts; their sum is below 1


class FieldBasis(NamedTuple):
    """Linear map from a field (N, 2, points, points) to a displacement (N, 2, H, W): left @ field @ right^T.

    left, right: (H, points), shared by dx and dy, or (2, H, points), one matrix for each.
    """

    left: np.ndarray
    right: np.ndarray


class GeometryGenerator(nn.Cell):
    """F_g: Z^g (N, d_g) -> displacement (N, 2, H, W) in pixels.

    It is scale times the stack's output in [-1, 1], mapped by the basis, plus the affine part and the offset.

    basis (beyond the paper): see `make_field_basis`; None: the stack outputs the displacement of every pixel.
    affine: the affine part of a monotone field, else None.
    offset: a constant displacement (1, 2, H, W), see `authors_grid`.
    """

    def __init__(self, stack: DeconvStack, scale: float, basis: FieldBasis | None = None,
                 affine: AffineField | None = None, offset: np.ndarray | None = None) -> None:
        super().__init__()
        self.offset = None if offset is None else Tensor(offset)
        self.stack, self.scale, self.affine, self.has_basis = stack, scale, affine, basis is not None
        if basis is not None:
            self.left, self.right = Tensor(basis.left), Tensor(np.swapaxes(basis.right, -1, -2).copy())

    @property
    def latent_layers(self) -> tuple[Dense, ...]:
        """The layers whose inputs are the latents."""
        return (self.stack.dense,) if self.affine is None else (self.stack.dense, self.affine.dense)

    def construct(self, z_geo: Tensor) -> Tensor:
        field = self.finish(self.stack(z_geo))
        return field if self.affine is None else field + self.affine(z_geo)

    def finish(self, x: Tensor) -> Tensor:
        """Maps the stack's output in [-1, 1] to a displacement in pixels, without the affine part."""
        field = self.scale * x  # (N, 2, points, points), or (N, 2, H, W)
        if self.has_basis:
            field = ops.matmul(ops.matmul(self.left, field), self.right)
        return field if self.offset is None else field + self.offset


class AffineField(nn.Cell):
    """z (N, d) -> an affine displacement (N, 2, H, W) in pixels, with shifts in [-max_pixels, max_pixels] at the image
    centre and derivatives in [-AFFINE, AFFINE]."""

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
        """The displacement for six coefficients."""
        return self.matmul(coefficients, self.fields).reshape(self.shape)


def authors_grid(size: int) -> np.ndarray:
    """The sampling grid of the authors' code (model.grid: authors) as a displacement (1, 2, size, size) from integer
    positions.

    It has x size / (size - 1) instead of x, and the same for y. So without further displacement the sampled x is an
    integer only in column 0, and y only in row 0; other pixels average their neighbours; the last column and row are
    clamped.
    """
    return coordinates(size, size) / np.float32(size - 1)


def make_field_basis(kind: str, size: int, points: int) -> FieldBasis | None:
    """The basis for a kind of field (model.field) on images of size x size pixels; None if the stack's output is the
    displacement of every pixel.

    points: side length of the stack's output.
    spline: the stack outputs the control points of a uniform cubic B-spline surface. A smooth field cannot select
    single pixels of the appearance, so the geometry cannot draw texture.
    monotone (Deforming Autoencoders, Shu et al. 2018): the stack outputs the derivatives of dx along rows and of dy
    along columns, divided by INCREMENT; their cumulative sums are the displacements, or the control points of a spline.
    Including the affine part, the derivatives are above -INCREMENT - AFFINE > -1, so the sampled x increases along each
    row, and the sampled y along each column.
    """
    smooth = spline_weights(size, points) if points < size else np.eye(size, dtype=np.float32)
    if kind == "monotone":
        summed = smooth @ np.tri(points, dtype=np.float32) * np.float32(INCREMENT * size / points)
        return FieldBasis(np.stack([smooth, summed]), np.stack([summed, smooth]))
    return FieldBasis(smooth, smooth) if points < size else None


def spline_weights(size: int, points: int) -> np.ndarray:
    """Weights (size, points) of a uniform cubic B-spline, which map evenly spaced control points to pixels.

    Each row is nonnegative and sums to 1, so a field stays within the range of its control points. Border points are
    repeated beyond the border.
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
    """The stacks of the appearance and geometric generators; the geometry stack outputs control points, if there are
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
    """X = F_w(F_a(Z^a), F_g(Z^g)), Eq. 1.

    channels, size: of the images; seed: random seed of the initial weights.
    """

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
            GeometryGenerator(geometry_stack, 1.0 if monotone else max_pixels,
                              make_field_basis(model.field, size, grid), affine,
                              authors_grid(size) if model.grid == "authors" else None)])
        self.warp = make_warp(model.warp, size, size)
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
