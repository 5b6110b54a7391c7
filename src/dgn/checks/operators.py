"""Operators with the shapes of a recipe: outputs, and gradients with respect to all inputs, compared with NumPy in
float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn import device
from dgn.checks.check import Check, Setup, guarded, largest_error
from dgn.checks.reference import numpy_conv, numpy_deconv, numpy_warp
from dgn.config import changed
from dgn.errors import UserError
from dgn.inference.energy import squared_norm
from dgn.nets.build import make_critics, make_model
from dgn.nets.conv import StockConv
from dgn.nets.deconv import StockDeconv
from dgn.nets.discriminator import Conv, Discriminator, activation, halve
from dgn.nets.gradients import Gradients
from dgn.nets.layers import Deconv
from dgn.nets.model import Arrays, Model
from dgn.nets.stack import stacks
from dgn.nets.warp import make_warp

SLICE = 10  # images whose warp NumPy computes at once

Reference = Callable[..., Arrays]  # (inputs..., gradient of the output) -> output, gradients of the inputs


class Case(NamedTuple):
    """An operator with random inputs."""

    name: str
    net: nn.Cell
    inputs: Arrays
    reference: Reference


class Function(nn.Cell):
    """A function as a Cell."""

    def __init__(self, function: Callable) -> None:
        super().__init__()
        self.function = function

    def construct(self, *inputs: Tensor) -> Tensor:
        return self.function(*inputs)


class Affine(nn.Cell):
    """(x, weight, bias) -> x weight + bias, as the dense layers compute it."""

    def __init__(self) -> None:
        super().__init__()
        self.matmul, self.bias_add = ops.MatMul(), ops.BiasAdd()

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.bias_add(self.matmul(x, weight), bias)


def checks(setup: Setup) -> Iterator[Check]:
    """A check of each operator's output, and one of its gradients. An operator that cannot run is a failed check."""
    rng, batch = np.random.default_rng(0), setup.batch
    config = changed(setup.config, model={"deconv": "stock"})
    model = make_model(config)
    critic, = make_critics(config, model)
    by_shape = (deconvolutions(model, batch, rng), convolutions(critic, model.size, batch, rng),
                dense(model, batch, rng))
    first = [itertools.islice(cases, 1 if setup.quick else None) for cases in by_shape]
    for case in itertools.chain(*first, warps(model, batch, rng), others(model, batch, rng)):
        yield from guarded(case.name, compare(case, setup.tolerance, rng))


def compare(case: Case, tolerance: float, rng: np.random.Generator) -> Iterator[Check]:
    """The output and the gradients of a case for a random gradient of the output."""
    tensors = [ms.Tensor(value) for value in case.inputs]
    out = case.net(*tensors).asnumpy()
    dout = rng.standard_normal(out.shape).astype(np.float32)
    expected, *expected_gradients = case.reference(*case.inputs, dout)
    yield Check(f"{case.name}, output", largest_error([out], [expected]), tolerance)
    gradients = [value.asnumpy() for value in Gradients(case.net)(*tensors, ms.Tensor(dout))]
    yield Check(f"{case.name}, gradients", largest_error(gradients, expected_gradients), tolerance)


def deconvolutions(model: Model, batch: int, rng: np.random.Generator) -> Iterator[Case]:
    """Every deconvolution of the generators, once for each shape, without its ReLU: for outputs near 0 rounding would
    decide whether ReLU cuts them, and one of 10^5 values changes the gradients by 1e-3."""
    seen = set()
    for stack in stacks(model):
        for layer, (inputs, side) in zip([*stack.hidden, stack.last], stack.architecture.maps):
            outputs, kernel, stride = layer.weight.shape[1], layer.weight.shape[2], layer.stride
            shape = inputs, side, outputs, kernel, stride
            if shape in seen:
                continue
            seen.add(shape)
            x, values = _normal(rng, batch, inputs, side, side), _weights(layer)
            net = StockDeconv(inputs, outputs, kernel, stride, False)
            yield Case(f"deconvolution {kernel}x{kernel} / {stride}, {inputs}x{side}x{side} to {outputs}", net,
                       (x, *values), _deconv(stride))


def _deconv(stride: int) -> Reference:
    return lambda x, weight, bias, dout: numpy_deconv(x, weight, bias, dout, stride, False)


