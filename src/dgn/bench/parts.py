"""The parts of an iteration, each as a function that runs once and waits for its result."""

from __future__ import annotations

from typing import Callable, Dict, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn import config as cfg
from dgn.build import make_critic, make_energy, make_method, make_sampler
from dgn.inference.langevin import as_tensors, draw_noise
from dgn.nets.warp import make_warp
from dgn.step import Step, adam
from dgn.training.abp import learning_step
from dgn.training.adversarial import Critic


class _Backward(nn.Cell):
    def __init__(self, net: nn.Cell) -> None:
        super().__init__()
        self.net, self.gradient = net, ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, *inputs_and_dout: Tensor) -> Tuple[Tensor, ...]:
        return self.gradient(self.net)(*inputs_and_dout)


def waiting(net: nn.Cell, *inputs: Tensor) -> Callable[[], None]:
    """A call of a network that returns when its result is there. Not by asnumpy: copying it out is not part of the work. On CPU it
    is there when the call returns, and to synchronize is refused."""
    deferred = ms.context.get_context("device_target") != "CPU"

    def call() -> None:
        net(*inputs)
        if deferred:
            ms.runtime.synchronize()
    return call


def sampler(model: nn.Cell, config: cfg.Config, x: np.ndarray, steps: int) -> Callable[[], None]:
    """`steps` Langevin steps of a batch."""
    noise = draw_noise(model, steps, len(x), 0, "bench")
    latents = tuple(n[0] for n in noise)
    net = make_sampler(make_energy(model, config), config, steps)
    return waiting(net, ms.Tensor(x), ms.Tensor(1.0, ms.float32), *as_tensors((*latents, *noise)))


def learning(model: nn.Cell, config: cfg.Config, x: np.ndarray) -> Callable[[], None]:
    """One learning step of a batch, with a rate of nearly nothing so that the weights stay."""
    latents = tuple(n[0] for n in draw_noise(model, 1, len(x), 0, "bench"))
    net = learning_step(make_energy(model, config))
    return waiting(net, ms.Tensor(1e-12, ms.float32), ms.Tensor(x), ms.Tensor(1.0, ms.float32), *as_tensors(latents))


def adversarial(kinds: Tuple[str, ...], model: nn.Cell, config: cfg.Config, x: np.ndarray, device: str) -> Dict[str, Callable[[], None]]:
    """A step of the critic with each kind of convolution, without R1 and, if the config has it, with it; and one of the actor, in
    place of the learning step."""
    latents = as_tensors(tuple(n[0] for n in draw_noise(model, 1, len(x), 0, "bench")))
    rate, images = ms.Tensor(1e-12, ms.float32), ms.Tensor(x)
    made = model(*latents)[0]
    penalties = {"critic's step": 0.0}
    if config.training.r1_weight > 0:
        penalties["critic's step with R1"] = config.training.r1_weight
    calls = {}
    for kind in kinds:
        for what, r1_weight in penalties.items():
            critic = make_critic(cfg.changed(config, model={"deconv": kind}), model, device)
            calls[f"{what}, {kind}"] = waiting(Step(Critic(critic, r1_weight), adam(critic.trainable_params())), rate, images, made)
    actor = make_method(config, model, device).learning.step
    return {**calls, "actor's step": waiting(actor, rate, images, ms.Tensor(1.0, ms.float32), *latents, *latents)}


def generators(model: nn.Cell, batch: int, rng: np.random.Generator) -> Dict[str, Callable[[], None]]:
    """Each generator forward, and forward with the gradient to its latents."""
    calls = {}
    for name, group, branch in zip(("appearance generator", "geometry generator"), model.groups, model.branches):
        z = ms.Tensor(rng.standard_normal((batch, *group.shape), np.float32))
        dout = ms.Tensor(rng.standard_normal(branch(z).shape, np.float32))
        calls[f"{name}, forward"] = waiting(branch, z)
        calls[f"{name}, forward and to the latents"] = waiting(_Backward(branch), z, dout)
    return calls


def recurrence(model: nn.Cell, batch: int, frames: int, rng: np.random.Generator) -> Callable[[], None]:
    """What a Langevin step of clips spends on time: Z_t of both groups forward, and back to the latents."""
    calls = []
    for branch in model.branches:
        z = ms.Tensor(rng.standard_normal((batch, branch.length(frames)), np.float32))
        dout = ms.Tensor(rng.standard_normal((batch, frames, branch.states), np.float32))
        calls.append(waiting(_Backward(branch.latents), z, dout))
    return lambda: [call() for call in calls]


def warps(kinds: Tuple[str, ...], channels: int, size: int, batch: int, rng: np.random.Generator) -> Dict[str, Callable[[], None]]:
    """Each warp forward, and with both gradients, for displacements of a few pixels."""
    image = ms.Tensor(rng.random((batch, channels, size, size), np.float32))
    field = ms.Tensor(0.05 * size * rng.standard_normal((batch, 2, size, size), np.float32))
    dout = ms.Tensor(rng.standard_normal((batch, channels, size, size), np.float32))
    calls = {}
    for kind in kinds:
        net = make_warp(kind, size, size)
        calls[f"warp {kind}, forward"] = waiting(net, image, field)
        calls[f"warp {kind}, forward and both gradients"] = waiting(_Backward(net), image, field, dout)
    return calls


def matrix_product(side: int, rng: np.random.Generator) -> Callable[[], None]:
    """A product of two square matrices: what this machine's arithmetic can reach."""
    a = ms.Tensor(rng.standard_normal((side, side), np.float32))
    return waiting(ops.MatMul(), a, a)
