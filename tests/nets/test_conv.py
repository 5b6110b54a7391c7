"""The native convolution against MindSpore's and a float64 reference: forward, gradients, and the gradient of a
gradient's norm, as in R1."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from dgn import device
from dgn.checks.reference import numpy_conv
from dgn.errors import UserError
from dgn.nets import native
from dgn.nets.conv import NativeConv, StockConv, make_conv
from dgn.nets.discriminator import Discriminator
from dgn.nets.gradients import Gradients
from dgn.training.adversarial import CriticLoss

# samples, inputs, outputs, kernel, H, W
CASES = [(3, 2, 5, 3, 8, 8), (5, 4, 1, 1, 4, 6), (2, 1, 3, 5, 7, 9), (70, 3, 4, 3, 4, 4)]


def draw(rng, n, inputs, outputs, kernel, height, width):
    """x, weight, bias and dout."""
    shapes = (n, inputs, height, width), (outputs, inputs, kernel, kernel), (outputs,), (n, outputs, height, width)
    return [ms.Tensor(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]


def both(case):
    return StockConv(case[2], case[3]), NativeConv(case[2], case[3])


@pytest.mark.parametrize("case", CASES)
def test_forward_and_gradients_agree_with_numpy(case, rng):
    arrays = draw(rng, *case)
    x, weight, bias, dout = (a.asnumpy() for a in arrays)
    out, *gradients = numpy_conv(x, weight, bias, dout)
    for net in both(case):
        for actual, expected in zip([net(*arrays[:3]), *Gradients(net)(*arrays)], (out, *gradients)):
            np.testing.assert_allclose(actual.asnumpy(), expected, atol=1e-5 * max(1, np.abs(expected).max()),
                                       err_msg=type(net).__name__)
        np.testing.assert_allclose(net(*arrays[:2]).asnumpy(), out - bias[:, None, None], atol=1e-5 * np.abs(out).max())


class Nonlinear(nn.Cell):
    """Sum of tanh(convolution): its gradient to x depends on x."""

    def __init__(self, conv: nn.Cell) -> None:
        super().__init__()
        self.conv = conv

    def construct(self, *inputs):
        return ops.reduce_sum(ops.tanh(self.conv(*inputs)))


class GradientNorm(nn.Cell):
    """Weighted sum of |d Nonlinear / d input|^2 over the inputs."""

    def __init__(self, conv: nn.Cell) -> None:
        super().__init__()
        self.gradients = ops.GradOperation(get_all=True)
        self.function = Nonlinear(conv)

    def construct(self, *inputs):
        total, weight = 0.0, 1.0
        for gradient in self.gradients(self.function)(*inputs):
            total, weight = total + weight * ops.reduce_sum(ops.square(gradient)), weight / 2
        return total


@pytest.mark.parametrize("case", CASES)
def test_second_derivatives_agree(case, rng):
    arrays = draw(rng, *case)[:3]
    stock, cpp = (ms.value_and_grad(GradientNorm(net), (0, 1, 2))(*arrays) for net in both(case))
    np.testing.assert_allclose(cpp[0].asnumpy(), stock[0].asnumpy(), rtol=1e-4)
    for a, b in zip(stock[1], cpp[1]):
        np.testing.assert_allclose(b.asnumpy(), a.asnumpy(), atol=1e-4 * np.abs(a.asnumpy()).max())


def test_a_step_of_the_critic_is_the_same_with_both(rng):
    images = [ms.Tensor(rng.random((3, 3, 8, 8)).astype(np.float32)) for _ in range(2)]
    results = []
    for kind in ("stock", "native"):
        net = Discriminator(3, 8, 2, seed=1, kind=kind)
        step = ms.value_and_grad(CriticLoss(net, 3.0), None, ms.ParameterTuple(net.trainable_params()), has_aux=True)
        outputs, gradients = step(*images)
        results.append([a.asnumpy() for a in (*outputs, *gradients)])
    for a, b in zip(*results):
        np.testing.assert_allclose(b, a, atol=1e-5 * max(1e-3, np.abs(a).max()))


def test_the_implementation_depends_on_device_and_compiler(monkeypatch, tmp_path, caplog):
    assert isinstance(make_conv("auto", 3, 3), NativeConv)
    with monkeypatch.context() as patch:
        for kind, name in (("stock", "CPU"), ("symmetric", "CPU"), ("auto", "GPU"), ("auto", "Ascend")):
            patch.setattr(device, "current", lambda name=name: name)
            assert isinstance(make_conv(kind, 3, 3), StockConv)
        with pytest.raises(UserError, match="CPU kernel"):
            make_conv("native", 3, 3)
    with pytest.raises(UserError, match="must be one of"):
        make_conv("fast", 3, 3)
    with pytest.raises(ValueError, match="must be odd"):
        make_conv("auto", 3, 2)
    native.warn_once.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert isinstance(make_conv("auto", 3, 3), StockConv) and "slower" in caplog.text
    with pytest.raises(UserError, match="cannot be built"):
        make_conv("native", 3, 3)
