"""The dense and deconvolution layers of the generators, and their initial weights: for scheme 1 of 5.7 the authors'."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from dgn.nets.deconv import make_deconv

INIT_STD = 0.1  # standard deviation of initial weights and biases, as in the authors' code


def truncated_normal(shape: tuple[int, ...], rng: np.random.Generator, std: float = INIT_STD) -> np.ndarray:
    """Normal values with standard deviation `std`, float32; values beyond two standard deviations are drawn again."""
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return (std * values).astype(np.float32)


class LayerShape(NamedTuple):
    """Output channels, kernel size and stride of a deconvolution."""

    outputs: int
    kernel: int
    stride: int


@dataclass(frozen=True)
class LayerOptions:
    """How a layer is initialized and run.

    gain: None for scheme 1 of 5.7 (weights are used without scaling); a number for scheme 2, see ScaledLayer.
    init_scale: factor on the initial weight, and in scheme 1 on the initial bias.
    relu, smooth, kind: options of deconvolutions, see Deconv.
    """

    gain: float | None = None
    init_scale: float = 1.0
    relu: bool = False
    smooth: bool = False
    kind: str = "auto"


class ScaledLayer(nn.Cell):
    """The weight (inputs, outputs, ...) and bias (outputs) of a layer.

    Both schemes of 5.7 truncate initial values at two standard deviations. Scheme 1 (gain None): weight and bias are
    initialized normal with standard deviation 0.1, and used without scaling. Scheme 2 (equalized learning rate): the
    weight is initialized standard normal, and multiplied by gain * sqrt(2 / fan_in) (He scaling) in every forward pass;
    gain is the balance beta for the geometric generator, else 1. The bias is initialized to 0.
    """

    def __init__(self, shape: tuple[int, ...], fan_in: float, rng: np.random.Generator, options: LayerOptions) -> None:
        super().__init__()
        gain, outputs = options.gain, shape[1]
        self.scale = 1.0 if gain is None else gain * math.sqrt(2 / fan_in)
        if gain is None:
            weight = truncated_normal(shape, rng, options.init_scale * INIT_STD)
            bias = truncated_normal((outputs,), rng, options.init_scale * INIT_STD)
        else:
            weight, bias = truncated_normal(shape, rng, options.init_scale), np.zeros(outputs, np.float32)
        self.weight, self.bias = Parameter(Tensor(weight), name="weight"), Parameter(Tensor(bias), name="bias")

    def scaled_weight(self) -> Tensor:
        """The weight as the layer uses it."""
        return self.weight if self.scale == 1.0 else self.weight * self.scale

    def folded_weight(self) -> np.ndarray:
        """The weight as the layer uses it, as a NumPy array for export."""
        return self.weight.asnumpy() * np.float32(self.scale)

    def fold(self) -> None:
        """Replaces the weight by the folded weight: the same function with fewer operators. Only for export, because
        the weight becomes a new Parameter, which no optimizer holds."""
        self.weight = Parameter(Tensor(self.folded_weight()), name=self.weight.name)
        self.scale = 1.0


class Dense(ScaledLayer):
    """(N, inputs) -> (N, outputs)."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator, gain: float | None = None,
                 init_scale: float = 1.0) -> None:
        super().__init__((inputs, outputs), inputs, rng, LayerOptions(gain, init_scale))
        self.matmul = ops.MatMul()
        self.bias_add = ops.BiasAdd()

    def construct(self, x: Tensor) -> Tensor:
        return self.bias_add(self.matmul(x, self.scaled_weight()), self.bias)


class Deconv(ScaledLayer):
    """Transposed convolution, (N, inputs, H, W) -> (N, outputs, stride * H, stride * W), cropped as TensorFlow's SAME.

    options.relu: a ReLU follows. options.kind: the operator, see dgn.nets.deconv. The layer runs in the precision of
    its input. options.smooth (beyond the paper): the kernel is convolved with [1 2 1] / 4 in both directions, so it is
    two taps wider, and the output has no energy at the Nyquist frequency of either axis. A stride-2 deconvolution gives
    some pixel phases more weight than others, which causes checkerboards; this filter removes them.
    """

    def __init__(self, inputs: int, shape: LayerShape, rng: np.random.Generator,
                 options: LayerOptions = LayerOptions()) -> None:
        outputs, kernel, stride = shape
        # fan-in as in the authors' code: not divided by stride^2, although fewer inputs reach an output pixel
        super().__init__((inputs, outputs, kernel, kernel), inputs * kernel ** 2, rng, options)
        self.stride = stride
        self.spread = Tensor(binomial_spread(kernel)) if options.smooth else None
        used_kernel = kernel + 2 if options.smooth else kernel
        self.deconv = make_deconv(options.kind, inputs, outputs, used_kernel, stride, options.relu)

    def construct(self, x: Tensor) -> Tensor:
        weight = self.scaled_weight()
        if self.spread is not None:
            weight = ops.matmul(ops.matmul(self.spread, weight), self.spread.T)
        return self.deconv(x, ops.cast(weight, x.dtype), ops.cast(self.bias, x.dtype))

    def folded_weight(self) -> np.ndarray:
        """See ScaledLayer; the kernel is smoothed."""
        weight = super().folded_weight()
        if self.spread is None:
            return weight
        spread = self.spread.asnumpy()
        return spread @ weight @ spread.T

    def fold(self) -> None:
        """See ScaledLayer."""
        super().fold()
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
