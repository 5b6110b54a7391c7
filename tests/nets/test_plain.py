"""The generator of the baselines has as many latents and parameters as the deformable model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dgn import config as cfg
from dgn import recipe
from dgn.errors import UserError
from dgn.nets import deformable, plain
from dgn.nets.build import make_encoder, make_model
from dgn.nets.layers import parameter_count
from dgn.nets.model import decode
from dgn.nets.stack import table4

RECIPES = sorted((Path(__file__).parents[2] / "config").glob("*.yaml"))


@pytest.mark.parametrize("settings", [
    [], ["data.size=32", "model.z_app=16", "model.z_geo=16", "model.control_grid=8"],
    ["data.grey=true", "model.alpha=1.5"], ["data.size=128", "model.width=200"]])
def test_as_many_parameters_and_latents_as_the_deformable_model_within_five_per_cent(settings):
    warped = make_model(recipe.load(None, settings))
    unwarped = make_model(recipe.load(None, [*settings, "model.kind=plain"]))
    assert parameter_count(unwarped) == pytest.approx(parameter_count(warped), rel=0.05)
    assert unwarped.groups[0].shape[0] == sum(group.shape[0] for group in warped.groups)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_width_is_the_best_of_all(path):
    config = recipe.load(path)
    channels, size, latent = 1 if config.data.grey else 3, config.data.size, config.model.z_app + config.model.z_geo
    wanted = deformable.parameters(config.model, channels, size)

    def distance(width: int) -> int:
        return abs(table4(width, size, channels, config.model.min_channels).parameters(latent) - wanted)
    assert plain.matching_width(config.model, channels, size) == min(range(4, 4096), key=distance)


@pytest.mark.parametrize("model", [cfg.Model(), cfg.Model(z_app=1, z_geo=1, width=8)])
def test_the_width_at_the_ends_of_its_range(model, monkeypatch):
    best = plain.matching_width(model, 3, 64)
    for first, last, expected in ((4, best - 1, best - 1), (best + 1, 4095, best + 1), (best, best, best)):
        monkeypatch.setattr(plain, "WIDTHS", range(first, last + 1))
        assert plain.matching_width(model, 3, 64) == expected


def test_the_number_of_parameters_of_an_architecture():
    model = make_model(recipe.load(None, ["data.size=32"]))
    assert table4(80, 32, 3).parameters(64) == parameter_count(model.branches[0])


def test_it_decodes_to_an_image_alone(rng):
    model = make_model(recipe.load(None, ["data.size=16", "model.kind=plain", "model.width=8"]))
    decoded = decode(model, rng.standard_normal((5, 128)).astype(np.float32), batch_size=2)
    assert decoded.image.shape == (5, 3, 16, 16) and decoded.appearance is None and decoded.displacement is None
    assert 0 <= decoded.image.min() < decoded.image.max() <= 1


def test_it_has_no_branch_to_freeze_and_no_given_group():
    for setting in ("training.freeze=geometry", "model.appearance=label"):
        key = setting.partition("=")[0]
        with pytest.raises(UserError, match=f"{key} needs model.kind deformable; it is plain"):
            recipe.load(None, ["model.kind=plain", setting])


@pytest.mark.parametrize("kind", ["plain", "deformable"])
def test_an_encoder_mirrors_the_generator_whatever_the_network(kind):
    config = recipe.load(None, ["data.size=32", "model.network=table5", "model.width=16", f"model.kind={kind}"])
    model = make_model(config)
    layers = model.branches[0].stack.architecture.layers
    mirrored = [(net.kernel_size[0], net.stride[0]) for net in make_encoder(config, model).convolutions]
    assert mirrored[::-1] == [(layer.kernel, layer.stride) for layer in layers]
