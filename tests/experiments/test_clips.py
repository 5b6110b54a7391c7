"""The dynamic model as its user runs it: training, resuming, pictures, inference and the experiments on video."""

from __future__ import annotations

import json
from types import SimpleNamespace

import cv2
import mindspore as ms
import numpy as np
import pytest

from dgn import build, runs
from dgn.__main__ import main
from dgn.config import Data, Model
from dgn.data.face_clips import FaceClips, write_clips
from dgn.data.face_factors import EXPRESSIONS
from dgn.errors import UserError
from dgn.experiments import recognition, recombination, sampling, shape
from dgn.experiments.clips import COLOUR, MOTION, Probe, explained_motion, label, motion, other_donors, over_time, probe
from dgn.figures.sheet import save_sheet
from dgn.nets.dynamic import DynamicGenerator
from dgn.nets.model import decode
from tests.data.test_clips import write_video
from tests.training.tiny import arguments, as_it_was, final_state, resume

SETTINGS = ["data.frames=5", "data.size=16", "data.limit=24", "data.held_out=3", "model.network=table5", "model.z_app=4", "model.z_geo=3",
            "model.xi_app=2", "model.xi_geo=2", "model.width=8", "model.alpha=2", "inference.steps=2", "inference.sigma=0.5",
            "training.batch_size=4", "training.checkpoint_every=1", "evaluation.steps=4", "evaluation.images=3", "evaluation.gamma=3"]


def train(output, epochs, *extra, measured=False) -> int:
    line = ["train", "--device", "CPU", "--output", str(output), *([] if measured else ["--train-only"])]
    for setting in [*SETTINGS, f"training.epochs={epochs}", *extra]:
        line += ["--set", setting]
    return main(line)


def experiment(*words) -> int:
    return main(["experiment", *map(str, words), "--device", "CPU"])


def results(folder) -> dict:
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(autouse=True)
def fewer_probed(monkeypatch):
    """Drawing clips for the probe takes long, and many do not make it better at 16 pixels."""
    monkeypatch.setattr("dgn.experiments.clips.PROBED_CLIPS", 90)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "run"
    assert train(output, 2, measured=True) == 0
    return output


def test_a_training_on_clips_has_its_measures_and_pictures(trained):
    found = results(trained)
    assert found["train"]["images"] == 24 * 5 and found["unseen"]["images"] == 3 * 5  # frames
    assert {"nyquist_ratio"} <= set(found["appearance"]) and "exchange" not in found
    assert {p.name for p in (trained / "figures").iterdir()} == {
        "reconstruction.png", "appearance_bases.png", "geometry_bases.png", "applied_bases.png", "grids.png", "curves.png"}
    record = json.loads((trained / "metrics.jsonl").read_text().splitlines()[0])
    assert record["msre"] > 0 and {"z_app_std", "z_geo_std"} <= set(record)


def test_clips_begin_with_generators_learned_from_images(tmp_path):
    still = ["training.learning_rate=1e-12", "training.start=" + str(tmp_path / "images")]
    assert train(tmp_path / "images", 1, "data.frames=0", "model.refine=true") == 0
    assert train(tmp_path / "clips", 1, "model.refine=true", *still) == 0
    learned, begun = (ms.load_checkpoint(str(next(tmp_path.glob(f"{run}/checkpoints/epoch_00001/weights.ckpt")))) for run in ("images", "clips"))
    begun = {name.replace("emission.", ""): weights for name, weights in begun.items()}
    assert set(learned) < set(begun) and "refine.weight" in learned
    for name, weights in learned.items():
        np.testing.assert_allclose(begun[name].asnumpy(), weights.asnumpy(), atol=1e-9)


def test_it_learns_and_a_resumed_run_is_the_run_that_was_never_stopped(tmp_path):
    options = ["training.learning_rate=0.005", "training.parts=2", "inference.compiled=1", "inference.smoothness=0.01"]
    assert train(tmp_path / "whole", 12, *options) == 0
    whole = final_state(tmp_path / "whole")
    assert whole["records"][-1]["msre"] < 0.8 * whole["records"][0]["msre"]
    again = as_it_was(tmp_path / "whole", tmp_path / "again", 10)
    assert resume(again) == 0 and final_state(again) == whole


