"""The sampler as a straightforward PyTorch program, for comparison. PyTorch is imported only here.

  plain      each half-step runs the whole model and takes the gradient of one group
  careful    runs each branch once for each new value of its latents, as this project's sampler does
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mindspore import nn

from dgn import config as cfg
from dgn.errors import UserError
from dgn.nets.model import Model


def programs(model: Model, options: cfg.Model, x: np.ndarray, steps: int,
             step_size: float) -> dict[str, Callable[[], Any]]:
    """Both programs on the weights of `model`, a DeformableGenerator, each a function that runs `steps` steps at sigma
    1.

    Raises UserError if PyTorch is not installed, or if the model has an option that these programs do not have.
    """
    if x.ndim != 4:
        raise UserError("--against torch compares the model of images; data.frames must be 0")
    defaults = cfg.Model()
    for key in ("kind", "network", "precision", "scaling", "smooth_appearance", "control_grid", "field", "grid",
                "refine"):
        if getattr(options, key) != getattr(defaults, key):
            raise UserError(f"--against torch compares the paper's model; model.{key} must be "
                            f"{getattr(defaults, key)!r}")
    try:
        import torch
        from torch.nn import functional as F
    except ImportError:
        raise UserError("--against torch needs PyTorch in this Python (it is not a requirement of dgn): pip install "
                        "torch") from None

    def layers(branch: nn.Cell) -> list:
        stack = branch.stack
        return [(torch.tensor(layer.weight.asnumpy()), torch.tensor(layer.bias.asnumpy()))
                for layer in [stack.dense, *stack.hidden, stack.last]]

    def generate(weights: list, z):
        h = F.relu(z @ weights[0][0] + weights[0][1]).view(len(z), -1, 4, 4)
        for k, (w, b) in enumerate(weights[1:], 1):
            # output_padding makes the size an exact doubling; cropped one pixel differently from SAME; same cost
            h = F.conv_transpose2d(h, w, b, stride=2, padding=w.shape[-1] // 2, output_padding=1)
            h = F.relu(h) if k < len(weights) - 1 else torch.tanh(h)
        return h

    app, geo = (layers(branch) for branch in model.branches)
    max_pixels, size = model.branches[1].scale, model.size
    ys, xs = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    grid = torch.stack([xs, ys]).float()[None]
    data = torch.tensor(x)
    start = [torch.randn(len(x), *group.shape) for group in model.groups]

    def appearance(z):
        return 0.5 * generate(app, z) + 0.5

    def displacement(z):
        return max_pixels * generate(geo, z)

    def warp(image, field):
        source = (grid + field) * (2 / (size - 1)) - 1
        return F.grid_sample(image, source.permute(0, 2, 3, 1), padding_mode="border", align_corners=True)

    def energy(image, z):
        return ((data - image) ** 2).sum() / 2 + 0.5 * (z ** 2).sum()

    def updated(z, gradient):
        return (z - step_size ** 2 / 2 * gradient + step_size * torch.randn_like(z)).detach()

    def plain():
        z_app, z_geo = start
        for _ in range(steps):
            z_app = z_app.requires_grad_()
            gradient, = torch.autograd.grad(energy(warp(appearance(z_app), displacement(z_geo)), z_app), z_app)
            z_app = updated(z_app, gradient)
            z_geo = z_geo.requires_grad_()
            gradient, = torch.autograd.grad(energy(warp(appearance(z_app), displacement(z_geo)), z_geo), z_geo)
            z_geo = updated(z_geo, gradient)
        return z_app, z_geo

    def careful():
        z_app, z_geo = (z.clone().requires_grad_() for z in start)
        image, field = appearance(z_app), displacement(z_geo)
        for _ in range(steps):
            gradient, = torch.autograd.grad(energy(warp(image, field.detach()), z_app), z_app)
            z_app = updated(z_app, gradient).requires_grad_()
            image = appearance(z_app)
            gradient, = torch.autograd.grad(energy(warp(image.detach(), field), z_geo), z_geo)
            z_geo = updated(z_geo, gradient).requires_grad_()
            field = displacement(z_geo)
        return z_app, z_geo

    return {"PyTorch, plain": plain, "PyTorch, keeping the other branch": careful}
