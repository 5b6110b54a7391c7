"""The definitions in NumPy, float64, written for reading: what the operators are compared with."""

from __future__ import annotations

import numpy as np
from mindspore import nn, ops


class Gradients(nn.Cell):
    """Gradients of sum(dout * net(*inputs)) to every input; called with the inputs, then dout."""

    def __init__(self, net: nn.Cell) -> None:
        super().__init__()
        self.net, self.gradient = net, ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, *inputs_and_dout):
        return self.gradient(self.net)(*inputs_and_dout)


def numpy_warp(image: np.ndarray, displacement: np.ndarray, dout: np.ndarray):
    """Eq. 2-4 in float64, pixel by pixel: the warped image and the gradients of sum(dout * warped)."""
    n, channels, height, width = image.shape
    out, dimage, dfield = np.zeros(image.shape), np.zeros(image.shape), np.zeros(displacement.shape)
    for s in range(n):
        for y in range(height):
            for x in range(width):
                u, v = x + float(displacement[s, 0, y, x]), y + float(displacement[s, 1, y, x])
                uc, vc = min(max(u, 0), width - 1), min(max(v, 0), height - 1)
                free = float(0 < u < width - 1), float(0 < v < height - 1)
                for i in {int(np.floor(uc)), min(int(np.floor(uc)) + 1, width - 1)}:
                    for j in {int(np.floor(vc)), min(int(np.floor(vc)) + 1, height - 1)}:
                        wu, wv = max(0, 1 - abs(uc - i)), max(0, 1 - abs(vc - j))
                        out[s, :, y, x] += image[s, :, j, i] * wu * wv
                        dimage[s, :, j, i] += dout[s, :, y, x] * wu * wv
                        pull = float(image[s, :, j, i] @ dout[s, :, y, x])
                        # the slope of M(1 - |u - i|): towards a neighbour on the right it rises
                        dfield[s, 0, y, x] += free[0] * pull * wv * (1 if i > uc else -1)
                        dfield[s, 1, y, x] += free[1] * pull * wu * (1 if j > vc else -1)
    return out, dimage, dfield


def numpy_deconv(x, weight, bias, dout, stride, relu):
    """Output and the gradients of sum(dout * output) to x, weight and bias in float64, tap by tap."""
    x, weight, bias, dout = (a.astype(np.float64) for a in (x, weight, bias, dout))
    n, inputs, height, width = x.shape
    kernel, crop = weight.shape[-1], max(weight.shape[-1] - stride, 0) // 2
    full = np.zeros((n, weight.shape[1], height * stride + kernel, width * stride + kernel))
    windows = [(k, l, np.s_[:, :, k:k + height * stride:stride, l:l + width * stride:stride]) for k in range(kernel) for l in range(kernel)]
    for k, l, window in windows:
        full[window] += np.einsum("nchw,co->nohw", x, weight[:, :, k, l])
    inside = np.s_[:, :, crop:crop + height * stride, crop:crop + width * stride]
    out = full[inside] + bias[:, None, None]
    if relu:
        dout, out = dout * (out > 0), np.maximum(out, 0)
    slope, dx, dweight = np.zeros_like(full), np.zeros_like(x), np.zeros_like(weight)
    slope[inside] = dout
    for k, l, window in windows:
        dx += np.einsum("nohw,co->nchw", slope[window], weight[:, :, k, l])
        dweight[:, :, k, l] = np.einsum("nchw,nohw->co", x, slope[window])
    return out, dx, dweight, dout.sum((0, 2, 3))


def numpy_stack(weights, prefix, plan, z):
    """A DeconvStack in float64; weights: parameters by name."""
    x = np.maximum(z @ weights[f"{prefix}.dense.weight"] + weights[f"{prefix}.dense.bias"], 0)
    x = x.reshape(len(z), plan.channels, plan.side, plan.side)
    names = [f"{prefix}.hidden.{k}" for k in range(len(plan.layers) - 1)] + [f"{prefix}.last"]
    for name, layer in zip(names, plan.layers):
        dout = np.zeros((len(x), layer.outputs, layer.stride * x.shape[2], layer.stride * x.shape[3]))
        x = numpy_deconv(x, weights[f"{name}.weight"], weights[f"{name}.bias"], dout, layer.stride, name != names[-1])[0]
    return np.tanh(x)
