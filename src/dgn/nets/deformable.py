"""The deformable generator of images: Eq. 1, Fig. 1, Table 4."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional, Tuple

import numpy as np
from mindspore import Tensor, nn, ops

from dgn import config as cfg
from dgn.nets.model import LatentGroup, Model
from dgn.nets.stack import NETWORKS, Architecture, DeconvStack, ImageGenerator, StackOptions
from dgn.nets.warp import make_warp
from dgn.randomness import generator

REFINE_KERNEL = 3  # pixels a side, of the refining layer


class GeometryGenerator(nn.Cell):
    """F_g: Z^g (N, d_g) -> displacement (N, 2, H, W) in pixels, within -max_pixels .. max_pixels.

    spline (beyond the paper): a (H, points) matrix of spline weights; the stack then gives the displacements of
    points x points control points, and the field is the smooth surface through them. A field that is smooth by
    construction cannot pick single pixels of the appearance, so the geometry cannot draw texture with it.
    """

    def __init__(self, stack: DeconvStack, max_pixels: float, spline: Optional[np.ndarray] = None) -> None:
        super().__init__()
        self.stack, self.max_pixels = stack, max_pixels
        self.spline = None if spline is None else Tensor(spline)

    def construct(self, z_geo: Tensor) -> Tensor:
        return self.finish(self.stack(z_geo))

    def finish(self, x: Tensor) -> Tensor:
        """The stack's output, in [-1, 1], as displacement in pixels."""
        field = self.max_pixels * x  # (N, 2, points, points), or (N, 2, H, W)
        if self.spline is not None:
            field = ops.matmul(ops.matmul(self.spline, field), self.spline.T)
        return field


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


def architectures(model: cfg.Model, channels: int, size: int) -> Tuple[Architecture, Architecture]:
    """The stacks of the appearance and of the geometry generator; the latter's outputs are the control points, if
    any."""
    appearance, geometry = NETWORKS[model.network]
    return (appearance(model.width * model.alpha, size, channels, model.min_channels),
            geometry(model.width, model.control_grid or size, 2, model.min_channels))


def parameters(model: cfg.Model, channels: int, size: int) -> int:
    """Number of trainable scalars of a DeformableGenerator."""
    appearance, geometry = architectures(model, channels, size)
    refine = (channels * REFINE_KERNEL ** 2 + 1) * channels if model.refine else 0
    return appearance.parameters(model.z_app) + geometry.parameters(model.z_geo) + refine


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
        self.branches = nn.CellList([
            ImageGenerator(appearance_stack),
            GeometryGenerator(geometry_stack, model.max_displacement * size,
                              spline_weights(size, grid) if grid < size else None)])
        self.warp = make_warp(model.warp, size, size, model.grid)
        self.refine = nn.Conv2d(channels, channels, REFINE_KERNEL, pad_mode="same", has_bias=True, weight_init="zeros",
                                bias_init="zeros") if model.refine else None

    def compose(self, outputs: Tuple[Tensor, Tensor]) -> Tensor:
        """The images (N, C, H, W) of (appearance, displacement)."""
        return self.deform(outputs[0], outputs[1])

    def deform(self, appearance: Tensor, displacement: Tensor) -> Tensor:
        """Appearances (N, C, H, W) warped by displacements (N, 2, H, W), and refined if the model refines (Fig. 1)."""
        image = self.warp(appearance, displacement)
        if self.refine is not None:
            image = image + self.refine(image)
        return image

    def construct(self, z_app: Tensor, z_geo: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """The fields of Decoded: image, appearance, displacement."""
        appearance, displacement = self.branches[0](z_app), self.branches[1](z_geo)
        return self.compose((appearance, displacement)), appearance, displacement
