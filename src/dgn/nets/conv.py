"""Convolution of stride 1 with bias: MindSpore's operators, or on CPU the kernels of deconv_cpu.cc.

x (N, inputs, H, W), weight (outputs, inputs, K, K), bias (outputs) -> (N, outputs, H, W), with zeros around. Both can be
differentiated twice, as R1 must be (Eq. 22).
"""

from __future__ import annotations

from typing import Tuple

from mindspore import Tensor, nn, ops

from dgn.nets.deconv import KINDS
from dgn.nets.native import check_choice, native_or, operator


class StockConv(nn.Cell):
    """ops.Conv2D and BiasAdd: for Ascend and GPU, and the definition."""

    def __init__(self, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv, self.bias_add = ops.Conv2D(outputs, kernel, pad_mode="same"), ops.BiasAdd()

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.bias_add(self.conv(x, weight), bias)


class NativeConv(nn.Cell):
    """The transposed convolution of stride 1 with kernels turned by half a circle, inputs and outputs exchanged."""

    def __init__(self, outputs: int, kernel: int) -> None:
        super().__init__()
        self.kernel, self.turned = kernel, _TurnedConv(outputs)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.kernel > 1:
            weight = ops.flip(weight, (2, 3))
        return self.turned(x, weight.transpose(1, 0, 2, 3), bias)


class _TurnedConv(nn.Cell):
    """NativeConv with kernels (inputs, outputs, K, K) as the C++ code takes them."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.forward = _forward(outputs)
        self.input_gradient, self.weight_gradient = _InputGradient(outputs), _WeightGradient(outputs)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.forward(x, weight, bias)

    def bprop(self, x, weight, bias, out, dout) -> Tuple[Tensor, Tensor, Tensor]:
        dweight, dbias = self.weight_gradient(x, weight, dout)
        return self.input_gradient(x, weight, dout), dweight, dbias


class _InputGradient(nn.Cell):
    """(x, weight, dout) -> dx, linear in weight and in dout."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.gradient, self.weight_gradient, self.forward = _input_gradient(), _weight_gradient(), _forward(outputs)
        self.zeros = ops.zeros(outputs)

    def construct(self, x: Tensor, weight: Tensor, dout: Tensor) -> Tensor:
        return self.gradient(x, weight, dout, dout)

    def bprop(self, x, weight, dout, dx, ddx) -> Tuple[Tensor, Tensor, Tensor]:
        dweight, _ = self.weight_gradient(ddx, weight, dout, dout)
        return ops.zeros_like(x), dweight, self.forward(ddx, weight, self.zeros)


class _WeightGradient(nn.Cell):
    """(x, weight, dout) -> (dweight, dbias), linear in x and in dout."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.gradient, self.input_gradient, self.forward = _weight_gradient(), _input_gradient(), _forward(outputs)

    def construct(self, x: Tensor, weight: Tensor, dout: Tensor) -> Tuple[Tensor, Tensor]:
        return self.gradient(x, weight, dout, dout)

    def bprop(self, x, weight, dout, gradients, moved) -> Tuple[Tensor, Tensor, Tensor]:
        return self.input_gradient(x, moved[0], dout, dout), ops.zeros_like(weight), self.forward(x, moved[0], moved[1])


# The C++ gradients take the forward result too, which only a ReLU would need; dout stands in for it.

def _forward(outputs: int) -> ops.Custom:
    return operator("deconv_cpu.cc", "DeconvForward", lambda x, weight, bias: (
        [x[0], outputs, x[2], x[3]] if isinstance(x, (list, tuple)) else x))


def _input_gradient() -> ops.Custom:
    return operator("deconv_cpu.cc", "DeconvInputGradient", lambda x, weight, out, dout: x)


def _weight_gradient() -> ops.Custom:
    return operator("deconv_cpu.cc", "DeconvWeightGradient", lambda x, weight, out, dout: (
        weight, [weight[1]] if isinstance(weight, (list, tuple)) else weight))


def make_conv(kind: str, outputs: int, kernel: int, device: str = "CPU") -> nn.Cell:
    """The operator that `kind`, a value of model.deconv, names; "auto" is native on CPU (stock if it cannot be built), stock
    elsewhere."""
    check_choice("model.deconv", kind, KINDS, device, "stock")

    def stock() -> nn.Cell:
        return StockConv(outputs, kernel)

    if kind in ("stock", "symmetric") or device != "CPU":
        return stock()
    return native_or(lambda: NativeConv(outputs, kernel), "model.deconv", kind, stock, "stock",
                     "convolution: the native kernel is not available ({error}); using MindSpore's, which is slower")