def test_clips_of_unequal_length_train_and_are_inferred_as_strips(tmp_path, capsys):
    """With one appearance for all frames of a clip."""
    (tmp_path / "videos").mkdir()
    for k, count in enumerate((3, 5, 8, 4)):
        write_video(tmp_path / "videos" / f"clip{k}.avi", count)
    assert train(tmp_path / "run", 2, f"data.path={tmp_path / 'videos'}", "data.format=videos", "data.held_out=1", "data.limit=3",
                 "training.batch_size=3", "model.xi_app=0", measured=True) == 0
    assert results(tmp_path / "run")["train"]["images"] == 3 + 5 + 5
    capsys.readouterr()
    assert main(["infer", str(tmp_path / "run"), "--images", str(tmp_path / "videos"), "--steps", "4", "--output", str(tmp_path / "out")]) == 0
    assert "4 clips, 4 steps: MSRE" in capsys.readouterr().out
    assert cv2.imread(str(tmp_path / "out" / "reconstruction" / "clip0.avi.png")).shape == (16, 3 * 16, 3)
    assert np.load(tmp_path / "out" / "displacement" / "clip2.avi.npy", allow_pickle=False).shape == (5, 2, 16, 16)
    with np.load(tmp_path / "out" / "latents.npz", allow_pickle=False) as found:
        assert found["z_app"].shape == (4, 4) and found["z_geo"].shape == (4, 3 + 4 * 2) and list(found["names"])[0] == "clip0.avi"
    for name in ("recombination", "shape", "sampling"):  # no labels, no known factors: pictures alone
        assert experiment(name, tmp_path / "run") == 0
    assert experiment("recognition", tmp_path / "run") == 2
    assert "is not named class/person_" in capsys.readouterr().err


