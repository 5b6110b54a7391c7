"""The deformable generator of images: Eq. 1, Fig. 1, Table 4."""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
from mindspore import Tensor, nn, ops

from dgn import config as cfg
from dgn.nets.model import LatentGroup, Model
from dgn.nets.stack import NETWORKS, DeconvStack, ImageGenerator
from dgn.nets.warp import make_warp
from dgn.randomness import generator


class GeometryGenerator(nn.Cell):
    """F_g: Z^g (N, d_g) -> displacement (N, 2, H, W) in pixels, each at most max_pixels.

    spline: None, or a (H, points) matrix of spline weights: the stack then gives displacements of a coarse grid of
    control points, and the field is the smooth surface over them. A field that is smooth by construction cannot
    choose single pixels of the appearance, so geometry cannot paint (5.7).
    """

    def __init__(self, stack: DeconvStack, max_pixels: float, spline: Optional[np.ndarray] = None) -> None:
        super().__init__()
        self.stack, self.max_pixels = stack, max_pixels
        self.spline = None if spline is None else Tensor(spline)

    def construct(self, z_geo: Tensor) -> Tensor:
        return self.finish(self.stack(z_geo))

    def finish(self, x: Tensor) -> Tensor:
        """The tanh of the stack as displacement."""
        field = self.max_pixels * x
        if self.spline is not None:
            field = ops.matmul(ops.matmul(self.spline, field), self.spline.T)
        return field


def spline_weights(size: int, points: int) -> np.ndarray:
    """(size, points) weights of a uniform cubic B-spline: pixels' values from those of evenly spaced control points.

    Rows are not negative and sum to 1, so the field stays within the control points' range; at the borders the last
    points are repeated.
    """
    position = (np.arange(size) + 0.5) * points / size - 0.5
    first = np.floor(position).astype(int)
    t = position - first
    basis = np.stack([(1 - t) ** 3, 3 * t ** 3 - 6 * t ** 2 + 4, -3 * t ** 3 + 3 * t ** 2 + 3 * t + 1, t ** 3], 1) / 6
    weights = np.zeros((size, points), np.float32)
    for k in range(4):
        np.add.at(weights, (np.arange(size), np.clip(first - 1 + k, 0, points - 1)), basis[:, k])
    return weights


class DeformableGenerator(Model):
    """X = F_w(F_a(Z^a), F_g(Z^g)), Eq. 1.
    The sampler moves one latent group at a time and need not run the other branch again.
    """

    branch_names = ("appearance", "geometry")

    def __init__(self, model: cfg.Model, channels: int, size: int, seed: int) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        self.groups = (LatentGroup("z_app", (model.z_app,), sampled=model.appearance == "sampled"), LatentGroup("z_geo", (model.z_geo,)))
        grid = model.control_grid or size
        he = model.scaling == "he"
        appearance_plan, geometry_plan = NETWORKS[model.network]
        common = {"deconv": model.deconv, "half": model.precision == "mixed"}
        self.branches = nn.CellList([
            ImageGenerator(DeconvStack(model.z_app, appearance_plan(model.width * model.alpha, size, channels, model.min_channels),
                                       generator(seed, "appearance weights"), 1.0 if he else None,
                                       model.smooth_appearance, **common)),
            GeometryGenerator(DeconvStack(model.z_geo, geometry_plan(model.width, grid, 2, model.min_channels),
                                          generator(seed, "geometry weights"), model.beta if he else None,
                                          last_init=model.geometry_init, **common),
                              model.max_displacement * size, spline_weights(size, grid) if grid < size else None),
        ])
        self.warp = make_warp(model.warp, size, size)
        self.refine = nn.Conv2d(channels, channels, 3, pad_mode="same", has_bias=True, weight_init="zeros",
                                bias_init="zeros") if model.refine else None

    def compose(self, parts: Tuple[Tensor, Tensor]) -> Tensor:
        """The images of (appearance, displacement)."""
        return self.deform(parts[0], parts[1])

    def deform(self, appearance: Tensor, displacement: Tensor) -> Tensor:
        """Appearances (N, C, H, W) moved by displacements (N, 2, H, W)."""
        image = self.warp(appearance, displacement)
        if self.refine is not None:
            image = image + self.refine(image)
        return image

    def construct(self, z_app: Tensor, z_geo: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """The three fields of Decoded."""
        appearance, displacement = self.branches[0](z_app), self.branches[1](z_geo)
        return self.compose((appearance, displacement)), appearance, displacement
