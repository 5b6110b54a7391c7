"""The non-deformable generator of the baselines ABP and VAE (5.2, Table 1): one latent vector, one stack, no warp."""

from __future__ import annotations

from typing import Tuple

from mindspore import Tensor, nn

from dgn import config as cfg
from dgn.nets.blocks import parameter_count
from dgn.nets.deformable import DeformableGenerator
from dgn.nets.model import LatentGroup, Model, PlainLatents
from dgn.nets.stack import DeconvStack, ImageGenerator, table4
from dgn.randomness import generator


class PlainGenerator(Model):
    """X = F(Z), of as many latent dimensions as the deformable model of the same config has in all, and of as many
    parameters as the choice of a width allows."""

    branch_names = ("generator",)
    latents = PlainLatents

    def __init__(self, model: cfg.Model, channels: int, size: int, seed: int) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        latent = model.z_app + model.z_geo
        self.groups = (LatentGroup("z", (latent,)),)
        wanted = parameter_count(DeformableGenerator(model, channels, size, seed))
        width = matching_width(wanted, latent, channels, size, model.min_channels)
        self.branches = nn.CellList([ImageGenerator(DeconvStack(
            latent, table4(width, size, channels, model.min_channels), generator(seed, "plain weights"),
            1.0 if model.scaling == "he" else None, model.smooth_appearance, deconv=model.deconv,
            half=model.precision == "mixed"))])

    def compose(self, parts: Tuple[Tensor]) -> Tensor:
        """The image is what the only branch gives."""
        return parts[0]

    def construct(self, z: Tensor) -> Tuple[Tensor]:
        """The first field of Decoded."""
        return (self.branches[0](z),)


def matching_width(parameters: int, latent: int, channels: int, size: int, narrowest: int) -> int:
    """The width at 4x4 whose stack has the number of parameters nearest to `parameters`."""
    return min(range(4, 4096), key=lambda width: abs(table4(width, size, channels, narrowest).parameters(latent) - parameters))
