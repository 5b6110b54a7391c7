"""The baseline's generator is as large as the deformable model."""

from __future__ import annotations

import numpy as np
import pytest

from dgn import build
from dgn import config as cfg
from dgn.errors import UserError
from dgn.nets.layers import parameter_count
from dgn.nets.model import decode
from dgn.nets.stack import table4


@pytest.mark.parametrize("settings", [[], ["data.size=32", "model.z_app=16", "model.z_geo=16", "model.control_grid=8"],
                                      ["data.grey=true", "model.alpha=1.5"], ["data.size=128", "model.width=200"]])
def test_as_many_parameters_and_latents_as_the_deformable_model_within_five_per_cent(settings):
    deformable = build.make_model(cfg.load(None, settings), "CPU")
    plain = build.make_model(cfg.load(None, [*settings, "model.kind=plain"]), "CPU")
    assert parameter_count(plain) == pytest.approx(parameter_count(deformable), rel=0.05)
    assert plain.groups[0].shape[0] == sum(group.shape[0] for group in deformable.groups)


def test_parameters_are_counted_right():
    model = build.make_model(cfg.load(None, ["data.size=32"]), "CPU")
    assert table4(80, 32, 3).parameters(64) == parameter_count(model.branches[0])


def test_it_decodes_to_an_image_and_nothing_else(rng):
    model = build.make_model(cfg.load(None, ["data.size=16", "model.kind=plain", "model.width=8"]), "CPU")
    decoded = decode(model, rng.standard_normal((5, 128)).astype(np.float32), batch_size=2)
    assert decoded.image.shape == (5, 3, 16, 16) and decoded.appearance is None and decoded.displacement is None
    assert 0 <= decoded.image.min() < decoded.image.max() <= 1


def test_it_has_nothing_to_freeze_or_to_give():
    for setting in ("training.frozen=geometry", "model.appearance=label"):
        with pytest.raises(UserError, match="model.kind is plain"):
            cfg.load(None, ["model.kind=plain", setting])