def convolutions(critic: Discriminator, size: int, batch: int, rng: np.random.Generator) -> Iterator[Case]:
    """Every convolution of the critic that has a bias, once for each shape; size: of its images."""
    layers, seen = [(size, critic.enter)], set()
    for level, blocks in enumerate(critic.levels):
        layers += [(size >> level, cell) for _, cell in blocks.cells_and_names() if isinstance(cell, Conv)]
    for side, layer in layers:
        outputs, inputs, kernel, _ = layer.weight.shape
        if layer.bias is None or (inputs, outputs, kernel, side) in seen:
            continue
        seen.add((inputs, outputs, kernel, side))
        yield Case(f"convolution {kernel}x{kernel}, {inputs}x{side}x{side} to {outputs}", StockConv(outputs, kernel),
                   (_normal(rng, batch, inputs, side, side), layer.weight.asnumpy(), _normal(rng, outputs)), numpy_conv)


def dense(model: Model, batch: int, rng: np.random.Generator) -> Iterator[Case]:
    """The dense layer of each generator."""
    def reference(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dout: np.ndarray) -> Arrays:
        x, weight, bias, dout = (a.astype(np.float64) for a in (x, weight, bias, dout))
        return x @ weight + bias, dout @ weight.T, x.T @ dout, dout.sum(0)

    for stack in stacks(model):
        weight, bias = _weights(stack.dense)
        yield Case(f"dense {weight.shape[0]} to {weight.shape[1]}", Affine(),
                   (_normal(rng, batch, weight.shape[0]), weight, bias), reference)


def warps(model: Model, batch: int, rng: np.random.Generator) -> Iterator[Case]:
    """The three warps for displacements up to the borders; the C++ kernels only on CPU."""
    def reference(image: np.ndarray, displacement: np.ndarray, dout: np.ndarray) -> Arrays:
        slices = [slice(k, k + SLICE) for k in range(0, batch, SLICE)]
        parts = [numpy_warp(image[part], displacement[part], dout[part]) for part in slices]
        return tuple(np.concatenate(values) for values in zip(*parts))

    side = model.size
    image = rng.random((batch, model.channels, side, side), np.float32)
    displacement = 0.1 * side * _normal(rng, batch, 2, side, side)
    for kind in ("grid_sample", "reference", *(["native"] if device.current() == "CPU" else [])):
        try:
            net = make_warp(kind, side, side)
        except UserError:  # without a compiler the program does not use the C++ kernels either
            continue
        yield Case(type(net).__name__, net, (image, displacement), reference)


Derivative = Callable[[np.ndarray], np.ndarray]

ELEMENTWISE: dict[str, tuple[Callable, Derivative, Derivative]] = {  # operator, its definition, its derivative
    "ReLU": (ops.relu, lambda x: np.maximum(x, 0), lambda x: x > 0),
    "leaky ReLU": (activation, lambda x: np.where(x > 0, x, 0.2 * x), lambda x: np.where(x > 0, 1, 0.2)),
    "tanh": (ops.tanh, np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "exp": (ops.exp, np.exp, np.exp),
    "square": (ops.square, np.square, lambda x: 2 * x),
    "softplus": (ops.Softplus(), lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x)))}


def others(model: Model, batch: int, rng: np.random.Generator) -> Iterator[Case]:
    """Elementwise operators, reductions, pooling, and the products of the spline."""
    x = _normal(rng, batch, model.channels, model.size, model.size)
    for name, (function, definition, derivative) in ELEMENTWISE.items():
        yield Case(name, Function(function), (x,), _elementwise(definition, derivative))

    def norm(x: np.ndarray, dout: np.ndarray) -> Arrays:
        return np.square(x.astype(np.float64)).sum((1, 2, 3)), 2 * x.astype(np.float64) * dout[:, None, None, None]

    def pooled(x: np.ndarray, dout: np.ndarray) -> Arrays:
        n, channels, height, width = x.shape
        blocks = x.astype(np.float64).reshape(n, channels, height // 2, 2, width // 2, 2)
        return blocks.mean((3, 5)), dout.astype(np.float64).repeat(2, 2).repeat(2, 3) / 4

    def spline(left: np.ndarray, field: np.ndarray, dout: np.ndarray) -> Arrays:
        left, field, dout = (a.astype(np.float64) for a in (left, field, dout))
        return left @ field, (dout @ field.swapaxes(2, 3)).sum((0, 1)), left.T @ dout

    yield Case("squared norm", Function(squared_norm), (x,), norm)
    yield Case("average pooling", Function(halve), (x,), pooled)
    points = max(model.size // 4, 8)
    yield Case("product of a matrix and fields", Function(ops.matmul),
               (_normal(rng, model.size, points), _normal(rng, batch, 2, points, points)), spline)


def _elementwise(definition: Derivative, derivative: Derivative) -> Reference:
    return lambda x, dout: (definition(x.astype(np.float64)), derivative(x.astype(np.float64)) * dout)


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, np.float32)


def _weights(layer: Deconv) -> Sequence[np.ndarray]:
    """Weight and bias as the layer holds them, without smoothing and scale."""
    return layer.weight.asnumpy(), layer.bias.asnumpy()
