"""The native deconvolution against MindSpore's operator and a float64 reference, forward and all gradients."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from dgn.errors import UserError
from dgn.nets import deconv
from dgn.nets.layers import Deconv, binomial_spread
from dgn.nets.deconv import NativeDeconv, StockDeconv, SymmetricDeconv, make_deconv
from tests.reference import Gradients, numpy_deconv

# samples, inputs, outputs, kernel, stride, height, width
CASES = [(3, 5, 3, 3, 2, 4, 4), (7, 2, 17, 5, 2, 6, 3), (1, 3, 2, 4, 4, 5, 7), (2, 4, 5, 3, 4, 3, 3), (3, 3, 3, 5, 1, 8, 8),
         (2, 1, 1, 7, 2, 8, 8), (101, 9, 10, 3, 2, 4, 4)]


def draw(rng, n, inputs, outputs, kernel, stride, height, width):
    shapes = (n, inputs, height, width), (inputs, outputs, kernel, kernel), (outputs,), (n, outputs, height * stride, width * stride)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_all_operators_agree_with_numpy(case, relu, rng):
    arrays = draw(rng, *case)
    expected = numpy_deconv(*arrays, case[4], relu)
    tensors = [ms.Tensor(a) for a in arrays]
    for net in (*(kind(case[1], case[2], case[3], case[4], relu) for kind in (StockDeconv, SymmetricDeconv)),
                NativeDeconv(case[2], case[4], relu)):
        for found, wanted in zip([net(*tensors[:3]), *Gradients(net)(*tensors)], expected):
            np.testing.assert_allclose(found.asnumpy(), wanted, atol=1e-5 * max(1, np.abs(wanted).max()), err_msg=type(net).__name__)


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


def test_only_float32_is_taken(rng):
    x, weight, bias, _ = draw(rng, *CASES[0])
    with pytest.raises((RuntimeError, TypeError)):
        NativeDeconv(3, 2, False)(ms.Tensor(x.astype(np.float64)), ms.Tensor(weight), ms.Tensor(bias)).asnumpy()


def test_a_smoothed_kernel_is_the_layer_followed_by_the_binomial_filter(rng):
    plain, smooth = (Deconv(4, 3, 5, 2, np.random.default_rng(1), smooth=smooth) for smooth in (False, True))
    x = ms.Tensor(rng.standard_normal((2, 4, 8, 8)).astype(np.float32))
    found, image = smooth(x).asnumpy(), plain(x).asnumpy()
    for axis in (2, 3):
        image = 0.25 * np.roll(image, 1, axis) + 0.5 * image + 0.25 * np.roll(image, -1, axis)
    np.testing.assert_allclose(found[:, :, 1:-1, 1:-1], image[:, :, 1:-1, 1:-1], atol=1e-5)
    taps = binomial_spread(5)
    np.testing.assert_allclose((-1.0) ** np.arange(7) @ taps, 0, atol=1e-7)  # nothing is left at the Nyquist frequency
    np.testing.assert_allclose(taps.sum(0), 1)


def test_the_operator_follows_the_device_and_the_compiler(monkeypatch, tmp_path, caplog):
    assert isinstance(make_deconv("auto", 3, 2, 3, 2, True, "CPU"), NativeDeconv)
    for device in ("GPU", "Ascend"):
        assert isinstance(make_deconv("auto", 3, 2, 3, 2, True, device), StockDeconv)
        with pytest.raises(UserError, match="CPU kernel"):
            make_deconv("native", 3, 2, 3, 2, True, device)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert isinstance(make_deconv("auto", 3, 2, 3, 2, True, "CPU"), StockDeconv)
    assert "slower" in caplog.text
    with pytest.raises(UserError, match="cannot be built"):
        make_deconv("native", 3, 2, 3, 2, True, "CPU")
    assert set(deconv.KINDS) == {"auto", "stock", "symmetric", "native"}
