"""Evaluation of a run whose model is known: it renders faces from their true factors."""

from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dgn import config as cfg
from dgn.data.face_factors import APPEARANCE
from dgn.data.faces import draw
from dgn.data.open import open_sources
from dgn.data.pixels import to_unit
from dgn.evaluation import chain_encoder
from dgn.evaluation.correspondence import endpoint_errors
from dgn.evaluation.evaluate import evaluate, is_outdated, known_faces, summary, true_correspondence
from dgn.files import sha256, write_json
from dgn.nets.model import Decoded
from dgn.run_folder import RunFolder
from dgn.training import checkpoint

TRAINING, HELD_OUT, UNSEEN, SIZE = 24, 20, 18, 16


class TrueModel:
    """A run in the place of dgn.run.Run. The latents of a face are its index: the decoder renders a face with the
    appearance factors of one index and the geometry factors of another. The displacement is zero."""

    def __init__(self, path, config):
        self.folder, self.config, self.sources = RunFolder.create(path, config), config, open_sources(config.data)
        self.model = SimpleNamespace(groups=[SimpleNamespace(name="z_app"), SimpleNamespace(name="z_geo")])
        self.checkpoint, self.bank, self.chain_encoder = path / "checkpoints" / "epoch_00001", self, None
        self.faces = self.sources.train.source
        self.image = functools.cache(self._image)  # the same pairs are decoded in each evaluation
        self.probed = []  # seeds of the faces that probes were fitted to

    def __len__(self):
        return len(self.sources.train)

    def read(self, indices):
        return self.latents(indices)

    def latents(self, faces):
        return (np.asarray(faces)[:, None],) * 2

    def infer(self, images, steps=None, use_encoder=True):
        return self.latents(TRAINING + np.arange(len(images)))

    def infer_batch(self, images, chains, given):
        assert chains.steps == 0 and chains.descent_steps > 0 and not chains.use_encoder
        for z, inferred in zip(given.values(), self.infer(images)):  # the descent goes on from them
            np.testing.assert_array_equal(z, inferred)
        return tuple(given.values())

    def chain_settings(self, steps, descent_steps=0, use_encoder=True):
        steps = 300 if steps is None else steps
        return SimpleNamespace(steps=steps, descent_steps=descent_steps, use_encoder=use_encoder,
                               recorded=lambda: {"start": "mean", "steps": steps})

    def decode(self, z_app, z_geo):
        images = np.stack([self.image(a, g) for a, g in zip(z_app[:, 0], z_geo[:, 0])])
        return Decoded(images, images, np.zeros((len(images), 2, SIZE, SIZE), np.float32))

    def _image(self, a, g):
        appearance = self.faces.factors(a)
        factors = replace(self.faces.factors(g), identity=appearance.identity,
                          **{name: getattr(appearance, name) for name in APPEARANCE})
        return to_unit(draw(factors, SIZE, grey=False))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = cfg.changed(cfg.Config(), data={"size": SIZE, "limit": TRAINING, "held_out": HELD_OUT},
                         evaluation={"images": UNSEEN})
    return TrueModel(tmp_path_factory.mktemp("run") / "run", config)


