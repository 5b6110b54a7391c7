"""From a config to the objects that it describes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from mindspore import nn

from dgn import config as cfg
from dgn.data.source import Source, Subset
from dgn.errors import UserError
from dgn.inference.energy import Energy
from dgn.inference.langevin import Langevin
from dgn.inference.latents import LatentBank
from dgn.nets.deformable import Decoded, DeformableGenerator, decode
from dgn.run_folder import RunFolder
from dgn.training import checkpoint
from dgn.training.abp import LearningStep
from dgn.training.loop import Learner


class Sources(NamedTuple):
    """The images of a run."""

    train: Source
    held_out: Optional[Source]  # never seen in training


def make_sources(data: cfg.Data) -> Sources:
    """Training and held-out images of a config. Raises UserError if there are too few."""
    if data.path is not None:
        return split(open_images(data, data.path), data)
    from dgn.data.faces import FaceSource
    return split(FaceSource((data.limit or 1000) + data.held_out, data.size, data.seed, grey=data.grey), data)


def open_images(data: cfg.Data, path: str) -> Source:
    """All images of a folder or MindRecord file, cut as the config says."""
    if path.endswith(".mindrecord"):
        from dgn.data.records import RecordImages
        packed, wanted = RecordImages(path), (1 if data.grey else 3, data.size, data.size)
        if packed.shape != wanted:
            raise UserError(f"{path} holds images of {packed.shape} (channels, height, width), the config asks for {wanted}; "
                            "pack them anew, or change data.size and data.grey")
        return packed
    from dgn.data.images import ImageFolder
    return ImageFolder(path, data.size, data.crop, data.grey, corrupt=data.corrupt, cache_mb=data.cache_mb)


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


def decoder(model: nn.Cell) -> Callable[..., Decoded]:
    """The model as a function of NumPy latents."""
    return functools.partial(decode, model)


def make_sampler(energy: Energy, config: cfg.Config) -> Langevin:
    """The compiled sampler of a config."""
    return Langevin(energy, config.inference.step_size, config.inference.steps, config.inference.order)


def make_learner(config: cfg.Config, device: str, folder: RunFolder, source: Source, saved: Optional[Path]) -> Learner:
    """All that a training moves, new or as the checkpoint `saved` has it.

    Raises UserError if the checkpoint is of another model or of other images.
    """
    model = make_model(config, device)
    energy = make_energy(model, config)
    step = LearningStep(energy, config.training.adam_beta1, config.training.adam_beta2)
    if saved is None:
        bank = LatentBank.create(folder.latents, model.groups, len(source), config.training.seed)
    else:
        checkpoint.load_weights(saved, model)
        checkpoint.load_optimizer(saved, step.optimizer)
        bank = checkpoint.restore_bank(saved, folder.latents, model.groups)
        if len(bank) != len(source) or checkpoint.read_state(saved)["images"] != source.identity():
            raise UserError(f"{saved} holds chains of {len(bank)} images, and these are {len(source)}, or others, or in another order; "
                            "resume with the same images")
    return Learner(model, make_sampler(energy, config), step, bank, source)


class Trained(NamedTuple):
    """A run as its newest whole checkpoint has it, for evaluation, figures and inference."""

    folder: RunFolder
    checkpoint: Path
    model: nn.Cell
    sampler: Langevin
    bank: LatentBank  # the chains of the training images, read-only
    open_sources: Callable[[], Sources]  # not opened before they are needed: inference on new images does without


def load_run(path: Path, device: str) -> Trained:
    """Opens a run folder. Raises UserError if it holds no whole checkpoint."""
    folder = RunFolder.open(path)
    config = folder.config
    saved = checkpoint.newest_whole(folder.checkpoints)
    model = make_model(config, device)
    checkpoint.load_weights(saved, model)
    sampler = make_sampler(make_energy(model, config), config)
    return Trained(folder, saved, model, sampler, LatentBank.open(saved, model.groups),
                   functools.lru_cache(maxsize=None)(lambda: make_sources(config.data)))
