"""The three warps against a NumPy reference, forward and both gradients, also beyond the borders."""

from __future__ import annotations

import functools

import mindspore as ms
import numpy as np
import pytest

from dgn import device
from dgn.checks.reference import numpy_warp
from dgn.errors import UserError
from dgn.nets import native, warp
from dgn.nets.gradients import Gradients
from dgn.nets.warp import make_warp

KINDS = ("reference", "grid_sample", "native")
SHAPE = (2, 3, 8, 6)  # of all images that are compared in each kind


@functools.cache
def net_of(kind: str):
    """One for all tests: it is compiled once."""
    return make_warp(kind, *SHAPE[2:])


def make_case(rng, pixels: float, shape=(2, 3, 8, 8)):
    """Image, displacement of so many pixels, gradient of the warped image."""
    n, _, height, width = shape
    return [a.astype(np.float32) for a in (rng.random(shape), pixels * rng.standard_normal((n, 2, height, width)),
                                           rng.standard_normal(shape))]


@pytest.mark.parametrize("kind", KINDS)
def test_forward_and_gradients_agree_with_numpy(kind, rng):
    net = net_of(kind)
    gradients = Gradients(net)
    # within a pixel, across the image, mostly beyond its borders
    cases = {pixels: make_case(rng, pixels, SHAPE) for pixels in (0.4, 3.0, 30.0)}
    if kind != "grid_sample":  # whose normalized coordinates are rounded to either side
        image, displacement, dout = make_case(rng, 3.0, SHAPE)
        cases["whole"] = image, np.rint(displacement), dout
    for pixels, (image, displacement, dout) in cases.items():
        expected = numpy_warp(image, displacement, dout)
        tensors = [ms.Tensor(a) for a in (image, displacement, dout)]
        for a, b in zip([net(*tensors[:2]), *gradients(*tensors)], expected):
            np.testing.assert_allclose(a.asnumpy(), b, atol=1e-5 * max(1, np.abs(b).max()), err_msg=f"{pixels} pixels")


@pytest.mark.parametrize("kind", KINDS)
def test_no_displacement_is_the_identity_and_whole_pixels_are_shifts(kind, rng):
    image, zero, _ = make_case(rng, 0, SHAPE)
    net = net_of(kind)
    np.testing.assert_allclose(net(ms.Tensor(image), ms.Tensor(zero)).asnumpy(), image, atol=2e-6)
    right = zero.copy()
    right[:, 0] = 2  # every pixel takes the value two columns to its right; the border column repeats
    expected = image[..., [2, 3, 4, 5, 5, 5]]
    np.testing.assert_allclose(net(ms.Tensor(image), ms.Tensor(right)).asnumpy(), expected, atol=2e-6)


def test_nan_and_infinite_displacements_give_nan_in_their_own_pixels_only(rng):
    image, displacement, dout = make_case(rng, 3)
    displacement[0, 0, 2, 3] = np.nan
    displacement[1, 1, 5, 5] = np.inf
    tensors = [ms.Tensor(a) for a in (image, displacement, dout)]
    net = make_warp("native", 8, 8)
    out = net(*tensors[:2]).asnumpy()
    assert np.isnan(out[0, :, 2, 3]).all() and np.isnan(out).sum() == 6 - np.isfinite(out[1, :, 5, 5]).sum()
    for gradient in Gradients(net)(*tensors):
        assert np.isnan(gradient.asnumpy()).any()


def test_native_kernel_is_bitwise_repeatable(rng):
    arrays = [ms.Tensor(a) for a in make_case(rng, 3, (40, 3, 64, 64))]
    net = Gradients(make_warp("native", 64, 64))
    first = [g.asnumpy() for g in net(*arrays)]
    for repetition in range(3):
        for a, b in zip(first, net(*arrays)):
            np.testing.assert_array_equal(a, b.asnumpy(), err_msg=str(repetition))


def test_without_a_compiler_auto_falls_back_with_a_warning(monkeypatch, tmp_path, caplog):
    native.warn_once.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    net = make_warp("auto", 8, 8)
    assert isinstance(net, warp.ReferenceWarp)
    assert "no C++ compiler" in caplog.text and "slower" in caplog.text
    with pytest.raises(UserError, match="native cannot be built"):
        make_warp("native", 8, 8)


def test_the_implementation_depends_on_the_device(monkeypatch):
    assert isinstance(make_warp("auto", 8, 8), warp.NativeWarp)
    for name in ("Ascend", "GPU"):
        monkeypatch.setattr(device, "current", lambda name=name: name)
        assert isinstance(make_warp("auto", 8, 8), warp.GridSampleWarp)
        with pytest.raises(UserError, match=f"CPU kernel; on {name} use grid_sample or auto"):
            make_warp("native", 8, 8)
    with pytest.raises(UserError, match="must be one of auto, reference, native, grid_sample"):
        make_warp("fast", 8, 8)
