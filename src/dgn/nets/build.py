"""Builds the networks that a config describes."""

from __future__ import annotations

from dgn.config import Config
from dgn.nets.deformable import DeformableGenerator
from dgn.nets.discriminator import Discriminator
from dgn.nets.dynamic import DynamicGenerator
from dgn.nets.encoder import Encoder
from dgn.nets.model import Model
from dgn.nets.plain import PlainGenerator
from dgn.nets.stack import NETWORKS


def make_model(config: Config) -> Model:
    """The generator with its initial weights; the branch that training.freeze names is not trainable."""
    data, seed = config.data, config.training.seed
    channels = 1 if data.grey else 3
    if data.frames:
        model = DynamicGenerator(config.model, channels, data.size, data.frames, seed)
    else:
        kind = {"deformable": DeformableGenerator, "plain": PlainGenerator}[config.model.kind]
        model = kind(config.model, channels, data.size, seed)
    for name, branch in zip(model.branch_names, model.branches):
        if name == config.training.freeze:
            for parameter in branch.get_parameters():
                parameter.requires_grad = False
    return model


def make_encoder(config: Config, model: Model, variance: bool = True) -> Encoder:
    """An inference network: the appearance architecture of model.network at model.width, mirrored.

    The width is the same for every model; a plain generator is a little narrower. variance: as a VAE needs it; False:
    means alone, for the first values of chains.
    """
    architecture = NETWORKS[config.model.network][0](config.model.width, model.size, model.channels,
                                                     config.model.min_channels)
    return Encoder(model.groups, architecture, model.channels, config.training.seed, variance)


def make_critic(config: Config, model: Model) -> Discriminator:
    """The critic of a model's images, with its initial weights (5.3)."""
    training = config.training
    return Discriminator(model.channels, model.size, training.critic_width, training.seed, config.model.deconv)
