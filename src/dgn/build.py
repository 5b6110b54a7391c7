"""From a config to the objects that it describes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional

from mindspore import nn

from dgn import config as cfg
from dgn.data.source import Source, Subset
from dgn.errors import UserError
from dgn.inference.energy import Energy
from dgn.inference.langevin import Langevin
from dgn.inference.latents import LatentBank
from dgn.nets.deformable import DeformableGenerator
from dgn.run_folder import RunFolder
from dgn.training import checkpoint
from dgn.training.abp import LearningStep
from dgn.training.loop import Learner


class Sources(NamedTuple):
    """The images of a run."""

    train: Source
    held_out: Optional[Source]  # never seen in training


def make_sources(data: cfg.Data) -> Sources:
    """Training and held-out images. Raises UserError if there are too few."""
    if data.path is None:
        from dgn.data.faces import FaceSource
        count = data.limit or 1000
        whole = FaceSource(count + data.held_out, data.size, data.seed, grey=data.grey)
    elif data.path.endswith(".mindrecord"):
        from dgn.data.records import RecordImages
        whole = RecordImages(data.path)
    else:
        from dgn.data.images import ImageFolder
        whole = ImageFolder(data.path, data.size, data.crop, data.grey, corrupt=data.corrupt, cache_mb=data.cache_mb)
    return split(whole, data)


def split(whole: Source, data: cfg.Data) -> Sources:
    """The first `limit` samples to train on, the last `held_out` to evaluate on."""
    free = len(whole) - data.held_out
    if free < 1:
        raise UserError(f"{len(whole)} images with data.held_out = {data.held_out} leave none to train on")
    train = Subset(whole, 0, min(data.limit or free, free))
    return Sources(train, Subset(whole, free, len(whole)) if data.held_out else None)


def make_model(config: cfg.Config, device: str) -> nn.Cell:
    """The generator of a config, with its initial weights."""
    channels = 1 if config.data.grey else 3
    return DeformableGenerator(config.model, channels, config.data.size, config.training.seed, device)


def make_energy(model: nn.Cell, config: cfg.Config) -> Energy:
    """The energy of a model under a config."""
    return Energy(model, config.inference.smoothness)


def make_sampler(energy: Energy, config: cfg.Config) -> Langevin:
    """The compiled sampler of a config."""
    return Langevin(energy, config.inference.step_size, config.inference.steps, config.inference.order)


def make_learner(config: cfg.Config, device: str, folder: RunFolder, count: int, saved: Optional[Path]) -> Learner:
    """All that a training moves, new or as the checkpoint `saved` has it."""
    model = make_model(config, device)
    energy = make_energy(model, config)
    step = LearningStep(energy, config.training.adam_beta1, config.training.adam_beta2)
    if saved is None:
        bank = LatentBank.create(folder.latents, model.groups, count, config.training.seed)
    else:
        checkpoint.load_weights(saved, model)
        checkpoint.load_optimizer(saved, step.optimizer)
        bank = checkpoint.restore_bank(saved, folder.latents, model.groups)
        if len(bank) != count:
            raise UserError(f"{saved} holds chains of {len(bank)} images, the data are {count}; resume with the same images")
    return Learner(model, make_sampler(energy, config), step, bank)
