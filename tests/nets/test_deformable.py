"""The deformable generator: Table 4, and the effect of every option of model."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from dgn import config as cfg
from dgn import device
from dgn.checks.reference import numpy_warp
from dgn.evaluation.displacement import canonical_frame
from dgn.nets import deformable, stack
from dgn.nets.deconv import NativeDeconv, StockDeconv, SymmetricDeconv
from dgn.nets.deformable import DeformableGenerator, spline_weights
from dgn.nets.layers import Deconv, parameter_count, truncated_normal
from dgn.nets.model import decode


def build(size=64, channels=3, seed=1, **model) -> DeformableGenerator:
    return DeformableGenerator(cfg.Model(**model), channels, size, seed)


def latents(count, rng, sizes=(64, 64)):
    return [rng.standard_normal((count, size)).astype(np.float32) for size in sizes]


def layer_shapes(branch):
    layers = [*branch.stack.hidden, branch.stack.last]
    return [branch.stack.dense.weight.shape, *(layer.weight.shape for layer in layers)]


def test_table_4():
    model = build()
    appearance, geometry = map(layer_shapes, model.branches)
    assert appearance == [(64, 16 * 80), (80, 40, 3, 3), (40, 20, 3, 3), (20, 10, 5, 5), (10, 3, 5, 5)]
    assert geometry == [(64, 16 * 128), (128, 64, 3, 3), (64, 32, 3, 3), (32, 16, 5, 5), (16, 2, 5, 5)]
    assert all(layer.stride == 2 for layer in model.branches[0].stack.hidden)
    weights = 64 * 1280 + 80 * 40 * 9 + 40 * 20 * 9 + 20 * 10 * 25 + 10 * 3 * 25 + 1280 + 40 + 20 + 10 + 3
    assert parameter_count(model.branches[0]) == weights
    assert model.branches[1].scale == 20


@pytest.mark.parametrize("size, channels", [(16, 1), (32, 3), (64, 3), (128, 1)])
def test_shapes_and_ranges_at_every_size(size, channels, rng):
    model = build(size, channels, width=32)
    decoded = decode(model, *latents(2, rng))
    assert decoded.image.shape == decoded.appearance.shape == (2, channels, size, size)
    assert decoded.displacement.shape == (2, 2, size, size)
    assert decoded.appearance.min() >= 0 and decoded.appearance.max() <= 1
    assert decoded.image.min() >= 0 and decoded.image.max() <= 1
    assert np.abs(decoded.displacement).max() <= 0.3125 * size


def test_the_image_is_the_warped_appearance(rng):
    """Without displacement the image is the appearance; with any, its values stay within the appearance's."""
    model = build()
    z_app, z_geo = latents(3, rng)
    decoded = decode(model, z_app, z_geo)
    for image, appearance in zip(decoded.image, decoded.appearance):
        assert image.min() >= appearance.min() - 1e-6 and image.max() <= appearance.max() + 1e-6
    outputs = ms.Tensor(decoded.appearance), ms.Tensor(np.zeros_like(decoded.displacement))
    np.testing.assert_allclose(model.compose(outputs).asnumpy(), decoded.appearance, atol=1e-6)


def test_weights_depend_on_the_seed_and_images_not_on_the_batch_size(rng):
    z = latents(5, rng)
    images = decode(build(32, seed=3, width=16), *z).image
    np.testing.assert_array_equal(decode(build(32, seed=3, width=16), *z).image, images)
    assert np.abs(decode(build(32, seed=4, width=16), *z).image - images).max() > 0.01
    np.testing.assert_allclose(decode(build(32, seed=3, width=16), *z, batch_size=2).image, images, atol=1e-6)


def test_truncated_normal_stays_within_two_deviations():
    values = truncated_normal((20000,), np.random.default_rng(0), 0.1)
    assert np.abs(values).max() <= 0.2 and values.std() == pytest.approx(0.088, abs=0.002)


def test_scheme_2_scales_weights_by_he_and_the_geometry_by_beta():
    model = build(scaling="he", beta=0.3)
    app, geo = (branch.stack.hidden[0] for branch in model.branches)
    for layer, scale in ((app, np.sqrt(2 / (80 * 9))), (geo, 0.3 * np.sqrt(2 / (128 * 9)))):
        np.testing.assert_allclose(layer.scaled_weight().asnumpy(), layer.weight.asnumpy() * scale, rtol=1e-6)
    assert isinstance(app, Deconv) and build().branches[0].stack.hidden[0].scale == 1.0


@pytest.mark.parametrize("network", ["table4", "table5"])
def test_hes_constant_has_a_fan_in_of_inputs_times_kernel_squared_whatever_the_stride(network):
    model = build(64, width=32, z_app=6, z_geo=5, network=network, scaling="he", beta=0.3)
    for branch, gain, latent in zip(model.branches, (1, 0.3), (6, 5)):
        assert branch.stack.dense.scale == pytest.approx(gain * np.sqrt(2 / latent))
        for layer in (*branch.stack.hidden, branch.stack.last):
            inputs, _, kernel, _ = layer.weight.shape
            assert layer.scale == pytest.approx(gain * np.sqrt(2 / (inputs * kernel ** 2))), layer.stride


