"""Measures of the experiments on video, on clips and models whose answers are known."""

from __future__ import annotations

from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest

from dgn.config import Data, Model
from dgn.data.face_clips import FaceClips
from dgn.data.open import generated_clips
from dgn.errors import UserError
from dgn.experiments import recombination, sampling, shape
from dgn.experiments.clip_common import (
    COLOUR,
    MOTION,
    Probe,
    Rebuilt,
    exchange_partners,
    explained_motion,
    fit_probe,
    label,
    motion,
    over_time,
)
from dgn.figures.clip_pictures import spaced
from dgn.nets.dynamic import DynamicGenerator

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", [4, 1, 3])
def test_explained_motion_is_the_share_of_the_motion(rng, size):
    clips = rng.random((4, 6, 1, 4, 4)).astype(np.float32)
    mask = np.ones((4, 6), np.float32)
    mask[3, 4:] = 0  # a shorter clip
    clips[3, 4:] = 0
    still, half = clips.copy(), clips.copy()
    for k, length in enumerate((6, 6, 6, 4)):
        mean = clips[k, :length].mean(0)
        still[k], half[k] = mean + 0.3, (clips[k] + mean) / 2
    rebuilt = np.stack([still[0], half[1], clips[2] + 0.2, half[3]])
    batches = [Rebuilt(*(a[k:k + size] for a in (clips, mask, rebuilt))) for k in range(0, 4, size)]
    shares = explained_motion(batches, ["still", "half", "whole", "half"])
    assert shares == pytest.approx({"still": 0, "half": 0.75, "whole": 1}, abs=1e-5)


@pytest.mark.parametrize("donor", ["geometry", "appearance"])
def test_exchanged_clips_correlate_with_the_donor_whose_motion_they_show(monkeypatch, donor):
    """A model that shows one donor's clip, coded in two pixels, index and frame, and a probe that reads these."""
    data = Data(frames=5, size=16, changing_light=True)
    clips, everyone = generated_clips(data, 24), np.arange(24)

    def decode_index(z_app, z_geo):
        image = np.zeros((len(z_app), 5, 3, 16, 16), np.float32)
        image[:, :, 0, 0, 0] = z_geo if donor == "geometry" else z_app
        image[:, :, 0, 0, 1] = np.arange(5)
        return SimpleNamespace(image=image)

    def reading(table):
        return lambda frames: table[frames[:, 0, 0, 0].astype(int), frames[:, 0, 0, 1].astype(int)]

    points, factors = clips.landmarks(everyone).reshape(24, 5, -1), clips.factor_table(everyone, (*MOTION, *COLOUR))
    monkeypatch.setattr(recombination, "fit_probe", lambda data: Probe(reading(factors), reading(points)))
    run = SimpleNamespace(bank=Bank(everyone[:, None]), decode=decode_index, config=SimpleNamespace(data=data))
    partner = exchange_partners([clips.name(k) for k in everyone], clips.people())
    found = recombination.clip_correlations(run, partner)
    between = np.corrcoef(motion(points)[partner].ravel(), motion(points).ravel())[0, 1]
    other = "appearance" if donor == "geometry" else "geometry"
    for name in ("landmark motion", "landmark position", "smile", "skin", "light over time"):
        assert found[name][f"{donor}_donor"] == pytest.approx(1, abs=1e-5)
        assert found[name]["own"] == pytest.approx(1, abs=1e-5)
        assert found[name][f"{other}_donor"] == pytest.approx(found[name]["donors"], abs=1e-5)
    assert found["landmark motion"]["donors"] == pytest.approx(between, abs=1e-5) and abs(between) < 0.9


class Bank:
    """Latents that are the clips' own indices."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def read(self, chosen):
        return self.rows[chosen], self.rows[chosen]


def test_a_probe_reads_motion_and_colour_of_clips_that_it_has_not_seen(monkeypatch):
    monkeypatch.setattr("dgn.experiments.clip_common.PROBED_CLIPS", 90)
    data = Data(frames=3, size=32)
    read, clips, everyone = fit_probe(data), generated_clips(data, 60), np.arange(60)  # ten people
    shown, names = clips.read(everyone), (*MOTION, *COLOUR)
    factors, true = over_time(read.factors, shown), clips.factor_table(everyone, names)
    for k, name in enumerate(names):
        assert np.corrcoef(factors[..., k].ravel(), true[..., k].ravel())[0, 1] > 0.5, name
    points = clips.landmarks(everyone).reshape(60, 3, -1)
    assert np.abs(over_time(read.landmarks, shown) - points).mean() < 1


def test_an_edited_shape_changes_every_frame_by_as_much(rng):
    config = Model(network="table5", z_app=4, z_geo=3, xi_geo=2, width=8, alpha=2.0)
    model = DynamicGenerator(config, 3, 16, 5, 1)
    z = rng.standard_normal((2, *model.groups[1].shape)).astype(np.float32)
    before, after = (model.branches[1].latents(ms.Tensor(v)).asnumpy() for v in (z, shape.edited(z, 1, 0.7)))
    np.testing.assert_allclose(after - before, np.broadcast_to([0, 0.7, 0], before.shape), atol=1e-6)
    assert np.ptp(before, 1).max() > 0.1  # the clip does move


def test_changes_are_split_at_the_trained_length():
    still = np.zeros((1, 8, 1, 2, 2), np.float32)
    moving = still + 0.1 * np.arange(8)[:, None, None, None]
    clips = np.where(np.arange(8)[:, None, None, None] < 5, still, moving - 0.4)  # still for the five trained frames
    assert sampling.changes(clips, 5) == pytest.approx(
        {"change_within": 0, "change_within_stderr": None, "change_beyond": 0.1, "change_beyond_stderr": None},
        abs=1e-6)
    assert sampling.changes(clips[:, :5], 5)["change_beyond"] is None


def test_names_give_class_and_person():
    assert label("anger/S010_004") == ("anger", "S010")
    assert label(FaceClips(1, 2, 16, 1).name(0)) == ("happiness", "P000")
    with pytest.raises(UserError, match="not named"):
        label("clip0.avi")


def test_donors_differ_in_person_and_class():
    names = [FaceClips(24, 2, 16, 1).name(k) for k in range(24)]

    def differ(names, partner):
        return all(label(names[k])[i] != label(names[p])[i] for k, p in enumerate(partner) for i in (0, 1))
    people = [label(name)[1] for name in names]
    partner = exchange_partners(names, people)
    assert sorted(partner) == list(range(24)) and differ(names, partner)
    assert differ(names[:13], exchange_partners(names[:13], people[:13]))  # no one shift suits all
    assert exchange_partners(["a", "b", "c"], None).tolist() == [1, 2, 0]
    assert exchange_partners(names[:6], people[:6]).tolist() == list(range(6))  # one person: no partner
    # people of a file of identities, which names do not give, and clips without classes
    assert exchange_partners(["a", "b", "c", "d"], ["x", "x", "y", "y"]).tolist() == [2, 3, 0, 1]


def test_motion_is_what_changes_over_time(rng):
    values = rng.standard_normal((2, 4, 3))
    np.testing.assert_allclose(motion(values + rng.standard_normal((2, 1, 3))), motion(values), atol=1e-12)


def test_frames_of_a_row_are_spaced_evenly():
    assert spaced(3).tolist() == [0, 1, 2] and spaced(21, 5).tolist() == [0, 5, 10, 15, 20]
