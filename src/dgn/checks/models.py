"""The model, the sampler, R1, 16-bit layers and export."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn import config as cfg
from dgn import device
from dgn.checks.check import SIXTEEN_BITS, Check, Setup, largest_error, relative_error
from dgn.checks.linear import LinearModel, linear_posterior
from dgn.checks.reference import numpy_stack, numpy_warp
from dgn.checks.trainings import BY_OPERATORS
from dgn.config import changed
from dgn.export import cells, files
from dgn.inference import langevin
from dgn.inference.chains import draw_noise, random_latents, run_arrays
from dgn.inference.energy import Energy, make_energy
from dgn.nets.build import make_model
from dgn.nets.discriminator import Conv
from dgn.nets.model import Arrays, Decoded, Model, decode, present
from dgn.training.adversarial import CriticLoss

SAMPLES = 8
BFLOAT16 = 5e-2  # tolerance for images with 8 bits in the hidden layers
DIFFERENCE = 3e-3  # step of the finite difference of R1, relative to the weights
MOMENTS = 0.04  # tolerance for the posterior's mean and covariance (about 1), from 2,000 chains with a finite step


def decoder(setup: Setup) -> Iterator[Check]:
    """The decoder against NumPy."""
    model = _model(setup.config)
    geometry = model.branches[1]
    if geometry.has_basis or any(part is not None for part in (geometry.affine, geometry.offset, model.refine)):
        return  # not in the definition in NumPy
    weights = {name: p.asnumpy().astype(np.float64) for name, p in cells.fold(model).parameters_and_names()}
    latents = _latents(model)
    stacks = [numpy_stack(weights, f"branches.{g}.stack", branch.stack.architecture, z.astype(np.float64))
              for g, (branch, z) in enumerate(zip(model.branches, latents))]
    appearance, displacement = 0.5 * stacks[0] + 0.5, geometry.scale * stacks[1]
    image, *_ = numpy_warp(appearance, displacement, np.zeros_like(appearance))
    names = Decoded._fields
    for name, result, expected in zip(names, present(decode(model, *latents)), (image, appearance, displacement)):
        yield Check(f"decoder, {name}", relative_error(result, expected), setup.tolerance)


def _model(config: cfg.Config) -> Model:
    """The recipe's model with the operators of accelerators."""
    return make_model(changed(config, model=BY_OPERATORS))


def _latents(model: Model) -> Arrays:
    return random_latents(model, SAMPLES, 0, "check")


def posterior(setup: Setup) -> Iterator[Check]:
    """Langevin dynamics on a linear model, whose posterior has a closed form."""
    rng, sigma, calls = np.random.default_rng(7), 0.8, 120
    a, b = 0.7 * rng.standard_normal((2, 5)), 0.7 * rng.standard_normal((3, 5))
    x = rng.standard_normal(5).astype(np.float32)
    model, images = LinearModel(a, b), x[None].repeat(2000, 0)
    sampler = langevin.Langevin(Energy(model), 0.12, 10)
    latents, samples = tuple(np.zeros((len(images), *group.shape), np.float32) for group in model.groups), []
    for call in range(calls):
        noise = draw_noise(model, 10, len(images), 3, "check", call)
        latents, _ = run_arrays(sampler, images, None, sigma, latents, noise)
        if call >= calls // 2 and call % 10 == 0:
            samples.append(np.concatenate(latents, 1))
    chains, (mean, covariance) = np.concatenate(samples), linear_posterior(a, b, x, sigma)
    yield Check("posterior's mean, largest difference", float(np.abs(chains.mean(0) - mean).max()), MOMENTS)
    yield Check("posterior's covariance, largest difference", float(np.abs(np.cov(chains.T) - covariance).max()),
                MOMENTS)


class SmoothScore(nn.Cell):
    """Two convolutions with tanh, (N, C, H, W) -> (N,). With ReLU, the gradient with respect to the image would jump
    when weights change, and finite differences of R1 would not converge to its derivative."""

    def __init__(self, channels: int, hidden: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.layers = nn.CellList([Conv(channels, hidden, 3, rng, "stock"), Conv(hidden, 1, 3, rng, "stock")])

    def construct(self, x: Tensor) -> Tensor:
        return ops.reduce_mean(ops.tanh(self.layers[1](ops.tanh(self.layers[0](x)))), (1, 2, 3))


def r1(setup: Setup) -> Iterator[Check]:
    """The derivative of the critic's loss with R1 with respect to its weights (a second derivative), along the
    gradient, compared with a finite difference."""
    model, rng = _model(setup.config), np.random.default_rng(2)
    net = SmoothScore(model.channels, setup.config.training.critic_width, rng)
    critic, weights = CriticLoss(net, 4e3), ms.ParameterTuple(net.trainable_params())
    x, fake = (Tensor(rng.random((SAMPLES, model.channels, model.size, model.size), np.float32)) for _ in range(2))
    _, gradients = ms.value_and_grad(critic, None, weights, has_aux=True)(x, fake)
    start, directions = ([weight.asnumpy().copy() for weight in weights],
                         [gradient.asnumpy().astype(np.float64) for gradient in gradients])
    length = sum(np.square(direction).sum() for direction in directions) ** 0.5
    step = DIFFERENCE * sum(np.square(value).sum() for value in start) ** 0.5  # relative to the weights' norm
    ends = []
    for sign in (1, -1):
        for weight, value, direction in zip(weights, start, directions):
            ops.assign(weight, Tensor((value + sign * step / length * direction).astype(np.float32)))
        ends.append(float(critic(x, fake)[0].asnumpy()))
    difference = (ends[0] - ends[1]) / (2 * step)
    yield Check("R1, derivative by the weights", abs(length - difference) / length, SIXTEEN_BITS)


def sixteen_bits(setup: Setup) -> Iterator[Check]:
    """The decoder with 16-bit hidden layers against float32."""
    model = _model(changed(setup.config, model={"precision": "float32"}))
    latents = _latents(model)
    expected = present(decode(model, *latents))
    for precision, tolerance in (("float16", SIXTEEN_BITS), ("bfloat16", BFLOAT16)):
        if precision == "bfloat16" and device.current() != "Ascend":
            continue  # not offered there
        mixed = _model(changed(setup.config, model={"precision": precision}))
        parts = present(decode(mixed, *latents))
        yield Check(f"decoder in {precision}", largest_error(parts, expected), tolerance)


def export(setup: Setup) -> Iterator[Check]:
    """Decoder and inference as MindIR, loaded again on this device, against the live model."""
    model, steps, sigma = _model(setup.config), 2, cfg.last_sigma(setup.config)
    portable = cells.portable(setup.config)
    exported, example = cells.fold(make_model(portable)), cells.example(model, SAMPLES, steps)
    images, latents, noise = example
    tolerance = max(files.TOLERANCE, setup.tolerance)
    with tempfile.TemporaryDirectory(dir=files.plain_folder()) as folder:
        expected = present(decode(model, *latents))
        yield Check("decoder.mindir", files.write(exported, latents, Path(folder) / "decoder.mindir", expected),
                    tolerance)
        sampler = langevin.make_sampler(make_energy(exported, portable), portable, steps)
        live = langevin.make_sampler(make_energy(model, setup.config), setup.config, steps)
        wanted, _ = run_arrays(live, images, None, sigma, latents, noise)
        inputs = list(example.inputs(model.groups).values())
        yield Check("inference.mindir", files.write(cells.Inference(sampler, sigma), inputs,
                                                    Path(folder) / "inference.mindir", wanted), tolerance)