def test_geometry_init_scales_the_initial_last_layer_of_the_geometry_alone():
    """In scheme 1 also its bias: at 0 there is no displacement at first."""
    for scaling, scales in (("none", {"weight": 0.2, "bias": 0.2}), ("he", {"weight": 0.2})):
        model, full = (build(16, width=8, scaling=scaling, geometry_init=init) for init in (0.2, 1.0))
        for (name, p), (_, q) in zip(model.parameters_and_names(), full.parameters_and_names()):
            layer, _, kind = name.rpartition(".")
            scale = scales.get(kind, 1) if layer == "branches.1.stack.last" else 1
            np.testing.assert_allclose(p.asnumpy(), scale * q.asnumpy(), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("smooth", [False, True])
def test_smooth_appearance_smooths_the_last_layer_of_the_appearance_alone(smooth):
    cells = build(16, width=8, smooth_appearance=smooth).cells_and_names()
    smoothed = [name for name, cell in cells if isinstance(cell, Deconv) and cell.spread is not None]
    assert smoothed == (["branches.0.stack.last"] if smooth else [])


def test_alpha_is_the_ratio_of_channels():
    shapes = layer_shapes(build(alpha=0.25).branches[0])
    assert shapes[1:] == [(32, 16, 3, 3), (16, 8, 3, 3), (8, 4, 5, 5), (4, 3, 5, 5)]


def test_the_refining_layer_is_the_identity_at_first_and_trainable(rng):
    z = latents(2, rng)
    plain, refined = build(32, width=16), build(32, width=16, refine=True)
    np.testing.assert_allclose(decode(refined, *z).image, decode(plain, *z).image, atol=1e-6)
    assert parameter_count(refined) == parameter_count(plain) + 3 * 3 * 9 + 3


def test_splines_reproduce_constants_and_are_smooth():
    weights = spline_weights(64, 8)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    assert weights.min() >= 0
    # a linear function of the control points is linear over the pixels, away from the repeated borders
    line = weights @ np.arange(8)
    np.testing.assert_allclose(np.diff(line)[16:-16], 1 / 8, rtol=1e-4)
    bumps = weights @ np.random.default_rng(0).standard_normal(8)
    assert np.abs(np.diff(bumps, 2)).max() < 0.1


def test_a_control_grid_gives_fewer_layers_and_a_smooth_field(rng):
    model = build(control_grid=8)
    assert layer_shapes(model.branches[1]) == [(64, 2048), (128, 2, 3, 3)]
    rough, smooth = (decode(m, *latents(4, rng)).displacement for m in (build(), model))
    assert np.abs(np.diff(smooth, axis=3)).mean() < 0.3 * np.abs(np.diff(rough, axis=3)).mean()


@pytest.mark.parametrize("grid", [0, 8])
def test_a_monotone_field_is_a_sum_of_increments_and_an_affine_part_and_never_turns_back(grid, rng):
    model = build(16, z_app=4, z_geo=3, width=8, field="monotone", control_grid=grid)
    branch, points = model.branches[1], grid or 16
    branch.affine.dense.bias.set_data(ms.Tensor(rng.standard_normal(6).astype(np.float32)))
    z = rng.standard_normal((20, 3)).astype(np.float32) * 30  # far out: increments and slopes at their bounds
    decoded = decode(model, np.zeros((20, 4), np.float32), z).displacement
    increments = branch.stack(ms.Tensor(z)).asnumpy()
    sums = 0.65 * 16 / points * np.stack([increments[:, 0].cumsum(2), increments[:, 1].cumsum(1)], 1)
    if grid:
        spline = spline_weights(16, 8)
        sums = np.einsum("yp,ncpq,xq->ncyx", spline, sums, spline)
    c = np.tanh(z @ branch.affine.dense.weight.asnumpy() + branch.affine.dense.bias.asnumpy()).reshape(-1, 2, 3, 1, 1)
    y, x = np.indices((16, 16)) - 7.5
    affine = 0.3 * (c[:, :, 0] * x + c[:, :, 1] * y) + 0.3125 * 16 * c[:, :, 2]
    np.testing.assert_allclose(decoded, sums + affine, atol=1e-3)
    assert np.abs(increments).max() > 0.9 and np.abs(c[:, :, :2]).max() > 0.9
    assert np.diff(decoded[:, 0], axis=2).min() > -0.95 and np.diff(decoded[:, 1], axis=1).min() > -0.95
    assert deformable.parameters(cfg.Model(z_app=4, z_geo=3, width=8, field="monotone", control_grid=grid), 3,
                                 16) == parameter_count(model)


def test_float16_is_the_same_model_to_three_digits(rng):
    """float16 has eleven significant bits; weights and their gradients stay float32."""
    z = latents(4, rng)
    full, half = build(32, deconv="stock"), build(32, precision="float16")
    for a, b, scale in zip(decode(half, *z), decode(full, *z), (1, 1, full.branches[1].scale)):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=0.01 * scale)
    gradients = []
    for model in (full, half):
        branch = model.branches[1]
        gradient = ops.GradOperation(get_by_list=True)(branch, ms.ParameterTuple(branch.trainable_params()))
        gradients.append([g.asnumpy() for g in gradient(ms.Tensor(z[1]))])
    for a, b in zip(*gradients):
        # by their norm: where a sum is near 0, rounding may switch a ReLU
        assert b.dtype == np.float32 and np.linalg.norm(a - b) < 0.03 * np.linalg.norm(a) + 1e-3


