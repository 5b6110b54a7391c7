"""The three warps against a NumPy reference, forward and both gradients, at borders too."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from dgn.errors import UserError
from dgn.nets import native, warp
from dgn.nets.warp import make_warp
from tests.reference import Gradients, numpy_warp

KINDS = ("reference", "grid_sample", "native")


def case(rng, reach: float, shape=(2, 3, 8, 8)):
    n, _, height, width = shape
    return [a.astype(np.float32) for a in (rng.random(shape), reach * rng.standard_normal((n, 2, height, width)),
                                           rng.standard_normal(shape))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reach", [0.4, 3.0, 30.0])  # within a pixel, across the image, mostly beyond its borders
def test_forward_and_gradients_agree_with_numpy(kind, reach, rng):
    image, displacement, dout = case(rng, reach)
    expected = numpy_warp(image, displacement, dout)
    tensors = [ms.Tensor(a) for a in (image, displacement, dout)]
    net = make_warp(kind, 8, 8)
    found = [net(*tensors[:2]), *Gradients(net)(*tensors)]
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a.asnumpy(), b, atol=1e-5 * max(1, np.abs(b).max()))


@pytest.mark.parametrize("kind", KINDS)
def test_no_displacement_is_the_identity_and_whole_pixels_are_shifts(kind, rng):
    image, _, _ = case(rng, 1, (1, 3, 16, 8))
    net = make_warp(kind, 16, 8)
    still = np.zeros((1, 2, 16, 8), np.float32)
    np.testing.assert_allclose(net(ms.Tensor(image), ms.Tensor(still)).asnumpy(), image, atol=2e-6)
    right = still.copy()
    right[:, 0] = 2  # every pixel shows what lies two columns to its right; the border column repeats
    expected = image[..., [*range(2, 8), 7, 7]]
    np.testing.assert_allclose(net(ms.Tensor(image), ms.Tensor(right)).asnumpy(), expected, atol=2e-6)


def test_what_is_no_number_shows_and_stays_in_its_pixels(rng):
    image, displacement, dout = case(rng, 3)
    displacement[0, 0, 2, 3] = np.nan
    displacement[1, 1, 5, 5] = np.inf
    tensors = [ms.Tensor(a) for a in (image, displacement, dout)]
    net = make_warp("native", 8, 8)
    out = net(*tensors[:2]).asnumpy()
    assert np.isnan(out[0, :, 2, 3]).all() and np.isnan(out).sum() == 6 - np.isfinite(out[1, :, 5, 5]).sum()
    for gradient in Gradients(net)(*tensors):
        assert np.isnan(gradient.asnumpy()).any()


def test_native_kernel_is_bitwise_repeatable(rng):
    arrays = [ms.Tensor(a) for a in case(rng, 3, (40, 3, 64, 64))]
    net = Gradients(make_warp("native", 64, 64))
    first = [g.asnumpy() for g in net(*arrays)]
    for again in range(3):
        for a, b in zip(first, net(*arrays)):
            np.testing.assert_array_equal(a, b.asnumpy(), err_msg=str(again))


def test_without_a_compiler_auto_falls_back_and_says_so(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    net = make_warp("auto", 8, 8, "CPU")
    assert isinstance(net, warp.ReferenceWarp)
    assert "no C++ compiler" in caplog.text and "slower" in caplog.text
    with pytest.raises(UserError, match="native cannot be built"):
        make_warp("native", 8, 8, "CPU")


def test_devices_get_the_warp_made_for_them():
    assert isinstance(make_warp("auto", 8, 8, "Ascend"), warp.GridSampleWarp)
    assert isinstance(make_warp("auto", 8, 8, "GPU"), warp.GridSampleWarp)
    assert isinstance(make_warp("auto", 8, 8, "CPU"), warp.NativeWarp)
    with pytest.raises(UserError, match="CPU kernel"):
        make_warp("native", 8, 8, "GPU")


def test_a_library_is_built_once_and_a_broken_source_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("DGN_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "answer.cc"
    source.write_text('extern "C" int Answer() { return 42; }\n')
    library = native.build(source)
    built = library.stat().st_mtime_ns
    assert native.build(source) == library and library.stat().st_mtime_ns == built
    source.write_text("not C++\n")
    with pytest.raises(native.BuildError, match="failed"):
        native.build(source)
