"""Convolution of stride 1: MindSpore's operators, or on CPU the kernels of deconv_cpu.cc.

x (N, inputs, H, W), weight (outputs, inputs, K, K) with K odd, bias (outputs) or None -> (N, outputs, H, W), with zeros around.
Both can be differentiated twice, as R1 must be (Eq. 22).
"""

from __future__ import annotations

from typing import Optional, Tuple

import numpy as np
from mindspore import Tensor, nn, ops

from dgn import device
from dgn.nets.deconv import KINDS, forward_operator, input_gradient_operator, weight_gradient_operator
from dgn.nets.native import check_choice, native_or


class StockConv(nn.Cell):
    """ops.Conv2D and BiasAdd: for Ascend and GPU, and the definition."""

    def __init__(self, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv, self.bias_add = ops.Conv2D(outputs, kernel, pad_mode="same"), ops.BiasAdd()

    def construct(self, x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
        out = self.conv(x, weight)
        return out if bias is None else self.bias_add(out, bias)


class NativeConv(nn.Cell):
    """The transposed convolution of stride 1 with kernels turned by half a circle, inputs and outputs exchanged."""

    def __init__(self, outputs: int, kernel: int) -> None:
        super().__init__()
        self.kernel, self.turned, self.zeros = kernel, _TurnedConv(outputs), _zeros(outputs)

    def construct(self, x: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
        if self.kernel > 1:
            weight = ops.flip(weight, (2, 3))
        return self.turned(x, weight.transpose(1, 0, 2, 3), self.zeros if bias is None else bias)


class _TurnedConv(nn.Cell):
    """NativeConv with kernels (inputs, outputs, K, K) as the C++ code takes them."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.forward = forward_operator(outputs)
        self.input_gradient, self.weight_gradient = _InputGradient(outputs), _WeightGradient(outputs)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.forward(x, weight, bias)

    def bprop(self, x, weight, bias, out, dout) -> Tuple[Tensor, Tensor, Tensor]:
        dweight, dbias = self.weight_gradient(x, weight, dout)
        return self.input_gradient(x, weight, dout), dweight, dbias


class _InputGradient(nn.Cell):
    """(x, weight, dout) -> dx, linear in weight and in dout. (dout also has the shape of the forward result, which the operators
    ask for.)"""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.gradient, self.weight_gradient = input_gradient_operator(), weight_gradient_operator()
        self.forward, self.zeros = forward_operator(outputs), _zeros(outputs)

    def construct(self, x: Tensor, weight: Tensor, dout: Tensor) -> Tensor:
        return self.gradient(x, weight, dout, dout)

    def bprop(self, x, weight, dout, dx, ddx) -> Tuple[Tensor, Tensor, Tensor]:
        dweight, _ = self.weight_gradient(ddx, weight, dout, dout)
        return ops.zeros_like(x), dweight, self.forward(ddx, weight, self.zeros)


class _WeightGradient(nn.Cell):
    """(x, weight, dout) -> (dweight, dbias), linear in x and in dout."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.gradient, self.input_gradient = weight_gradient_operator(), input_gradient_operator()
        self.forward = forward_operator(outputs)

    def construct(self, x: Tensor, weight: Tensor, dout: Tensor) -> Tuple[Tensor, Tensor]:
        return self.gradient(x, weight, dout, dout)

    def bprop(self, x, weight, dout, gradients, moved) -> Tuple[Tensor, Tensor, Tensor]:
        return self.input_gradient(x, moved[0], dout, dout), ops.zeros_like(weight), self.forward(x, moved[0], moved[1])


def _zeros(outputs: int) -> Tensor:
    return Tensor(np.zeros(outputs, np.float32))


def make_conv(kind: str, outputs: int, kernel: int) -> nn.Cell:
    """The operator that `kind`, a value of model.deconv, names; "auto" is native on CPU (stock if it cannot be built), stock
    elsewhere, and "symmetric" is stock. Raises ValueError for an even kernel, whose margins the two would put on different sides."""
    check_choice("model.deconv", kind, KINDS, "stock")
    if kernel % 2 == 0:
        raise ValueError(f"a convolution's kernel of {kernel}x{kernel}; it must be odd")

    def stock() -> nn.Cell:
        return StockConv(outputs, kernel)

    if kind in ("stock", "symmetric") or device.current() != "CPU":
        return stock()
    return native_or(lambda: NativeConv(outputs, kernel), "model.deconv", kind, stock, "stock",
                     "convolution: the native kernel is not available ({error}); using MindSpore's, which is slower")
