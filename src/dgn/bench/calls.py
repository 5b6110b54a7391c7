"""The parts of an iteration, each as a function that runs once and returns when the result is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn import device
from dgn.config import Config, changed
from dgn.inference.chains import as_tensors, draw_noise, random_latents
from dgn.inference.energy import make_energy, mask_or_ones
from dgn.inference.langevin import make_sampler
from dgn.nets.build import make_critics
from dgn.nets.gradients import Gradients
from dgn.nets.model import Model
from dgn.nets.warp import make_warp
from dgn.training.abp import GeneratorLoss
from dgn.training.adversarial import CriticLosses
from dgn.training.build import make_trainer
from dgn.training.optim import GradientStep, adam

Call = Callable[[], Any]
RATE = 1e-12  # learning rate: the weights do not change


def waiting(net: nn.Cell, *inputs: Tensor) -> Call:
    """A call of a network that returns when its result is there.

    Synchronizes instead of calling asnumpy, which would time the copy. On CPU a call returns with the result, and
    MindSpore refuses to synchronize.
    """
    deferred = device.current() != "CPU"

    def call() -> None:
        net(*inputs)
        if deferred:
            ms.runtime.synchronize()
    return call


def random_images(config: Config, model: Model, count: int, rng: np.random.Generator) -> np.ndarray:
    """Uniform random images (count, C, H, W), or clips (count, F, C, H, W)."""
    frames = (config.data.frames,) if config.data.frames else ()
    return rng.random((count, *frames, model.channels, model.size, model.size), np.float32)


def whole_mask(config: Config, count: int) -> np.ndarray | None:
    """The mask of clips that have all frames, (count, F); None for images."""
    return np.ones((count, config.data.frames), np.float32) if config.data.frames else None


def batch_inputs(config: Config, x: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """(x, mask, sigma 1) as sampler and objectives take them."""
    return (*as_tensors((x, mask_or_ones(len(x), whole_mask(config, len(x))))), ms.Tensor(1.0, ms.float32))


def chosen_frames(model: Model, count: int) -> tuple[Tensor, ...]:
    """The inputs of critics and actor besides images: for clips 1 at the first frame of each, (count, F); see
    dgn.training.adversarial.views."""
    return as_tensors([np.eye(1, model.frames, dtype=np.float32).repeat(count, 0)] if model.frames else [])


def sampler(model: Model, config: Config, x: np.ndarray, steps: int) -> Call:
    """`steps` Langevin steps of a batch."""
    noise = draw_noise(model, steps, len(x), 0, "bench")
    latents = tuple(n[0] for n in noise)
    net = make_sampler(make_energy(model, config), config, steps)
    return waiting(net, *batch_inputs(config, x), *as_tensors((*latents, *noise)))


def training_step(model: Model, config: Config, x: np.ndarray) -> Call:
    """One optimizer step of the generators on a batch (Eq. 9)."""
    latents = random_latents(model, len(x), 0, "bench")
    objective = GeneratorLoss(make_energy(model, config), config.training.mean_displacement_weight)
    step = GradientStep(objective, adam(model.trainable_params()))
    return waiting(step, ms.Tensor(RATE, ms.float32), *batch_inputs(config, x), *as_tensors(latents))


def adversarial(kinds: Sequence[str], model: Model, config: Config, x: np.ndarray) -> dict[str, Call]:
    """A step of the critic with each kind of convolution, without R1 and, if the config has it, with it; and a step of
    the actor, which takes the place of the training step (Eq. 22)."""
    latents = as_tensors(random_latents(model, len(x), 0, "bench"))
    rate, frames = ms.Tensor(RATE, ms.float32), chosen_frames(model, len(x))
    images = ms.Tensor(x), model(*latents)[0], *frames
    penalties = {"critic step": 0.0}
    if config.training.r1_weight > 0:
        penalties["critic step with R1"] = config.training.r1_weight
    calls = {}
    for kind in kinds:
        for name, r1_weight in penalties.items():
            critics = CriticLosses(make_critics(changed(config, model={"deconv": kind}), model), r1_weight)
            step = GradientStep(critics, adam(critics.trainable_params()))
            calls[f"{name}, {kind}"] = waiting(step, rate, *images)
    trainer = make_trainer(changed(config, training={"micro_batches": 1}), model)
    inputs = (*batch_inputs(config, x), *latents, *latents, *frames)
    return {**calls, "actor step": waiting(trainer.update.whole, rate, *inputs)}


def generators(model: Model, batch: int, rng: np.random.Generator) -> dict[str, Call]:
    """Each generator forward, and forward with the gradient with respect to its latents."""
    calls = {}
    for name, group, branch in zip(model.branch_names, model.groups, model.branches):
        name = name if name == "generator" else f"{name} generator"
        z = ms.Tensor(rng.standard_normal((batch, *group.shape), np.float32))
        dout = ms.Tensor(rng.standard_normal(branch(z).shape, np.float32))
        calls[f"{name}, forward"] = waiting(branch, z)
        calls[f"{name}, forward and to the latents"] = waiting(Gradients(branch), z, dout)
    return calls


def recurrence(model: Model, batch: int, frames: int, rng: np.random.Generator) -> Call:
    """The recurrence over time in a Langevin step of clips: Z_t of both groups (of a plain model content and motion)
    forward, and back to the latents."""
    parts = []
    for branch in model.branches:
        z = ms.Tensor(rng.standard_normal((batch, branch.length(frames)), np.float32))
        latents = getattr(branch, "latents", branch)
        dout = ms.Tensor(rng.standard_normal(latents(z).shape, np.float32))
        parts.append(waiting(Gradients(latents), z, dout))
    return lambda: [part() for part in parts]


def warps(kinds: Sequence[str], shape: tuple[int, int, int], rng: np.random.Generator) -> dict[str, Call]:
    """Each warp forward, and with both gradients, for displacements of a few pixels; shape: (images, channels,
    side)."""
    batch, channels, size = shape
    image = ms.Tensor(rng.random((batch, channels, size, size), np.float32))
    displacement = ms.Tensor(0.05 * size * rng.standard_normal((batch, 2, size, size), np.float32))
    dout = ms.Tensor(rng.standard_normal((batch, channels, size, size), np.float32))
    calls = {}
    for kind in kinds:
        net = make_warp(kind, size, size)
        calls[f"warp {kind}, forward"] = waiting(net, image, displacement)
        calls[f"warp {kind}, forward and both gradients"] = waiting(Gradients(net), image, displacement, dout)
    return calls


def matrix_product(side: int, rng: np.random.Generator) -> Call:
    """The product of two square matrices: the reference for this machine's arithmetic."""
    a = ms.Tensor(rng.standard_normal((side, side), np.float32))
    return waiting(ops.MatMul(), a, a)
