"""The deformable generator of images: Eq. 1, Fig. 1, Table 4."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn import config as cfg
from dgn.nets.blocks import Deconv, Dense
from dgn.nets.warp import make_warp
from dgn.randomness import generator


class Decoded(NamedTuple):
    """What latents decode to, arrays of N samples."""

    image: Tensor  # (N, C, H, W) in [0, 1], after the warp
    appearance: Tensor  # (N, C, H, W) in [0, 1], before the warp
    displacement: Tensor  # (N, 2, H, W) in pixels: (dx, dy)


class LatentGroup(NamedTuple):
    """One group of latents of a model, a standard normal under the prior."""

    name: str
    shape: Tuple[int, ...]
    sampled: bool = True  # False: given with the data (a label), never moved by the sampler


class DeconvStack(nn.Cell):
    """(N, latent) -> (N, outputs, size, size): dense to 4x4, then deconvolutions that double the size (Table 4).

    channels: at 4x4 and after each deconvolution but the last. Kernels are 3 up to 16x16 and 5 beyond.
    ReLU after all but the last deconvolution, which is followed by tanh; `smooth` is that layer's.
    """

    def __init__(self, latent: int, channels: List[int], outputs: int, rng: np.random.Generator,
                 gain: float | None = None, smooth: bool = False, deconv: str = "auto", device: str = "CPU") -> None:
        super().__init__()
        self.start = (-1, channels[0], 4, 4)
        self.dense = Dense(latent, channels[0] * 16, rng, gain)
        self.widths = [*channels, outputs]
        kernels = [3 if 8 * 2 ** k <= 16 else 5 for k in range(len(channels))]
        common = {"stride": 2, "rng": rng, "gain": gain, "kind": deconv, "device": device}
        self.hidden = nn.CellList([Deconv(a, b, k, relu=True, **common) for a, b, k in zip(channels, channels[1:], kernels)])
        self.last = Deconv(channels[-1], outputs, kernels[-1], smooth=smooth, **common)

    def construct(self, z: Tensor) -> Tensor:
        x = ops.relu(self.dense(z)).reshape(self.start)
        for layer in self.hidden:
            x = layer(x)
        return ops.tanh(self.last(x))


class AppearanceGenerator(nn.Cell):
    """F_a: Z^a (N, d_a) -> image before the warp, (N, C, H, W) in [0, 1]."""

    def __init__(self, stack: DeconvStack) -> None:
        super().__init__()
        self.stack = stack

    def construct(self, z_app: Tensor) -> Tensor:
        return 0.5 * self.stack(z_app) + 0.5


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
        field = self.max_pixels * self.stack(z_geo)
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


class DeformableGenerator(nn.Cell):
    """X = F_w(F_a(Z^a), F_g(Z^g)), Eq. 1.

    Like every model here it is a list of `branches`, one for each latent group, and a `compose` that joins what they
    give: the sampler moves one group at a time and need not run the other branches again.
    """

    groups: Tuple[LatentGroup, ...]

    def __init__(self, model: cfg.Model, channels: int, size: int, seed: int, device: str = "CPU") -> None:
        super().__init__()
        self.channels, self.size = channels, size
        self.groups = (LatentGroup("z_app", (model.z_app,)), LatentGroup("z_geo", (model.z_geo,)))
        grid = model.control_grid or size
        he = model.scaling == "he"
        common = {"deconv": model.deconv, "device": device}
        self.branches = nn.CellList([
            AppearanceGenerator(DeconvStack(model.z_app, channels_by_level(model.width * model.alpha, size), channels,
                                            generator(seed, "appearance weights"), 1.0 if he else None,
                                            model.smooth_appearance, **common)),
            GeometryGenerator(DeconvStack(model.z_geo, channels_by_level(model.width, grid), 2,
                                          generator(seed, "geometry weights"), model.beta if he else None, **common),
                              model.max_displacement * size, spline_weights(size, grid) if grid < size else None),
        ])
        self.warp = make_warp(model.warp, size, size, device)
        self.refine = nn.Conv2d(channels, channels, 3, pad_mode="same", has_bias=True, weight_init="zeros",
                                bias_init="zeros") if model.refine else None

    def compose(self, parts: Tuple[Tensor, Tensor]) -> Tensor:
        """The image of (appearance, displacement)."""
        image = self.warp(parts[0], parts[1])
        if self.refine is not None:
            image = image + self.refine(image)
        return image

    def construct(self, z_app: Tensor, z_geo: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """The three fields of Decoded."""
        appearance, displacement = self.branches[0](z_app), self.branches[1](z_geo)
        return self.compose((appearance, displacement)), appearance, displacement


def channels_by_level(width: float, size: int) -> List[int]:
    """Channels at 4x4, 8x8 ... up to half of `size`: `width`, halved at every level (Table 4)."""
    return [max(round(width / 2 ** level), 1) for level in range(int(np.log2(size)) - 2)]


def decode(model: nn.Cell, *latents: np.ndarray, batch_size: int = 100) -> Decoded:
    """NumPy latents -> Decoded of NumPy arrays, in batches of one compiled size."""
    count = len(latents[0])
    parts = []
    for start in range(0, count, batch_size):
        rows = [z[start:start + batch_size] for z in latents]
        short = batch_size - len(rows[0]) if count > batch_size else 0  # a last smaller batch would compile anew
        padded = [np.concatenate([z, z[:1].repeat(short, 0)]) if short else z for z in rows]
        parts.append([t.asnumpy()[:len(rows[0])] for t in model(*[ms.Tensor(np.ascontiguousarray(z)) for z in padded])])
    return Decoded(*[np.concatenate(p) for p in zip(*parts)])