def test_recombination(trained, capsys, monkeypatch):
    drawn = {}

    def watched(path, rows, title, labels, **others):
        drawn.update(rows=rows, labels=labels)
        return save_sheet(path, rows, title, labels, **others)
    monkeypatch.setattr("dgn.figures.clips.save_sheet", watched)
    assert experiment("recombination", trained, "--clips", 2, 9) == 0
    run = build.load_run(trained, "CPU")
    z_app, z_geo = run.bank.read(np.array([2, 9]))
    for row, (a, g) in zip(drawn["rows"][2:], ((0, 1), (1, 0))):  # the third row has the second clip's geometry
        np.testing.assert_allclose(row, run.decode(z_app[[a]], z_geo[[g]]).image[0], atol=1e-5)
    assert drawn["labels"][2].startswith("appearance of 1")
    np.testing.assert_array_equal(drawn["rows"][1], run.open_sources().train.read(np.array([9]))[0])
    assert "landmark motion" in capsys.readouterr().out
    assert set(results(trained)["explained_motion"]) == set(EXPRESSIONS)
    found = results(trained)["recombination"]
    assert {"geometry_donor", "appearance_donor", "own", "donors"} == set(found["mouth_open"]) and "skin" in found
    for suffix in ("png", "gif", "mp4"):
        assert (trained / "figures" / f"recombination.{suffix}").stat().st_size > 0
    video = cv2.VideoCapture(str(trained / "figures" / "recombination.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert experiment("recombination", trained, "--clips", 0, 24) == 2 and "clips 0 to 23" in capsys.readouterr().err


def test_explained_motion_is_a_share_of_what_moves(rng):
    clips = rng.random((4, 6, 1, 4, 4)).astype(np.float32)
    clips[3, 4:] = -1  # a shorter clip
    still, half = clips.copy(), clips.copy()
    for k, there in enumerate((6, 6, 6, 4)):
        mean = clips[k, :there].mean(0)
        still[k], half[k] = mean + 0.3, (clips[k] + mean) / 2
    rebuilt = np.stack([still[0], half[1], clips[2] + 0.2, half[3]])
    found = explained_motion(clips, rebuilt, ["still", "half", "whole", "half"])
    assert found == pytest.approx({"still": 0, "half": 0.75, "whole": 1}, abs=1e-5)


@pytest.mark.parametrize("giver", ["geometry", "appearance"])
def test_recombination_tells_whose_motion_a_clip_has(monkeypatch, giver):
    """Of a model that shows one donor's clip, told by two pixels, number and frame, and a probe that reads these."""
    data = Data(frames=5, size=16)
    clips, everyone = build.make_clips(data, 24), np.arange(24)

    def decode(z_app, z_geo):
        image = np.zeros((len(z_app), 5, 3, 16, 16), np.float32)
        image[:, :, 0, 0, 0] = z_geo if giver == "geometry" else z_app
        image[:, :, 0, 0, 1] = np.arange(5)
        return SimpleNamespace(image=image)

    def reading(table):
        return lambda frames: table[frames[:, 0, 0, 0].astype(int), frames[:, 0, 0, 1].astype(int)]

    points, factors = clips.landmarks(everyone).reshape(24, 5, -1), clips.factor_table(everyone, (*MOTION, *COLOUR))
    monkeypatch.setattr(recombination, "probe", lambda trained: Probe(factors=reading(factors), landmarks=reading(points)))
    run = SimpleNamespace(bank=Bank(everyone[:, None]), decode=decode, config=SimpleNamespace(data=data))
    partner = other_donors([clips.name(k) for k in everyone])
    found = recombination.followed(run, partner)
    between = np.corrcoef(motion(points)[partner].ravel(), motion(points).ravel())[0, 1]
    other = "appearance" if giver == "geometry" else "geometry"
    for name in ("landmark motion", "landmark position", "smile", "skin"):
        assert found[name][f"{giver}_donor"] == pytest.approx(1, abs=1e-5) and found[name]["own"] == pytest.approx(1, abs=1e-5)
        assert found[name][f"{other}_donor"] == pytest.approx(found[name]["donors"], abs=1e-5)
    assert found["landmark motion"]["donors"] == pytest.approx(between, abs=1e-5) and abs(between) < 0.9


class Bank:
    """Latents that are the clips' own numbers."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def read(self, chosen):
        return self.rows[chosen], self.rows[chosen]


def test_a_probe_reads_motion_and_colour_of_clips_it_has_not_seen():
    data = Data(frames=5, size=32)
    read = probe(SimpleNamespace(config=SimpleNamespace(data=data)))
    clips = build.make_clips(data, 120)
    everyone = np.arange(120)  # twenty people
    found, true = over_time(read.factors, clips.read(everyone)), clips.factor_table(everyone, (*MOTION, *COLOUR))
    for k, name in enumerate((*MOTION, *COLOUR)):
        assert np.corrcoef(found[..., k].ravel(), true[..., k].ravel())[0, 1] > 0.5, name
    points, wanted = over_time(read.landmarks, clips.read(everyone)), clips.landmarks(everyone).reshape(120, 5, -1)
    assert np.abs(points - wanted).mean() < 1


def test_another_shape_moves_every_frame_alike(rng):
    model = DynamicGenerator(Model(network="table5", z_app=4, z_geo=3, xi_geo=2, width=8, alpha=2.0), 3, 16, 5, 1)
    z = rng.standard_normal((2, *model.groups[1].shape)).astype(np.float32)
    before, after = (model.branches[1].latents(ms.Tensor(v)).asnumpy() for v in (z, shape.edited(z, 1, 0.7)))
    np.testing.assert_allclose(after - before, np.broadcast_to([0, 0.7, 0], before.shape), atol=1e-6)
    assert np.ptp(before, 1).max() > 0.1  # and it does move


def test_changes_are_told_apart_where_training_ended():
    still = np.zeros((1, 8, 1, 2, 2), np.float32)
    moving = still + 0.1 * np.arange(8)[:, None, None, None]
    then = np.where(np.arange(8)[:, None, None, None] < 5, still, moving - 0.4)  # still for the five frames that were trained on
    shorter = moving.copy()
    shorter[:, 3:] = -1
    found = sampling.changes(then, shorter, 5)
    assert found == pytest.approx({"change_of_training_clips": 0.1, "change_within": 0, "change_beyond": 0.1}, abs=1e-6)
    assert sampling.changes(then[:, :5], shorter, 5)["change_beyond"] is None


def test_shape(trained, capsys):
    assert experiment("shape", trained, "--clip", 3, "--dimension", 1) == 0
    found = results(trained)["shape"]
    assert found["dimension"] == 1 and -1 <= found["motion_kept"] <= 1 and found["landmarks_moved"] >= 0
    assert experiment("shape", trained, "--dimension", 3) == 2 and "dimensions 0 to 2" in capsys.readouterr().err


def test_sampling_beyond_the_trained_length(trained):
    assert experiment("sampling", trained, "--frames", 12, "--count", 3) == 0
    found = results(trained)["sampling"]
    assert found["frames"] == 12 and found["change_beyond"] > 0
    assert (trained / "figures" / "samples.gif").is_file()
    assert experiment("sampling", trained, "--frames", 1) == 2


def test_recognition(trained, capsys):
    assert experiment("recognition", trained, "--folds", 2, "--epochs", 2) == 0
    found = results(trained)["recognition"]
    assert found["people"] == 4 and found["clips"] == 24 and len(found["Ddf"]["confusion"]) == 6
    assert {"Dglf", "Ddf", "appearance", "pixels"} <= set(found)
    assert not found["as_they_are"] and found["most_frequent"]["accuracy"] == pytest.approx(1 / 6)
    assert experiment("recognition", trained) == 2 and "as many people as folds" in capsys.readouterr().err


def test_an_appearance_that_does_not_change_is_recognised_by_itself(rng):
    model = DynamicGenerator(Model(network="table5", z_app=4, z_geo=3, xi_app=0, xi_geo=2, width=8, alpha=2.0), 3, 16, 4, 1)
    z = [rng.standard_normal((2, *group.shape)).astype(np.float32) for group in model.groups]
    run = SimpleNamespace(model=model, settled=lambda *_: z, infer=lambda clips, steps, settle: [(steps == 7) * v for v in z])
    clips = np.zeros((2, 4, 3, 16, 16), np.float32)
    found = recognition.features(run, clips, None)
    for name, values in recognition.features(run, clips, 7).items():  # inferred anew by so many steps
        np.testing.assert_array_equal(values, found[name])
    np.testing.assert_allclose(found["Ddf"], decode(model, *z).displacement, atol=1e-6)
    np.testing.assert_array_equal(found["appearance"], np.stack([0 * z[0], z[0], z[0], z[0]], 1))
    assert found["Dglf"].shape == (2, 4, 3) and found["Ddf"].shape == (2, 4, 2, 16, 16)


def test_a_run_whose_data_have_changed_is_refused(tmp_path, capsys):
    write_clips(tmp_path / "clips", 4, 3, 16, seed=1)
    options = [f"data.path={tmp_path / 'clips'}", "data.format=frames", "data.frames=3", "data.limit=4", "data.held_out=0"]
    assert train(tmp_path / "run", 1, *options) == 0
    next((tmp_path / "clips").glob("*/P000_0001/0002.png")).unlink()
    assert experiment("shape", tmp_path / "run") == 2
    assert f"has learned from other images than {tmp_path / 'clips'} holds now" in capsys.readouterr().err
    config = build.RunFolder.open(tmp_path / "run").config
    with pytest.raises(UserError, match="has learned from other images"):  # an experiment that finds the run ended
        runs.finished(tmp_path / "run", config, "CPU").open_sources()


def test_names_tell_class_and_person():
    assert label("anger/S010_004") == ("anger", "S010") and label(FaceClips(1, 2, 16, 1).name(0)) == ("happiness", "P000")
    with pytest.raises(UserError, match="not named"):
        label("clip0.avi")


def test_donors_differ_in_person_and_class():
    names = [FaceClips(24, 2, 16, 1).name(k) for k in range(24)]
    partner = other_donors(names)
    assert sorted(partner) == list(range(24))
    assert all(label(names[k])[0] != label(names[p])[0] and label(names[k])[1] != label(names[p])[1] for k, p in enumerate(partner))
    assert other_donors(["a", "b", "c"]).tolist() == [1, 2, 0]
    partner = other_donors(names[:13])  # no one shift suits all
    assert all(label(names[k])[0] != label(names[p])[0] and label(names[k])[1] != label(names[p])[1] for k, p in enumerate(partner))
    assert other_donors(names[:6]).tolist() == list(range(6))  # one person


def test_motion_is_what_changes_over_time(rng):
    values = rng.standard_normal((2, 4, 3))
    np.testing.assert_allclose(motion(values + rng.standard_normal((2, 1, 3))), motion(values), atol=1e-12)


@pytest.mark.parametrize("settings, said", [
    (["model.kind=plain"], "clips (data.frames) are for the deformable model"),
    (["data.frames=0", "data.format=videos"], "data.frames says of how many frames"),
    (["data.size=40"], "need multiples of 16"),
    (["training.parts=3"], "training.parts is 3; it must divide"),
    (["inference.steps=4", "inference.compiled=3"], "inference.compiled is 3; it must divide"),
    (["data.path=/tmp"], "must hold clips")])
def test_settings_that_do_not_go_together_are_refused(tmp_path, settings, said, capsys):
    assert train(tmp_path / "run", 1, *settings) == 2
    assert said in capsys.readouterr().err


def test_a_run_on_images_is_refused(images, tmp_path, capsys):
    assert main(arguments(images, tmp_path / "run", 1)) == 0
    for name in ("recombination", "shape", "sampling", "recognition"):
        assert experiment(name, tmp_path / "run") == 2 and "is a run on images" in capsys.readouterr().err, name


def test_a_start_that_is_not_there_leaves_no_run_folder(tmp_path, capsys):
    assert train(tmp_path / "run", 1, f"training.start={tmp_path / 'nothing'}") == 2
    assert "holds no run" in capsys.readouterr().err and not (tmp_path / "run").exists()
