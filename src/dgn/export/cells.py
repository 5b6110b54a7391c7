"""What is exported of a run: the decoder, and Langevin inference, made of operators that other programs know."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

from mindspore import Tensor, nn

from dgn import build
from dgn import config as cfg
from dgn.export.adjoint import AdjointLangevin
from dgn.inference.langevin import Langevin
from dgn.nets.layers import Deconv, Dense
from dgn.training import checkpoint


def portable(config: cfg.Config, deconv: str = "stock") -> cfg.Config:
    """The config with MindSpore's own operators in place of the C++ kernels; the warp by gathers, which MindSpore Lite runs."""
    return cfg.changed(config, model={"warp": "reference", "deconv": deconv, "recurrence": "stock"})


def full_precision(config: cfg.Config) -> cfg.Config:
    """The config without 16-bit layers, which MindSpore Lite has not on every processor."""
    return cfg.changed(config, model={"precision": "float32"})


def live(config: cfg.Config, saved: Path, device: str) -> nn.Cell:
    """The model as the program itself runs it."""
    model = build.make_model(config, device)
    checkpoint.load(saved, {"weights": model})
    return model


def decoder(config: cfg.Config, saved: Path, device: str, onnx: bool = False) -> nn.Cell:
    """Latents of each group -> image, appearance, displacement; for a plain model the image alone. Weights are folded."""
    return fold(live(portable(config, "symmetric" if onnx else "stock"), saved, device))


def fold(model: nn.Cell) -> nn.Cell:
    """The model, its weights as its layers use them."""
    for _, cell in model.cells_and_names():
        if isinstance(cell, (Dense, Deconv)):
            cell.fold()
    return model


class Inference(nn.Cell):
    """Langevin steps as a function: (images, latents of each group, noise (K, N, d) of each sampled group) -> latents of each
    group.

    Begun with zeros, the prior's mean, and called as often as wanted, each time with new standard normal noise, it gives a
    sample of the posterior; zero noise descends to the mode that is near. Latents that are not sampled, labels, stay.
    """

    def __init__(self, sampler: Langevin, sigma: float) -> None:
        super().__init__()
        self.sampler, self.sigma = sampler, Tensor(sigma)

    def construct(self, images: Tensor, *state: Tensor) -> Tuple[Tensor, ...]:
        groups = len(self.sampler.branches)
        latents, noise = state[:groups], state[:groups]  # what stands in the place of a group that is not sampled is not used
        for g, own in zip(self.sampler.moving, state[groups:]):
            noise = noise[:g] + (own,) + noise[g + 1:]
        return self.sampler(images, self.sigma, *latents, *noise)[0]


def inference(config: cfg.Config, saved: Path, steps: int, device: str) -> Inference:
    """The sampler of a run with `steps` steps in its graph, at the sigma of the run's last epoch."""
    config = portable(config)
    energy = build.make_energy(decoder(config, saved, device), config)
    return Inference(build.make_sampler(energy, config, steps), cfg.last_sigma(config))


def inference_by_hand(config: cfg.Config, saved: Path, steps: int, device: str) -> AdjointLangevin:
    """The same function as `inference`, its gradient written out: for MindSpore Lite 2.0."""
    config = full_precision(portable(config))
    energy = build.make_energy(decoder(config, saved, device), config)
    return AdjointLangevin(energy, cfg.last_sigma(config), config.inference.step_size, steps, config.inference.order)
