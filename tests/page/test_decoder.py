"""decoder.js in an embedded JavaScript engine against the models in Python."""

from __future__ import annotations

import functools
import json

import mindspore as ms
import numpy as np
import pytest

from dgn import config as cfg
from dgn import recipe
from dgn.nets.build import make_model
from dgn.nets.model import Model, decode
from dgn.page.arrays import Packer
from dgn.page.description import describe
from tests.page.javascript import JavaScript, javascript_engine

pytestmark = pytest.mark.slow

COUNT = 3
TOLERANCE = 1e-4
SMALL = {"data.size": 32, "model.z_app": 5, "model.z_geo": 4, "model.width": 12}
MODELS = {
    "deformable": {},
    "options": {"model.smooth_appearance": True, "model.control_grid": 8, "model.refine": True, "model.scaling": "he",
                "model.beta": 0.5},
    "monotone": {"model.field": "monotone", "model.control_grid": 8},
    "grayscale": {"data.grey": True, "model.smooth_appearance": True},
    "authors' grid": {"model.grid": "authors", "model.control_grid": 8},
    "plain": {"model.kind": "plain", "model.smooth_appearance": True},
    "label": {"model.appearance": "label", "data.grey": True, "model.control_grid": 16},
    "table5": {"model.network": "table5", "model.alpha": 2.0},
    "clip": {"data.frames": 5, "model.network": "table5", "model.alpha": 2.0, "model.xi_app": 2, "model.xi_geo": 3,
             "model.control_grid": 16},
    "clip of one appearance": {"data.frames": 4, "model.xi_app": 0, "model.xi_geo": 3, "model.refine": True},
}


def random_model(settings: dict) -> Model:
    """A model with weights of He's size, biases of 0.1. The last layers have a quarter of it: MindSpore's tanh on CPU
    is constant beyond 5, which is 1e-4 off."""
    rng = np.random.default_rng(3)
    model = make_model(recipe.with_overrides(cfg.Config(), {**SMALL, **settings}))
    for name, layer in model.cells_and_names():
        if not hasattr(layer, "weight"):
            continue
        shape, scale = layer.weight.shape, getattr(layer, "scale", 1.0)  # the refining layer has none
        stride = layer.stride if isinstance(getattr(layer, "stride", None), int) else 1
        inputs = shape[0] * np.prod(shape[2:]) / stride ** 2
        weight = rng.standard_normal(shape) * np.sqrt(2 / inputs) / scale * (0.25 if name.endswith("last") else 1)
        layer.weight.set_data(ms.Tensor(weight.astype(np.float32)))
        layer.bias.set_data(ms.Tensor((0.1 * rng.standard_normal(layer.bias.shape)).astype(np.float32)))
    return model


def random_latents(model: Model) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [rng.standard_normal((COUNT, *group.shape)).astype(np.float32) if group.sampled
            else np.eye(group.shape[0], dtype=np.float32)[:COUNT] for group in model.groups]


@functools.cache
def decoded(name: str) -> tuple[Model, list[np.ndarray], list[np.ndarray]]:
    """A model, latents, and what it decodes them to: image, appearance and displacement, as far as it has them."""
    model = random_model(MODELS[name])
    latents = random_latents(model)
    return model, latents, [part for part in decode(model, *latents) if part is not None]


def largest_differences(name: str, quantised: bool) -> list[float]:
    """Of image, appearance and displacement."""
    (model, latents, expected), packer = decoded(name), Packer(quantised)
    description = describe(model, packer)
    script = JavaScript(description, packer.base64())
    largest = [0.0] * len(expected)
    for k in range(COUNT):
        frames = script.decode([z[k] for z in latents])
        for f, part in enumerate(expected):
            values = np.array([frame[f] for frame in frames]).reshape(part[k].shape)
            assert values.std() > 0.02  # not a flat field, in which errors would not show
            largest[f] = max(largest[f], float(np.abs(values - part[k]).max()))
    return largest


@pytest.mark.parametrize("name", MODELS)
def test_javascript_decodes_as_python_does(name):
    assert max(largest_differences(name, quantised=False)) < TOLERANCE


@pytest.mark.parametrize("name", ["options", "plain", "label", "clip"])
def test_weights_of_16_bits_keep_the_image(name):
    image, *others = largest_differences(name, quantised=True)
    assert image < 5 * TOLERANCE  # these images are rougher than a trained model's: 2e-5 to 6e-5 there
    if others:
        assert others[0] < TOLERANCE and others[1] < TOLERANCE * SMALL["data.size"]  # appearance; pixels


def test_base64_and_quantised_arrays_are_read_back():
    rng, packer = np.random.default_rng(0), Packer()
    weight = rng.standard_normal((3, 4, 5, 5)).astype(np.float32)
    weight[:, 2] = 0
    references = [packer.add(np.arange(7)), packer.add_weight(weight), packer.add(np.arange(3) - 1.5)]
    engine = javascript_engine()
    engine.eval(f"var bytes = DgnDecoder.bytesOf('{packer.base64()}'), references = {json.dumps(references)};")
    first, read, last = (np.array(json.loads(engine.eval(
        f"JSON.stringify(Array.from(DgnDecoder.arrayOf(references[{k}], bytes)))"))) for k in range(3))
    np.testing.assert_array_equal(first, np.arange(7))
    np.testing.assert_array_equal(last, np.arange(3) - 1.5)
    bound = np.abs(weight).max((0, 2, 3)).reshape(1, 4, 1, 1) / 32767 * 0.51
    assert (np.abs(read.reshape(weight.shape) - weight) <= bound).all()
