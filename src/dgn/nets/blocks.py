"""Layers shared by all generators."""

from __future__ import annotations

import math
from typing import Tuple

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from dgn.nets.deconv import make_deconv

INIT_STD = 0.1


def truncated_normal(shape: Tuple[int, ...], rng: np.random.Generator, std: float = INIT_STD) -> np.ndarray:
    """Normal values beyond two standard deviations drawn again; the authors' initial weights and biases."""
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return (std * values).astype(np.float32)


class _Scaled(nn.Cell):
    """A layer with weight and bias; scheme 2 (5.7) multiplies the weight at run time.

    gain: None for scheme 1 (weights as they are, std 0.1); else weights are standard normal and the layer uses
    gain * sqrt(2 / fan_in) * weight: He's constant, and the balance beta of the geometry generator.
    init: the initial weight and bias are multiplied by this.
    """

    def __init__(self, shape: Tuple[int, ...], outputs: int, fan_in: float, gain: float | None,
                 rng: np.random.Generator, init: float = 1.0) -> None:
        super().__init__()
        self.scale = 1.0 if gain is None else gain * math.sqrt(2 / fan_in)
        std = INIT_STD if gain is None else 1.0
        self.weight = Parameter(Tensor(truncated_normal(shape, rng, init * std)), name="weight")
        bias = truncated_normal((outputs,), rng, init * INIT_STD) if gain is None else np.zeros(outputs, np.float32)
        self.bias = Parameter(Tensor(bias), name="bias")

    def scaled_weight(self) -> Tensor:
        return self.weight if self.scale == 1.0 else self.weight * self.scale

    def fold(self) -> None:
        """Makes the weight as the layer uses it the parameter: the same function, with nothing left to be done to weights when
        it runs. For export; the parameter is then another one, which no training goes on with."""
        self.weight = Parameter(Tensor(self.weight.asnumpy() * np.float32(self.scale)), name=self.weight.name)
        self.scale = 1.0


class Dense(_Scaled):
    """(N, inputs) -> (N, outputs)."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator, gain: float | None = None) -> None:
        super().__init__((inputs, outputs), outputs, inputs, gain, rng)
        self.matmul = ops.MatMul()
        self.bias_add = ops.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:
        return self.bias_add(self.matmul(x, self.scaled_weight()), self.bias)


class Deconv(_Scaled):
    """Transposed convolution, (N, inputs, H, W) -> (N, outputs, stride * H, stride * W), cropped as TensorFlow's SAME,
    with ReLU if `relu`; `kind` chooses the operator (see dgn.nets.deconv).

    smooth: the kernel is used convolved with [1 2 1] / 4 in both directions, two taps wider. The output then has no
    energy at the Nyquist frequency of either axis: a stride-2 deconvolution favours some pixel phases over others and
    so paints checkerboards, and this takes them out for the price of the wider kernel.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, rng: np.random.Generator, gain: float | None = None,
                 relu: bool = False, smooth: bool = False, init: float = 1.0, kind: str = "auto") -> None:
        # an output pixel is reached by kernel^2 / stride^2 input pixels on average
        super().__init__((inputs, outputs, kernel, kernel), outputs, inputs * kernel ** 2 / stride ** 2, gain, rng, init)
        self.stride = stride
        self.spread = Tensor(binomial_spread(kernel)) if smooth else None
        self.deconv = make_deconv(kind, inputs, outputs, kernel + 2 if smooth else kernel, stride, relu)

    def construct(self, x: Tensor) -> Tensor:
        weight = self.scaled_weight()
        if self.spread is not None:
            weight = ops.matmul(ops.matmul(self.spread, weight), self.spread.T)
        # in the precision of what comes in
        return self.deconv(x, ops.cast(weight, x.dtype), ops.cast(self.bias, x.dtype))

    def fold(self) -> None:
        super().fold()
        if self.spread is not None:
            spread = self.spread.asnumpy()
            self.weight = Parameter(Tensor(spread @ self.weight.asnumpy() @ spread.T), name=self.weight.name)
            self.spread = None


def binomial_spread(kernel: int) -> np.ndarray:
    """(kernel + 2, kernel) matrix that convolves a column of `kernel` values with [1 2 1] / 4."""
    spread = np.zeros((kernel + 2, kernel), np.float32)
    for k in range(kernel):
        spread[k:k + 3, k] = 0.25, 0.5, 0.25
    return spread


def parameter_count(cell: nn.Cell) -> int:
    """Number of trainable scalars."""
    return sum(int(np.prod(p.shape)) for p in cell.trainable_params())
