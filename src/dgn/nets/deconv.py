"""Transposed convolution with bias and optional ReLU: MindSpore's operators, or a C++ kernel on CPU.

x (N, inputs, H, W), weight (inputs, outputs, K, K), bias (outputs) -> (N, outputs, S * H, S * W), cropped as
TensorFlow's SAME. MindSpore's convolutions on CPU multiply matrices image by image; at the small sizes of these
generators the kernel of deconv_cpu.cc is several times faster (`python -m dgn bench`).
"""

from __future__ import annotations

from typing import Tuple

from mindspore import Tensor, nn, ops

from dgn import device
from dgn.nets.native import check_choice, native_or, operator

KINDS = ("auto", "stock", "symmetric", "native")


class StockDeconv(nn.Cell):
    """ops.Conv2DTranspose, BiasAdd and ReLU: for Ascend and GPU, for export, and the definition."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, relu: bool) -> None:
        super().__init__()
        self.outputs, self.stride = outputs, stride
        # out_channel is, in this operator's terms, the number of channels of the convolution that it transposes
        self.deconv = ops.Conv2DTranspose(out_channel=inputs, kernel_size=kernel, pad_mode="same", stride=stride)
        self.bias_add = ops.BiasAdd()
        self.relu = relu

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        n, _, height, width = x.shape
        x = self.bias_add(self.deconv(x, weight, (n, self.outputs, height * self.stride, width * self.stride)), bias)
        return ops.relu(x) if self.relu else x


class SymmetricDeconv(nn.Cell):
    """StockDeconv with kernels whose crop is the same on both sides, for ONNX: where kernel - stride is odd, a row and a
    column of zeros come before the kernel. (MindSpore 2.10 writes an uneven crop to ONNX the wrong way round, a shift by one
    pixel in every such layer.)"""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, relu: bool) -> None:
        super().__init__()
        self.uneven = kernel > stride and (kernel - stride) % 2 == 1
        self.kernel = kernel
        self.stock = StockDeconv(inputs, outputs, kernel + 1 if self.uneven else kernel, stride, relu)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if self.uneven:
            inputs, outputs = weight.shape[:2]
            weight = ops.cat((ops.zeros((inputs, outputs, 1, self.kernel), weight.dtype), weight), 2)
            weight = ops.cat((ops.zeros((inputs, outputs, self.kernel + 1, 1), weight.dtype), weight), 3)
        return self.stock(x, weight, bias)


class NativeDeconv(nn.Cell):
    """The kernels of deconv_cpu.cc. The gradients to the input and to the weights are operators of their own, so that
    Langevin dynamics, which needs only the first, runs only that."""

    def __init__(self, outputs: int, stride: int, relu: bool) -> None:
        super().__init__()
        self.forward = forward_operator(outputs, stride, relu)
        self.input_gradient, self.weight_gradient = input_gradient_operator(relu), weight_gradient_operator(relu)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.forward(x, weight, bias)

    def bprop(self, x, weight, bias, out, dout) -> Tuple[Tensor, Tensor, Tensor]:
        dweight, dbias = self.weight_gradient(x, weight, out, dout)
        return self.input_gradient(x, weight, out, dout), dweight, dbias


# An operator's result is told from its inputs' shapes, and from their types.

def forward_operator(outputs: int, stride: int = 1, relu: bool = False) -> ops.Custom:
    """(x, weight, bias) -> out."""
    return operator("deconv_cpu.cc", f"{_name(relu)}Forward", lambda x, weight, bias: (
        [x[0], outputs, x[2] * stride, x[3] * stride] if isinstance(x, (list, tuple)) else x))


def input_gradient_operator(relu: bool = False) -> ops.Custom:
    """(x, weight, out, dout) -> dx. Of x only the shape counts, and of out too unless there is a ReLU."""
    return operator("deconv_cpu.cc", f"{_name(relu)}InputGradient", lambda x, weight, out, dout: x)


def weight_gradient_operator(relu: bool = False) -> ops.Custom:
    """(x, weight, out, dout) -> (dweight, dbias). Of weight only the shape counts, and of out too unless there is a ReLU."""
    return operator("deconv_cpu.cc", f"{_name(relu)}WeightGradient", lambda x, weight, out, dout: (
        weight, [weight[1]] if isinstance(weight, (list, tuple)) else weight))


def _name(relu: bool) -> str:
    return "DeconvRelu" if relu else "Deconv"


def make_deconv(kind: str, inputs: int, outputs: int, kernel: int, stride: int, relu: bool) -> nn.Cell:
    """The operator named by `kind`; "auto" is native on CPU (stock if it cannot be built), stock elsewhere."""
    check_choice("model.deconv", kind, KINDS, "stock")
    if kind == "symmetric":
        return SymmetricDeconv(inputs, outputs, kernel, stride, relu)

    def stock() -> nn.Cell:
        return StockDeconv(inputs, outputs, kernel, stride, relu)

    if kind == "stock" or device.current() != "CPU":
        return stock()
    return native_or(lambda: NativeDeconv(outputs, stride, relu), "model.deconv", kind, stock, "stock",
                     "deconvolution: the native kernel is not available ({error}); using MindSpore's, which is slower")
