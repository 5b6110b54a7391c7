"""The native deconvolution and MindSpore's against a float64 reference, forward and all gradients."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from dgn import config as cfg
from dgn import device
from dgn.checks.reference import numpy_deconv
from dgn.errors import UserError
from dgn.nets import native
from dgn.nets.deconv import NativeDeconv, StockDeconv, SymmetricDeconv, make_deconv
from dgn.nets.gradients import Gradients
from dgn.nets.layers import Deconv, LayerOptions, LayerShape, binomial_spread

# samples, inputs, outputs, kernel, stride, height, width
CASES = [(3, 5, 3, 3, 2, 4, 4), (7, 2, 17, 5, 2, 6, 3), (1, 3, 2, 4, 4, 5, 7), (2, 4, 5, 3, 4, 3, 3),
         (3, 3, 3, 5, 1, 8, 8), (2, 1, 1, 7, 2, 8, 8), (101, 9, 10, 3, 2, 4, 4)]


def draw(rng, n, inputs, outputs, kernel, stride, height, width):
    """x, weight, bias and dout."""
    shapes = ((n, inputs, height, width), (inputs, outputs, kernel, kernel), (outputs,),
              (n, outputs, height * stride, width * stride))
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_all_operators_agree_with_numpy(case, relu, rng):
    arrays = draw(rng, *case)
    expected = numpy_deconv(*arrays, case[4], relu)
    tensors = [ms.Tensor(a) for a in arrays]
    for net in (*(kind(*case[1:5], relu) for kind in (StockDeconv, SymmetricDeconv)),
                NativeDeconv(case[2], case[4], relu)):
        for a, b in zip([net(*tensors[:3]), *Gradients(net)(*tensors)], expected):
            np.testing.assert_allclose(a.asnumpy(), b, atol=1e-5 * max(1, np.abs(b).max()), err_msg=type(net).__name__)


def test_results_do_not_depend_on_threads_or_repetition(rng, monkeypatch):
    tensors = [ms.Tensor(a) for a in draw(rng, 64, 12, 10, 5, 2, 16, 16)]
    net = Gradients(NativeDeconv(10, 2, True))
    results = []
    for threads in ("1", "2", "5", "2"):
        monkeypatch.setenv("DGN_THREADS", threads)
        results.append([g.asnumpy() for g in net(*tensors)])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


def test_only_float32_is_accepted(rng):
    x, weight, bias, _ = draw(rng, *CASES[0])
    with pytest.raises((RuntimeError, TypeError)):
        NativeDeconv(3, 2, False)(ms.Tensor(x.astype(np.float64)), ms.Tensor(weight), ms.Tensor(bias)).asnumpy()


def test_a_smoothed_kernel_is_the_layer_followed_by_the_binomial_filter(rng):
    plain, smooth = (Deconv(4, LayerShape(3, 5, 2), np.random.default_rng(1), LayerOptions(smooth=smooth))
                     for smooth in (False, True))
    x = ms.Tensor(rng.standard_normal((2, 4, 8, 8)).astype(np.float32))
    smoothed, image = smooth(x).asnumpy(), plain(x).asnumpy()
    for axis in (2, 3):
        image = 0.25 * np.roll(image, 1, axis) + 0.5 * image + 0.25 * np.roll(image, -1, axis)
    np.testing.assert_allclose(smoothed[:, :, 1:-1, 1:-1], image[:, :, 1:-1, 1:-1], atol=1e-5)
    taps = binomial_spread(5)
    np.testing.assert_allclose((-1.0) ** np.arange(7) @ taps, 0, atol=1e-7)  # no energy at the Nyquist frequency
    np.testing.assert_allclose(taps.sum(0), 1)


def test_the_implementation_depends_on_device_and_compiler(monkeypatch, tmp_path, caplog):
    sizes = 3, 2, 3, 2, True
    assert isinstance(make_deconv("auto", *sizes), NativeDeconv)
    assert isinstance(make_deconv("symmetric", *sizes), SymmetricDeconv)
    with monkeypatch.context() as patch:
        for name in ("GPU", "Ascend"):
            patch.setattr(device, "current", lambda name=name: name)
            assert isinstance(make_deconv("auto", *sizes), StockDeconv)
            with pytest.raises(UserError, match="CPU kernel"):
                make_deconv("native", *sizes)
    native.warn_once.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert isinstance(make_deconv("auto", *sizes), StockDeconv)
    assert "slower" in caplog.text
    with pytest.raises(UserError, match="cannot be built"):
        make_deconv("native", *sizes)


def test_the_kinds_are_those_of_the_config():
    for name in cfg.Model.__dataclass_fields__["deconv"].metadata["options"]:
        make_deconv(name, 3, 2, 3, 2, True)
    with pytest.raises(UserError, match="must be one of auto, stock, symmetric, native"):
        make_deconv("fast", 3, 2, 3, 2, True)
