"""The deformable generator of images: Eq. 1, Fig. 1, Table 4."""

from __future__ import annotations

from typing import List, NamedTuple, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn import config as cfg
from dgn.nets.blocks import BinomialFilter, Deconv, Dense
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
    ReLU after all but the last deconvolution, which is followed by an optional binomial filter and tanh.
    """

    def __init__(self, latent: int, channels: List[int], outputs: int, rng: np.random.Generator,
                 gain: float | None = None, filtered: bool = False, deconv: str = "auto", device: str = "CPU") -> None:
        super().__init__()
        self.start = (-1, channels[0], 4, 4)
        self.dense = Dense(latent, channels[0] * 16, rng, gain)
        self.widths = widths = [*channels, outputs]
        kernels = [3 if 8 * 2 ** k <= 16 else 5 for k in range(len(channels))]
        common = {"stride": 2, "rng": rng, "gain": gain, "kind": deconv, "device": device}
        self.hidden = nn.CellList([Deconv(a, b, k, relu=True, **common) for a, b, k in zip(channels, channels[1:], kernels)])
        self.last = Deconv(channels[-1], outputs, kernels[-1], **common)
        self.filter = BinomialFilter() if filtered else None
        self.relu, self.tanh, self.reshape = ops.ReLU(), ops.Tanh(), ops.Reshape()

    def construct(self, z: Tensor) -> Tensor:
        x = self.reshape(self.relu(self.dense(z)), self.start)
        for layer in self.hidden:
            x = layer(x)
        x = self.last(x)
        if self.filter is not None:
            x = self.filter(x)
        return self.tanh(x)


class AppearanceGenerator(nn.Cell):
    """F_a: Z^a (N, d_a) -> image before the warp, (N, C, H, W) in [0, 1]."""

    def __init__(self, stack: DeconvStack) -> None:
        super().__init__()
        self.stack = stack

    def construct(self, z_app: Tensor) -> Tensor:
        return 0.5 * self.stack(z_app) + 0.5


class GeometryGenerator(nn.Cell):
    """F_g: Z^g (N, d_g) -> displacement (N, 2, H, W) in pixels, each at most max_pixels."""

    def __init__(self, stack: DeconvStack, max_pixels: float) -> None:
        super().__init__()
        self.stack, self.max_pixels = stack, max_pixels

    def construct(self, z_geo: Tensor) -> Tensor:
        return self.max_pixels * self.stack(z_geo)


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
        doublings = int(np.log2(size)) - 2
        geometry = [max(model.width >> k, 4) for k in range(doublings)]
        appearance = [max(round(c * model.alpha), 1) for c in geometry]
        he = model.scaling == "he"
        common = {"deconv": model.deconv, "device": device}
        self.branches = nn.CellList([
            AppearanceGenerator(DeconvStack(model.z_app, appearance, channels, generator(seed, "appearance weights"),
                                            1.0 if he else None, model.appearance_filter == "binomial", **common)),
            GeometryGenerator(DeconvStack(model.z_geo, geometry, 2, generator(seed, "geometry weights"),
                                          model.beta if he else None, model.displacement_filter == "binomial", **common),
                              model.max_displacement * size),
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
