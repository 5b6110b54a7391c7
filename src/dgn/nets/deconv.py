"""Transposed convolution with bias and optional ReLU: MindSpore's operators, or C++ kernels on CPU.

x (N, inputs, H, W), weight (inputs, outputs, K, K), bias (outputs) -> (N, outputs, S * H, S * W), cropped as
TensorFlow's SAME. MindSpore's convolutions on CPU multiply matrices separately for each image; at the small sizes of
these generators the kernels of deconv_cpu.cc are several times faster (`python -m dgn bench parts`).
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from dgn.nets import choice
from dgn.nets.native import operator


class StockDeconv(nn.Cell):
    """ops.Conv2DTranspose, BiasAdd and ReLU: the definition, and the implementation for Ascend, GPU and export."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, relu: bool) -> None:
        super().__init__()
        self.outputs, self.stride = outputs, stride
        # out_channel is the number of output channels of the convolution that this operator transposes
        self.deconv = ops.Conv2DTranspose(out_channel=inputs, kernel_size=kernel, pad_mode="same", stride=stride)
        self.bias_add = ops.BiasAdd()
        self.relu = relu

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        n, _, height, width = x.shape
        x = self.bias_add(self.deconv(x, weight, (n, self.outputs, height * self.stride, width * self.stride)), bias)
        return ops.relu(x) if self.relu else x


class SymmetricDeconv(nn.Cell):
    """StockDeconv with equal crops on both sides, for ONNX: if kernel - stride is odd, a row and a column of zeros are
    put before the kernel. (MindSpore 2.10 exports uneven crops to ONNX with exchanged sides, which shifts the image by
    a pixel in every such layer.)"""

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
    """The kernels of deconv_cpu.cc. The gradients with respect to input and weights are separate operators, so that
    Langevin dynamics computes only the first."""

    def __init__(self, outputs: int, stride: int, relu: bool) -> None:
        super().__init__()
        self.forward = forward_operator(outputs, stride, relu)
        self.input_gradient, self.weight_gradient = input_gradient_operator(relu), weight_gradient_operator(relu)

    def construct(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return self.forward(x, weight, bias)

    def bprop(self, x, weight, bias, out, dout) -> tuple[Tensor, Tensor, Tensor]:
        dweight, dbias = self.weight_gradient(x, weight, out, dout)
        return self.input_gradient(x, weight, out, dout), dweight, dbias


# MindSpore calls the lambda functions below with the shapes of the inputs (lists), and with their types.

def forward_operator(outputs: int, stride: int = 1, relu: bool = False) -> ops.Custom:
    """(x, weight, bias) -> out."""
    return operator("deconv_cpu.cc", f"{_prefix(relu)}Forward", lambda x, weight, bias: (
        [x[0], outputs, x[2] * stride, x[3] * stride] if isinstance(x, (list, tuple)) else x))


def input_gradient_operator(relu: bool = False) -> ops.Custom:
    """(x, weight, out, dout) -> dx. Only the shape of x is used, and without ReLU only the shape of out."""
    return operator("deconv_cpu.cc", f"{_prefix(relu)}InputGradient", lambda x, weight, out, dout: x)


def weight_gradient_operator(relu: bool = False) -> ops.Custom:
    """(x, weight, out, dout) -> (dweight, dbias). Only the shape of weight is used, and without ReLU only the shape of
    out."""
    return operator("deconv_cpu.cc", f"{_prefix(relu)}WeightGradient", lambda x, weight, out, dout: (
        weight, [weight[1]] if isinstance(weight, (list, tuple)) else weight))


def _prefix(relu: bool) -> str:
    return "DeconvRelu" if relu else "Deconv"


def make_deconv(kind: str, inputs: int, outputs: int, kernel: int, stride: int, relu: bool) -> nn.Cell:
    """The deconvolution for `kind`, a value of model.deconv. Raises UserError, see choice.make."""
    sizes = inputs, outputs, kernel, stride, relu
    return choice.make("model.deconv", kind, {
        "stock": lambda: StockDeconv(*sizes), "symmetric": lambda: SymmetricDeconv(*sizes),
        "native": lambda: NativeDeconv(outputs, stride, relu)})