def test_precisions(monkeypatch, caplog):
    assert {name: stack.hidden_type(name) for name in ("float32", "float16", "mixed")} == {
        "float32": ms.float32, "float16": ms.float16, "mixed": ms.float16}
    for name in ("CPU", "GPU"):
        monkeypatch.setattr(device, "current", lambda name=name: name)
        caplog.clear()
        assert stack.hidden_type("bfloat16") == ms.float32
        assert f"no bfloat16 on {name}; using float32" in caplog.text
    monkeypatch.setattr(device, "current", lambda: "Ascend")
    assert stack.hidden_type("bfloat16") == ms.bfloat16


def test_only_float32_layers_take_the_cpp_kernels():
    for precision, deconv, kind in (("float32", "auto", NativeDeconv), ("float16", "auto", StockDeconv),
                                    ("float16", "native", StockDeconv), ("mixed", "symmetric", SymmetricDeconv)):
        layer = build(32, precision=precision, deconv=deconv).branches[0].stack.hidden[0]
        assert isinstance(layer.deconv, kind), (precision, deconv)


class InFloat32(nn.Cell):
    """A deconvolution computed in float32 between casts: CPU has none in bfloat16."""

    def __init__(self, deconv: nn.Cell) -> None:
        super().__init__()
        self.deconv = deconv

    def construct(self, x, weight, bias):
        out = self.deconv(*[ops.cast(value, ms.float32) for value in (x, weight, bias)])
        return ops.cast(out, x.dtype)


def test_bfloat16_is_the_same_model_to_two_digits(monkeypatch, rng):
    z = latents(4, rng)
    full = decode(build(32, deconv="stock"), *z)
    with monkeypatch.context() as patch:
        patch.setattr(device, "current", lambda: "Ascend")
        model = build(32, precision="bfloat16", warp="reference")
    for branch in model.branches:
        for layer in branch.stack.hidden:
            layer.deconv = InFloat32(layer.deconv)
    for a, b, scale in zip(decode(model, *z), full, (1, 1, model.branches[1].scale)):
        assert a.dtype == np.float32 and 1e-4 * scale < np.abs(a - b).max() < 0.1 * scale


def test_the_sampling_grid_of_the_authors_is_part_of_the_displacement(rng):
    """Without it pixel x is sampled at x 32 / 31, and every measure of the displacement sees that."""
    z = latents(2, rng)
    integer, authors = (decode(build(32, width=16, grid=grid), *z) for grid in ("integer", "authors"))
    np.testing.assert_array_equal(authors.appearance, integer.appearance)
    added = np.arange(32) * 32 / 31 - np.arange(32)
    for axis, by_pixel in ((0, added), (1, added[:, None])):
        found = authors.displacement[:, axis] - integer.displacement[:, axis]
        np.testing.assert_allclose(found, np.broadcast_to(by_pixel, found.shape), atol=1e-5)
    expected, _, _ = numpy_warp(authors.appearance, authors.displacement, np.zeros_like(authors.appearance))
    np.testing.assert_allclose(authors.image, expected, atol=1e-5)
    sampled_outside = canonical_frame(deformable.authors_grid(32))["outside"]
    assert sampled_outside == pytest.approx(1 - (31 / 32) ** 2)  # the last row and column


@pytest.mark.parametrize("options", [{}, {"refine": True, "control_grid": 8}, {"network": "table5", "min_channels": 10},
                                     {"smooth_appearance": True, "alpha": 1.3, "z_app": 7}])
def test_the_number_of_parameters_in_closed_form(options):
    for channels in (1, 3):
        model = build(32, channels, width=24, **options)
        assert deformable.parameters(cfg.Model(width=24, **options), channels, 32) == parameter_count(model)


def test_no_hidden_layer_has_fewer_than_min_channels():
    model = build(128, min_channels=24)
    assert [shape[1] for shape in layer_shapes(model.branches[0])[1:]] == [40, 24, 24, 24, 3]
