"""The generator without a warp for the baselines ABP and VAE (5.2, Table 1): one latent vector, one stack."""

from __future__ import annotations

from bisect import bisect_left

from mindspore import Tensor, nn

from dgn import config as cfg
from dgn.nets import deformable
from dgn.nets.model import LatentGroup, Model, PlainLatents
from dgn.nets.stack import DeconvStack, ImageGenerator, StackOptions, table4
from dgn.randomness import generator

WIDTHS = range(4, 4096)  # candidate widths at 4x4 pixels


class PlainGenerator(Model):
    """X = F(Z) with the layers of Table 4. It has as many latent dimensions as the deformable model of the same config,
    and the number of parameters is as close to that model's as integer widths allow."""

    branch_names = ("generator",)
    latents_type = PlainLatents

    def __init__(self, model: cfg.Model, channels: int, size: int, seed: int) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        self.groups = (LatentGroup("z", (model.z_app + model.z_geo,)),)
        self.branches = nn.CellList([image_generator(model, channels, size, seed)])

    def compose(self, outputs: tuple[Tensor]) -> Tensor:
        """The image (N, C, H, W): the output of the only branch."""
        return outputs[0]

    def construct(self, z: Tensor) -> tuple[Tensor]:
        """The first field of Decoded: the image."""
        return (self.branches[0](z),)


def image_generator(model: cfg.Model, channels: int, size: int, seed: int) -> ImageGenerator:
    """The generator of images from z_app + z_geo latents, with its initial weights."""
    options = StackOptions(1.0 if model.scaling == "he" else None, model.deconv, model.smooth_appearance,
                           precision=model.precision)
    architecture = table4(matching_width(model, channels, size), size, channels, model.min_channels)
    return ImageGenerator(DeconvStack(model.z_app + model.z_geo, architecture, generator(seed, "plain weights"),
                                      options))


def matching_width(model: cfg.Model, channels: int, size: int) -> int:
    """The width for which a stack of Table 4 has the number of parameters closest to the deformable model's; in a tie
    the smaller width. The number increases with the width, so bisection finds it."""
    target, latent = deformable.parameters(model, channels, size), model.z_app + model.z_geo

    def parameters(width: int) -> int:
        return table4(width, size, channels, model.min_channels).parameters(latent)

    above = bisect_left(WIDTHS, target, key=parameters)  # the first width that has at least as many
    return min(WIDTHS[max(above - 1, 0):above + 1], key=lambda width: abs(parameters(width) - target))
