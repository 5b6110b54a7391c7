"""The dense and deconvolution layers of the generators, with the authors' initial weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from dgn.nets.deconv import make_deconv

INIT_STD = 0.1  # of initial weights and biases, as in the authors' code


def truncated_normal(shape: tuple[int, ...], rng: np.random.Generator, std: float = INIT_STD) -> np.ndarray:
    """float32 normal values of deviation `std`; those beyond two deviations are drawn again."""
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

    gain: None for scheme 1 of 5.7 (weights used as they are); a number for scheme 2, see ScaledLayer.
    init_scale: factor of the initial weight and bias.
    relu, smooth, kind: of deconvolutions, see Deconv.
    """

    gain: float | None = None
    init_scale: float = 1.0
    relu: bool = False
    smooth: bool = False
    kind: str = "auto"


class ScaledLayer(nn.Cell):
    """The weight (inputs, outputs, ...) and bias (outputs) of a layer.

    Scheme 1 of 5.7 (gain None): both have deviation 0.1 and are used as they are. Scheme 2: the weight is standard
    normal and is multiplied by gain * sqrt(2 / fan_in) whenever the layer runs (He's constant; gain is the balance
    beta for the geometry generator and 1 otherwise); the bias is 0 at first.
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
        """The weight as the layer uses it, for other programs."""
        return self.weight.asnumpy() * np.float32(self.scale)

    def fold(self) -> None:
        """Puts the folded weight in place of the weight: the same function with fewer operators. For export only, as
        the weight becomes a new Parameter that no optimizer holds."""
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

    options.relu: followed by ReLU; options.kind: the operator, see dgn.nets.deconv. It runs in the precision of its
    input. options.smooth (beyond the paper): the kernel is convolved with [1 2 1] / 4 in both directions, so it is
    two taps wider and its output has no energy at the Nyquist frequency of either axis. A stride-2 deconvolution
    weights some pixel phases more than others, which shows as a checkerboard; the filter removes it.
    """

    def __init__(self, inputs: int, shape: LayerShape, rng: np.random.Generator,
                 options: LayerOptions = LayerOptions()) -> None:
        outputs, kernel, stride = shape
        # fan-in as in the authors' code: not divided by stride^2, though so many fewer inputs reach an output pixel
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