@pytest.fixture(scope="module")
def result(run):
    def note_seed(data, names, count, seed):
        run.probed.append(seed)
        return known_faces(data, names, count, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dgn.evaluation.evaluate.PROBE_FACES", 300)
        patch.setattr("dgn.evaluation.evaluate.known_faces", note_seed)
        return evaluate(run)


def test_reconstruction_and_displacement(result):
    assert result["train"] == {"msre": 0, "msre_stderr": 0, "psnr": 120, "mse": 0, "images": TRAINING}
    assert result["unseen"] == {"msre": 0, "msre_stderr": 0, "psnr": 120, "mse": 0, "images": UNSEEN, "start": "mean",
                                "steps": 300}
    assert result["appearance"]["nyquist_ratio"] == pytest.approx(1)
    assert result["geometry"]["displacement_rms"] == 0 == result["geometry"]["folded"]
    assert result["canonical_frame"] == {"mean_displacement": 0, "outside": 0}


@pytest.mark.parametrize("people", ["exchange", "exchange_unseen"])
def test_factors_follow_their_donor_in_training_and_unseen_faces(result, people):
    for name, own, other in (("yaw", "geometry_donor", "appearance_donor"),
                             ("roll", "geometry_donor", "appearance_donor"),
                             ("skin", "appearance_donor", "geometry_donor")):
        donors = result[people][name]
        assert donors["own"] > 0.8 and donors[own] > 0.8 and abs(donors[other]) < 0.1, name


def test_unseen_faces_and_those_of_the_probe_are_not_those_of_the_training(run, result):
    assert result["exchange"]["yaw"]["own"] != result["exchange_unseen"]["yaw"]["own"]
    assert run.probed == [run.config.data.seed + 1]


def test_registration_without_displacement_is_the_motion_of_the_unseen_faces(run, result):
    assert result["registration"]["endpoint_ratio"] == pytest.approx(1, abs=0.02)
    assert result["registration"]["endpoint_error"] > 0.5
    truth = true_correspondence(run.faces, TRAINING + np.arange(UNSEEN))
    assert result["registration"] == endpoint_errors(np.zeros((UNSEEN, 2, SIZE, SIZE), np.float32), *truth)


def test_the_results_are_written_with_their_provenance(run, result):
    written = json.loads(run.folder.results_path.read_text())
    assert {key: written[key] for key in result} == result
    assert written["checkpoint"] == "epoch_00001" and written["versions"]["mindspore"]
    assert written["provenance"]["dgn"] == written["versions"]["dgn"] and written["provenance"]["seconds"] >= 0


def test_other_images_are_measured_without_known_factors_and_not_written(run, result):
    before = run.folder.results_path.read_text()
    other = evaluate(run, run.sources.held_out)
    assert other["unseen"] == {**result["unseen"], "images": HELD_OUT}  # all, and of its own the first UNSEEN
    assert set(result) - set(other) == {"exchange", "exchange_unseen", "registration"}
    assert run.folder.results_path.read_text() == before


def test_a_run_that_was_trained_further_since_keeps_the_newer_results(run, result, caplog, monkeypatch):
    monkeypatch.setattr("dgn.evaluation.evaluate.PROBE_FACES", 300)
    newer, before = run.folder.checkpoints / "epoch_00002", run.folder.results_path.read_text()
    assert not is_outdated(run.checkpoint)
    newer.mkdir(parents=True)
    try:
        assert not is_outdated(run.checkpoint)  # it is damaged: without a manifest
        write_json(newer / "state.json", {})
        write_json(newer / checkpoint.MANIFEST, {"state.json": sha256(newer / "state.json")})
        assert is_outdated(run.checkpoint) and not is_outdated(newer)
        assert evaluate(run)["train"] and "was trained further" in caplog.text
    finally:
        shutil.rmtree(newer)
    assert run.folder.results_path.read_text() == before


def test_of_many_other_images_evenly_spaced_ones_are_measured(run, monkeypatch, caplog):
    monkeypatch.setattr(chain_encoder, "OTHER_IMAGES", 3)
    few = chain_encoder.unseen_samples(run, run.sources.held_out)
    assert few.in_source.tolist() == [0, 9, 19] and f"3 of the {HELD_OUT} samples are measured" in caplog.text
    monkeypatch.setattr(chain_encoder, "OTHER_VALUES", 2 * 3 * SIZE ** 2 + 1)
    assert chain_encoder.unseen_samples(run, run.sources.held_out).in_source.tolist() == [0, HELD_OUT - 1]
    assert chain_encoder.unseen_samples(run).in_source.tolist() == list(range(UNSEEN))


def test_a_single_training_face_has_nobody_to_exchange_with(tmp_path, monkeypatch):
    monkeypatch.setattr("dgn.evaluation.evaluate.PROBE_FACES", 20)
    config = cfg.changed(cfg.Config(), data={"size": SIZE, "limit": 1, "held_out": 1})
    measured = evaluate(TrueModel(tmp_path / "run", config))
    assert "exchange" not in measured and "exchange_unseen" not in measured and "exchange  " not in summary(measured)


def test_summary_gives_every_measure_and_a_dash_for_an_undefined_one(result):
    text = summary(result)
    for part in (f"training images   MSRE 0.0 +- 0.0, PSNR 120.0 dB ({TRAINING})", "displaced by 0.00 pixels",
                 "0.0% of the pixels sampled outside",
                 f"{result['registration']['endpoint_ratio']:.2f} times that of no displacement",
                 f"  yaw              {result['exchange']['yaw']['geometry_donor']:+.2f} +- "):
        assert part in text
    undefined = {**result, "appearance": {"nyquist_ratio": None}}
    assert "appearance        - times the images' energy" in summary(undefined)
