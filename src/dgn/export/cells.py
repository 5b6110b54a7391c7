"""The exported parts of a run: decoder, encoder and Langevin inference, with operators that other programs support."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mindspore import Tensor, nn

from dgn import config as cfg
from dgn.errors import UserError
from dgn.inference import langevin
from dgn.inference.chains import draw_noise, random_latents
from dgn.inference.energy import make_energy, mask_or_ones
from dgn.inference.langevin import Langevin
from dgn.nets.build import make_model
from dgn.nets.encoder import ChainEncoder
from dgn.nets.layers import Deconv, Dense
from dgn.nets.model import Arrays, LatentGroup, Model, Tensors
from dgn.run import Run
from dgn.training import restore
from dgn.training.chain_encoder import load_chain_encoder


def portable(config: cfg.Config, deconv: str = "stock") -> cfg.Config:
    """The config with MindSpore's operators instead of the C++ kernels, the reference warp, which MindSpore Lite runs,
    one sigma for all groups, and a constant smoothness."""
    return cfg.changed(config, model={"warp": "reference", "deconv": deconv, "recurrence": "stock"},
                       inference={"sigma_app": cfg.NO_FACTOR, "smoothness": ((0, cfg.last_smoothness(config)),)})


def full_precision(config: cfg.Config) -> cfg.Config:
    """The config without 16-bit layers, which MindSpore Lite does not support on every processor."""
    return cfg.changed(config, model={"precision": "float32"})


def saved_checkpoint(run: Run) -> Path:
    """The checkpoint of a run. Raises UserError if it has none yet."""
    if run.checkpoint is None:
        raise UserError(f"{run.folder.path} has no checkpoint yet")
    return run.checkpoint


def make_loaded_model(config: cfg.Config, saved: Path) -> Model:
    """The model of a config with the weights of the checkpoint `saved`."""
    model = make_model(config)
    restore.load_model(saved, model)
    return model


def load_sampler(config: cfg.Config, model: Model, saved: Path, steps: int) -> Langevin:
    """The sampler of a config with `steps` steps in its graph, and the checkpoint's preconditioner, if there is one."""
    sampler = langevin.make_sampler(make_energy(model, config), config, steps)
    restore.load_preconditioner(saved, sampler.preconditioner, config)
    return sampler


def decoder(config: cfg.Config, saved: Path, onnx: bool = False) -> Model:
    """Latents of each group -> image, appearance, displacement; for a plain model only the image. Weights are
    folded."""
    return fold(make_loaded_model(portable(config, "symmetric" if onnx else "stock"), saved))


def encoder(run: Run, onnx: bool = False) -> ChainEncoder:
    """Images -> latents of each group: a new Cell with the run's ChainEncoder."""
    saved = saved_checkpoint(run)
    loaded = load_chain_encoder(run.folder, decoder(run.config, saved, onnx), saved)
    assert loaded is not None
    return loaded


def fold(model: Model) -> Model:
    """Replaces the trained weights of the model by scaled and smoothed weights (see Deconv.fold); returns the model."""
    for _, cell in model.cells_and_names():
        if isinstance(cell, (Dense, Deconv)):
            cell.fold()
    return model


class Inference(nn.Cell):
    """Langevin steps as a function: (images (N, C, H, W), latents (N, d) of each group, noise (K, N, d) of each sampled
    group) -> latents of each group.

    Called repeatedly, starting at zeros (the prior mean), each time with new standard normal noise, it samples the
    posterior; with zero noise it descends to a nearby mode. Latents of groups that are not sampled (labels) are
    returned unchanged. Only for models of images, because there is no input for the mask of clips.
    """

    def __init__(self, sampler: Langevin, sigma: float) -> None:
        super().__init__()
        self.sampler, self.sigma, self.mask = sampler, Tensor(sigma), Tensor(mask_or_ones(1))

    def construct(self, images: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        groups = len(self.sampler.branches)
        latents = state[:groups]
        noise = noise_of_groups(self.sampler.sampled, latents, state[groups:])
        return self.sampler(images, self.mask, self.sigma, *latents, *noise)[0]


def noise_of_groups(sampled: tuple[int, ...], latents: Tensors, noise: Tensors) -> Tensors:
    """Extends the noise of the sampled groups to all groups; groups that are not sampled get their latents, unused."""
    full = latents
    for g, group_noise in zip(sampled, noise):
        full = full[:g] + (group_noise,) + full[g + 1:]
    return full


class Example(NamedTuple):
    """Random inputs of an inference."""

    images: np.ndarray  # (N, C, H, W) in [0, 1]
    latents: Arrays  # (N, d) of each group
    noise: Arrays  # (K, N, d) of each group

    def inputs(self, groups: Sequence[LatentGroup]) -> dict[str, np.ndarray]:
        """The inputs of an Inference in order, by their names in an exported file."""
        noise = {f"noise_{group.name}": z for group, z in zip(groups, self.noise) if group.sampled}
        return {"image": self.images, **{group.name: z for group, z in zip(groups, self.latents)}, **noise}


def example(model: Model, count: int, steps: int) -> Example:
    """Inputs of `count` samples for `steps` Langevin steps."""
    images = np.random.default_rng(0).random((count, model.channels, model.size, model.size), np.float32)
    return Example(images, random_latents(model, count, 0, "export"),
                   draw_noise(model, steps, count, 1, "export"))


def inference(config: cfg.Config, saved: Path, steps: int) -> Inference:
    """Inference with a run's sampler, with `steps` steps in its graph, at the sigma of the last epoch."""
    config = portable(config)
    return Inference(load_sampler(config, decoder(config, saved), saved, steps), cfg.last_sigma(config))
