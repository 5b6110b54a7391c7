"""Builds the networks that a config describes."""

from __future__ import annotations

from dgn.config import Config
from dgn.nets.deformable import DeformableGenerator
from dgn.nets.discriminator import Discriminator
from dgn.nets.dynamic import DynamicGenerator
from dgn.nets.encoder import ChainEncoder, Encoder
from dgn.nets.model import Model
from dgn.nets.motion_content import MotionContentGenerator
from dgn.nets.plain import PlainGenerator
from dgn.nets.stack import NETWORKS, Architecture

ROUNDS = 1  # refinements by a ChainEncoder


def make_model(config: Config) -> Model:
    """The generator with its initial weights; the branch that training.freeze names is not trainable."""
    data, seed = config.data, config.training.seed
    channels = 1 if data.grey else 3
    model: Model
    if data.frames:
        of_clips = {"deformable": DynamicGenerator, "plain": MotionContentGenerator}[config.model.kind]
        model = of_clips(config.model, channels, data.size, data.frames, seed)
    else:
        of_images = {"deformable": DeformableGenerator, "plain": PlainGenerator}[config.model.kind]
        model = of_images(config.model, channels, data.size, seed)
    for name, branch in zip(model.branch_names, model.branches):
        if name == config.training.freeze:
            for parameter in branch.get_parameters():
                parameter.requires_grad = False
    return model


def make_encoder(config: Config, model: Model) -> Encoder:
    """The inference network of a VAE: it mirrors the architecture of the model's image generator at model.width.

    The encoder has model.width channels for both kinds, though plain generators are narrower.
    """
    return Encoder(model.groups, _appearance(config, model, config.model.width), model.channels, config.training.seed)


def make_chain_encoder(config: Config, model: Model) -> ChainEncoder:
    """The encoder that initializes chains: its networks mirror the appearance generator of a deformable model."""
    architecture = _appearance(config, model, config.model.width * config.model.alpha)
    seed, correct = config.training.seed, all(group.sampled for group in model.groups)
    refiner_channels = model.channels * (3 if model.warps else 2)
    networks = [Encoder(model.groups, architecture, channels, seed + k, variance=False)
                for k, channels in enumerate((model.channels, refiner_channels)[:2 if correct else 1])]
    return ChainEncoder(model, networks, ROUNDS if correct else 0)


def _appearance(config: Config, model: Model, width: float) -> Architecture:
    """The architecture of a model's image generator at the given width; plain models always use Table 4."""
    network = config.model.network if config.model.kind == "deformable" else "table4"
    return NETWORKS[network][0](width, model.size, model.channels, config.model.min_channels)


def make_critics(config: Config, model: Model) -> list[Discriminator]:
    """The critics of a model, with initial weights (5.3): of images; or of single frames, and of clips with all frames
    as input channels."""
    training = config.training
    channels = [model.channels, *([model.frames * model.channels] if model.frames else [])]
    critics = [Discriminator(inputs, model.size, training.critic_width, training.seed, config.model.deconv)
               for inputs in channels]
    for critic in critics[1:]:
        critic.update_parameters_name("clip.")  # one optimizer holds both
    return critics
