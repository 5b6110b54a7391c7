"""Simple definitions in NumPy, float64, with which operators and models are compared, also by the tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dgn.nets.model import Arrays
from dgn.nets.stack import Architecture


def numpy_warp(image: np.ndarray, displacement: np.ndarray, dout: np.ndarray) -> Arrays:
    """Eq. 2-4 as a sum over all pixels (i, j): the warped image, and the gradients of sum(dout * warped) with respect
    to image and displacement."""
    _, _, height, width = image.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    u_weights, u_derivatives = _interpolation(x + displacement[:, 0], width)
    v_weights, v_derivatives = _interpolation(y + displacement[:, 1], height)
    image, dout = image.astype(np.float64), dout.astype(np.float64)
    out = _contract("ncji,nyxi,nyxj->ncyx", image, u_weights, v_weights)
    dimage = _contract("ncyx,nyxi,nyxj->ncji", dout, u_weights, v_weights)
    du = _contract("ncji,ncyx,nyxi,nyxj->nyx", image, dout, u_derivatives, v_weights)
    dv = _contract("ncji,ncyx,nyxi,nyxj->nyx", image, dout, u_weights, v_derivatives)
    return out, dimage, np.stack([du, dv], 1)


def _interpolation(u: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """M(1 - |u - i|) of Eq. 4 for every i, with u clamped to the image, and its derivative with respect to u
    (from the right at integers, 0 where u is clamped), (..., size) each."""
    inside, u, i = (u > 0) & (u < size - 1), np.clip(u, 0, size - 1)[..., None], np.arange(size)
    derivative = (i == np.floor(u) + 1).astype(np.float64) - (i == np.floor(u))
    return np.maximum(0, 1 - np.abs(u - i)), derivative * inside[..., None]


def _contract(subscripts: str, *arrays: np.ndarray) -> np.ndarray:
    return np.einsum(subscripts, *arrays, optimize=True)


def numpy_deconv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dout: np.ndarray, stride: int,
                 relu: bool) -> Arrays:
    """A transposed convolution: output, and gradients of sum(dout * output) with respect to x, weight and bias."""
    x, weight, bias, dout = (a.astype(np.float64) for a in (x, weight, bias, dout))
    n, inputs, height, width = x.shape
    kernel, crop = weight.shape[-1], max(weight.shape[-1] - stride, 0) // 2
    full = np.zeros((n, weight.shape[1], height * stride + kernel, width * stride + kernel))  # before the crop
    taps = [(k, l, np.s_[:, :, k:k + height * stride:stride, l:l + width * stride:stride])
            for k, l in np.ndindex(kernel, kernel)]
    for k, l, window in taps:
        full[window] += _contract("nchw,co->nohw", x, weight[:, :, k, l])
    cropped = np.s_[:, :, crop:crop + height * stride, crop:crop + width * stride]
    out = full[cropped] + bias[:, None, None]
    if relu:
        dout, out = dout * (out > 0), np.maximum(out, 0)
    dfull, dx, dweight = np.zeros_like(full), np.zeros_like(x), np.zeros_like(weight)
    dfull[cropped] = dout
    for k, l, window in taps:
        dx += _contract("nohw,co->nchw", dfull[window], weight[:, :, k, l])
        dweight[:, :, k, l] = _contract("nchw,nohw->co", x, dfull[window])
    return out, dx, dweight, dout.sum((0, 2, 3))


def numpy_conv(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dout: np.ndarray) -> Arrays:
    """A convolution of stride 1 with an odd kernel, computed as a transposed convolution with flipped kernels; returns
    output and gradients like numpy_deconv."""
    def flipped(kernels: np.ndarray) -> np.ndarray:
        return kernels[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)

    out, dx, dweight, dbias = numpy_deconv(x, flipped(weight), bias, dout, 1, False)
    return out, dx, flipped(dweight), dbias


def numpy_stack(weights: Mapping[str, np.ndarray], prefix: str, architecture: Architecture,
                z: np.ndarray) -> np.ndarray:
    """A DeconvStack, (N, d) -> (N, outputs, H, W); weights: parameters by name, as the layers use them."""
    x = np.maximum(z @ weights[f"{prefix}.dense.weight"] + weights[f"{prefix}.dense.bias"], 0)
    x = x.reshape(len(z), architecture.channels, architecture.side, architecture.side)
    names = [f"{prefix}.hidden.{k}" for k in range(len(architecture.layers) - 1)] + [f"{prefix}.last"]
    for name, (outputs, _, stride) in zip(names, architecture.layers):
        dout = np.zeros((len(x), outputs, stride * x.shape[2], stride * x.shape[3]))
        x, *_ = numpy_deconv(x, weights[f"{name}.weight"], weights[f"{name}.bias"], dout, stride, name != names[-1])
    return np.tanh(x)
