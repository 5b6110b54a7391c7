"""Expressions of grayscale faces on colour faces: two trainings, and what the result is measured by."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import dgn
from dgn import config as cfg
from dgn import recipe
from dgn.errors import UserError
from dgn.experiments import expressions
from dgn.experiments.common import Target
from dgn.inference.axes import rotate
from dgn.run import open_run
from tests.experiments.conftest import COUNT, weights

pytestmark = pytest.mark.slow

TARGET = Target(count=COUNT, epochs=1)
PROBE_FACES = 250


@pytest.fixture(scope="module")
def grey_recipe(config):
    return cfg.changed(config, data={"grey": True, "population": "expressions"})


@pytest.fixture(scope="module")
def transferred(grey_recipe, fast_measures, tmp_path_factory):
    """The output folder and the result, without the two runs' own pictures."""
    output = tmp_path_factory.mktemp("expressions") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expressions, "draw", lambda run: None)
        patch.setattr(expressions, "PROBE_FACES", PROBE_FACES)
        return output, expressions.expressions(grey_recipe, output, target=TARGET)


def test_the_colour_run_keeps_the_geometry_of_the_grayscale_run(transferred):
    output, result = transferred
    written = json.loads((output / "metrics.json").read_text())
    assert written == {key: result[key] for key in ("transfer", "versions", "provenance")}
    assert [p.name for p in result["pictures"] if p.is_file()] == ["expressions.png"]
    grey, colour = (weights(output / name) for name in ("grey", "colour"))
    for name, value in grey.items():
        if name.startswith("branches.1."):
            np.testing.assert_array_equal(value, colour[name], name)
    shapes = {grey[name].shape for name in grey if grey[name].shape != colour[name].shape}
    assert len(shapes) == 2 and all(1 in shape for shape in shapes)  # the appearance's last layer: 1 channel, then 3
    # neighbouring faces are one person and do not differ in skin, so the exchange is not measured
    assert "exchange" not in json.loads((output / "grey" / "metrics.json").read_text())


def test_geometric_latents_of_the_grayscale_run_give_the_same_displacement_in_the_colour_run(transferred):
    """Each run opens along axes of its own, here along some that differ much."""
    grey, colour = (dgn.load(transferred[0] / name, device="CPU") for name in ("grey", "colour"))
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0].astype(np.float32)
    rotate(colour.model, {"z_geo": turn})
    colour.bank.rotations["z_geo"] = colour.bank.rotations["z_geo"] @ turn
    z_app, z_geo = grey.bank.read(np.arange(4))
    own, rotated = grey.decode(z_app, z_geo).displacement, expressions.in_dimensions_of(colour, grey, z_geo)
    np.testing.assert_allclose(colour.decode(z_app, rotated).displacement, own, atol=1e-4)
    assert np.abs(colour.decode(z_app, z_geo).displacement - own).max() > 0.01


def test_correlations_with_both_donors(transferred):
    _, result = transferred
    transfer = result["transfer"]
    for name in expressions.STAYING:
        assert set(transfer[name]) == {"geometry_donor", "appearance_donor", "probe"}
    for name in set(transfer) - set(expressions.STAYING):
        assert set(transfer[name]) == {"geometry_donor", "probe"}  # neutral faces do not differ in it
    assert transfer["skin"]["probe"] > 0.9
    rows = {line.split()[0]: line.split()[1:] for line in expressions.summary(result).splitlines()[1:]}
    smile = transfer["smile"]
    assert rows["smile"] == [f"{smile['geometry_donor']:+.2f}", "-", f"{smile['probe']:+.2f}"]


def test_colours_follow_the_appearance_of_true_faces(transferred, monkeypatch):
    """With the colour donors' own images in place of decoded ones, colours follow the appearance donor alone."""
    output, _ = transferred
    monkeypatch.setattr(expressions, "PROBE_FACES", PROBE_FACES)
    grey, colour = open_run(output / "grey"), open_run(output / "colour")

    class TrueFaces:
        config, bank = colour.config, colour.bank

        def decode(self, *latents):
            return type("Decoded", (), {"image": colour.sources.train.read(np.arange(COUNT))})

    result = expressions.donor_correlations(grey, TrueFaces())
    assert result["skin"]["appearance_donor"] > 0.9 and abs(result["skin"]["geometry_donor"]) < 0.5


def test_a_tuned_run_is_not_reused_when_its_initial_weights_have_changed(transferred, grey_recipe, tmp_path):
    output, _ = transferred
    shutil.copytree(output, tmp_path / "out")
    saved = tmp_path / "out" / "colour" / "config.yaml"
    moved = cfg.changed(recipe.load(saved), training={"init_from": str(tmp_path / "out" / "grey")})
    saved.write_text(recipe.dump(moved))
    manifest = next((tmp_path / "out" / "grey" / "checkpoints").iterdir()) / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")  # another checkpoint, and a whole one
    with pytest.raises(UserError, match="was initialized from other weights than those that .*grey holds now"):
        expressions.expressions(grey_recipe, tmp_path / "out", target=TARGET)


def test_faces_in_colour_are_refused(config, tmp_path):
    with pytest.raises(UserError, match="data.grey: true"):
        expressions.expressions(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
