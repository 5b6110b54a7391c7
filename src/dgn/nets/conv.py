"""Convolution of stride 1: MindSpore's operators, or on CPU the C++ kernels of deconv_cpu.cc.

x (N, inputs, H, W), weight (outputs, inputs, K, K) with odd K, bias (outputs) or None -> (N, outputs, H, W), zero
padded. Both can be differentiated twice, which R1 needs (Eq. 22).
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from dgn.nets import choice
from dgn.nets.deconv import forward_operator, input_gradient_operator, weight_gradient_operator


class StockConv(nn.Cell):
    """ops.Conv2D and BiasAdd: the definition, and the implementation for Ascend and GPU."""

    def __init__(self, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv, self.bias_add = ops.Conv2D(outputs, kernel, pad_mode="same"), ops.BiasAdd()

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        out = self.conv(x, weight)
        return out if bias is None else self.bias_add(out, bias)


class NativeConv(nn.Cell):
    """The C++ kernels: a transposed convolution of stride 1, with the kernel flipped in H and W and its first two axes
    exchanged."""

    def __init__(self, outputs: int, kernel: int) -> None:
        super().__init__()
        self.kernel, self.flipped_conv, self.zeros = kernel, _FlippedConv(outputs), _zeros(outputs)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.kernel > 1:
            weight = ops.flip(weight, (2, 3))
        return self.flipped_conv(x, weight.transpose(1, 0, 2, 3), self.zeros if bias is None else bias)


class _FlippedConv(nn.Cell):
    """NativeConv for flipped kernels (inputs, outputs, K, K), the layout of the C++ code."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.forward = forward_operator(outputs)
        self.input_gradient, self.weight_gradient = _InputGradient(outputs), _WeightGradient(outputs)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.forward(x, weight, bias)

    def bprop(self, x, weight, bias, out, dout) -> tuple[Tensor, Tensor, Tensor]:
        dweight, dbias = self.weight_gradient(x, weight, dout)
        return self.input_gradient(x, weight, dout), dweight, dbias


class _InputGradient(nn.Cell):
    """(x, weight, dout) -> dx, linear in weight and in dout, and constant in x.

    The operator's arguments are (x, weight, out, dout). Without ReLU it needs only the shape of `out`, which equals the
    shape of dout.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.gradient, self.weight_gradient = input_gradient_operator(), weight_gradient_operator()
        self.forward, self.zeros = forward_operator(outputs), _zeros(outputs)

    def construct(self, x: Tensor, weight: Tensor, dout: Tensor) -> Tensor:
        return self.gradient(x, weight, dout, dout)

    def bprop(self, x, weight, dout, dx, ddx) -> tuple[Tensor, Tensor, Tensor]:
        dweight, _ = self.weight_gradient(ddx, weight, dout, dout)
        return ops.zeros_like(x), dweight, self.forward(ddx, weight, self.zeros)


class _WeightGradient(nn.Cell):
    """(x, weight, dout) -> (dweight, dbias), linear in x and in dout."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.gradient, self.input_gradient = weight_gradient_operator(), input_gradient_operator()
        self.forward = forward_operator(outputs)

    def construct(self, x: Tensor, weight: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return self.gradient(x, weight, dout, dout)

    def bprop(self, x, weight, dout, gradients, dgradients) -> tuple[Tensor, Tensor, Tensor]:
        ddweight, ddbias = dgradients[0], dgradients[1]
        return self.input_gradient(x, ddweight, dout, dout), ops.zeros_like(weight), self.forward(x, ddweight, ddbias)


def _zeros(outputs: int) -> Tensor:
    return Tensor(np.zeros(outputs, np.float32))


def make_conv(kind: str, outputs: int, kernel: int) -> nn.Cell:
    """The convolution for `kind`, a value of model.deconv; "symmetric" means "stock".

    Raises ValueError for an even kernel, which the two implementations would pad on different sides, and UserError, see
    choice.make.
    """
    if kernel % 2 == 0:
        raise ValueError(f"a convolution's kernel of {kernel}x{kernel}; it must be odd")

    def stock() -> nn.Cell:
        return StockConv(outputs, kernel)
    return choice.make("model.deconv", kind, {"stock": stock, "symmetric": stock,
                                              "native": lambda: NativeConv(outputs, kernel)})
