"""Each command as its user runs it."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest

import dgn
from dgn import config as cfg
from dgn.__main__ import COMMANDS, main
from dgn.evaluation.evaluate import warn_of_training_images
from dgn.nets.model import Latents
from dgn.train_output import pictures_while_training
from tests.compiled import batches_of
from tests.moved import moved
from tests.page.runs import data_of
from tests.training.tiny import SETTINGS, arguments

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def batches():
    """As large as those of the training."""
    with batches_of(4):
        yield


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A run on images and in a folder that relative paths named; the images are beside it."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(images, folder / "mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(arguments("mine", "run", 2, "--set", "training.figures_every=1", measured=True)) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def learned(images, tmp_path_factory):
    """A run that has learned something."""
    output = tmp_path_factory.mktemp("runs") / "run"
    assert (
        main(
            arguments(
                images, output, 150, "--set", "training.learning_rate=0.005", "--set", "training.checkpoint_every=150"
            )
        )
        == 0
    )
    return output


PICTURES = {
    "reconstruction.png",
    "appearance_bases.png",
    "geometry_bases.png",
    "applied_bases.png",
    "recombination.png",
    "samples.png",
    "curves.png",
}


def test_a_training_leaves_a_run_folder_with_everything(trained):
    assert {p.name for p in trained.iterdir()} == {
        "config.yaml",
        "fitted_prior.npz",
        "metrics.jsonl",
        "metrics.json",
        "train.log",
        "checkpoints",
        "latents",
        "figures",
        "held_out.json",
        "trained.json",
        "page.html",
        ".lock",
    }
    assert {p.name for p in (trained / "figures").glob("*.png")} == {"data.png", *PICTURES}
    assert {p.name for p in (trained / "figures" / "epoch_00001").iterdir()} == PICTURES
    records = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in records] == [0, 1]
    assert {
        "loss",
        "msre",
        "z_app_mean",
        "z_app_std",
        "gradient",
        "images_per_second",
    } <= set(records[0])
    log = (trained / "train.log").read_text()
    assert "8 images to train on, 2 held out, from" in log and "16 x 16 pixels, colour" in log
    assert "epoch: 2 step: 2, loss is" in log and "picture" in log and "MSRE" in log


@pytest.mark.parametrize("every, train_only, due", [(0, False, [1, 3, 10, 30]), (0, True, []), (12, False, [12, 24]),
                                                    (12, True, [12, 24])])
def test_pictures_are_drawn_while_training(every, train_only, due, tmp_path, monkeypatch):
    full, few, pages = [], [], []
    monkeypatch.setattr("dgn.train_output.draw", lambda run, folder: full.append(folder))
    monkeypatch.setattr("dgn.train_output.draw_progress", lambda run, folder: few.append(folder))
    monkeypatch.setattr("dgn.train_output.write_page", lambda run, finished: pages.append(finished))
    config = cfg.changed(cfg.Config(), training={"epochs": 36, "figures_every": every})
    callback = pictures_while_training(config, train_only)
    run = SimpleNamespace(folder=SimpleNamespace(figures=tmp_path), model=SimpleNamespace(latents_type=Latents))
    for done in range(1, 37) if callback else ():
        callback(run, done)
    expected = [tmp_path / f"epoch_{done:05d}" for done in due]
    assert (full, few) == ((expected, []) if every else ([], expected)) and pages == [False] * len(due)


def test_evaluate_prints_and_stores_the_result(trained, capsys):
    assert main(["evaluate", str(trained)]) == 0
    line = capsys.readouterr().out.strip().splitlines()[-1]
    assert line.startswith("result: {") and f"ckpt={trained / 'checkpoints' / 'epoch_00002'}" in line
    result = json.loads(line[len("result: ") : line.index(" ckpt=")])
    stored = json.loads((trained / "metrics.json").read_text())
    assert stored["train"] == result["train"] and stored["versions"]["mindspore"] == ms.__version__
    assert result["train"]["images"] == 8 and result["unseen"]["images"] == 2
    assert {"nyquist_ratio"} <= set(result["appearance"]) and {"displacement_rms", "stretch_rms"} <= set(
        result["geometry"]
    )


def test_infer_writes_latents_and_pictures(trained, images, tmp_path, capsys):
    assert (
        main(["infer", str(trained), "--images", str(images), "--steps", "5", "--output", str(tmp_path / "out")]) == 0
    )
    assert "10 images, 5 steps: MSRE" in capsys.readouterr().out
    found = np.load(tmp_path / "out" / "latents.npz", allow_pickle=False)
    assert found["z_app"].shape == (10, 4) and found["z_geo"].shape == (10, 3) and found["names"][3] == "003.png"
    assert np.load(tmp_path / "out" / "displacement" / "003.png.npy", allow_pickle=False).shape == (2, 16, 16)
    for kind in ("reconstruction", "appearance", "displacement"):
        assert len(list((tmp_path / "out" / kind).iterdir())) == 10
    assert (
        main(["infer", str(trained), "--images", str(images), "--steps", "5", "--output", str(tmp_path / "again")]) == 0
    )
    np.testing.assert_array_equal(np.load(tmp_path / "again" / "latents.npz")["z_app"], found["z_app"])


def test_a_damaged_file_is_known_before_the_inference_and_can_be_left_out(trained, images, tmp_path, capsys):
    shutil.copytree(images, tmp_path / "some")
    (tmp_path / "some" / "zz.jpg").write_bytes(b"no image")
    line = ["infer", str(trained), "--images", str(tmp_path / "some"), "--steps", "2", "--descent-steps", "3",
            "--output", str(tmp_path / "out")]
    assert main(line) == 2 and not (tmp_path / "out").exists()
    message = capsys.readouterr().err
    assert "1 of 11 files cannot be used" in message and "zz.jpg" in message and "--corrupt skip" in message
    assert main([*line, "--corrupt", "skip"]) == 0 and "10 images" in capsys.readouterr().out
    found = np.load(tmp_path / "out" / "latents.npz", allow_pickle=False)
    run = dgn.load(trained)
    expected = run.infer(dgn.images(images, like=run), 2, 3)
    np.testing.assert_allclose(found["z_geo"], expected.geometry, atol=1e-5)


def test_inference_lowers_the_error_of_new_chains(learned, images, tmp_path, monkeypatch, capsys):
    run, errors = dgn.load(learned, device="CPU"), []  # one for both calls: it is compiled once
    monkeypatch.setattr("dgn.run.load", lambda path, device, data=None: run)
    for steps in ("2", "200"):
        line = ["infer", str(learned), "--images", str(images), "--steps", steps, "--output", str(tmp_path / steps)]
        assert main(line) == 0
        errors.append(float(capsys.readouterr().out.split("MSRE ")[1].split(",")[0]))
    assert errors[1] < errors[0]


def test_images_of_the_training_are_not_called_unseen_without_a_warning(trained, images, tmp_path, caplog):
    run, own = dgn.load(trained), str(trained.with_name("mine"))
    for folder in (str(images), own):
        warn_of_training_images(run, dgn.images(folder, like=run))
    assert [record.getMessage().split(" were")[0] for record in caplog.records] == ["8 of these 10 images"]
    gone = cfg.changed(run.config, data={"path": str(tmp_path)})  # a folder that has no images any more
    warn_of_training_images(SimpleNamespace(config=gone, folder=run.folder), dgn.images(own, like=run))
    assert len(caplog.records) == 1


def test_inference_needs_no_training_images_and_foreign_images_leave_the_metrics_alone(
    trained, images, tmp_path, monkeypatch, capsys
):
    stored, warned = (trained / "metrics.json").read_text(), []
    monkeypatch.setattr("dgn.evaluation.evaluate.warn_of_training_images",
                        lambda run, other: warned.append(other.paths(other.indices(1))))
    monkeypatch.chdir(images)
    assert main(["evaluate", str(trained), "--images", str(images)]) == 0 and warned == [[images / "000.png"]]
    assert '"unseen": {' in capsys.readouterr().out
    assert (trained / "metrics.json").read_text() == stored
    with moved(trained.with_name("mine"), tmp_path / "elsewhere"):
        line = ["infer", str(trained), "--images", str(images), "--steps", "2", "--output", str(tmp_path / "out")]
        assert main(line) == 0


def test_the_page_of_the_training_and_that_of_the_command(trained, tmp_path):
    log = (trained / "train.log").read_text()
    assert log.splitlines()[-1].split()[:2] == ["page", "run/page.html"]
    first = (trained / "page.html").read_text(encoding="utf-8")
    assert data_of(first)["noun"] == "image" and str(trained.parent) not in first
    assert main(["page", str(trained), str(tmp_path / "copy.html"), "--device", "CPU"]) == 0
    again = data_of((tmp_path / "copy.html").read_text(encoding="utf-8"))
    assert again["facts"] == data_of(first)["facts"]
    assert again["model"] == data_of(first)["model"]


def test_dry_run_says_what_would_be_done_and_does_nothing(images, tmp_path, capsys):
    assert main(arguments(images, tmp_path / "run", 7, "--dry-run")) == 0
    said = capsys.readouterr().out
    for part in ("epochs: 7", "8 of 3x16x16, 2 batches of 4", "14 iterations", "parameters", "MiB"):
        assert part in said
    assert "one step of Adam" in said and "critic" not in said.partition("device")[2]
    assert main(arguments(images, tmp_path / "run", 7, "--dry-run", "--set", "training.adversarial=minimax")) == 0
    with_critic = capsys.readouterr().out
    assert (
        "critic" in with_critic.partition("device")[2]
        and "a step of Adam for the critic and one for the generators" in with_critic
    )
    assert not (tmp_path / "run").exists()

    def activations(said: str) -> float:
        return float(re.search(r"about (\d+) MiB activations", said)[1])

    line = arguments(
        images, tmp_path / "run", 7, "--dry-run", "--set", "training.adversarial=minimax", "--set", "data.size=128"
    )
    assert main(line) == 0 and main([*line, "--set", "training.r1_weight=0"]) == 0
    with_r1, without = capsys.readouterr().out.split("memory")[1:]
    assert activations(with_r1) == pytest.approx(
        1.5 * activations(without), rel=0.01
    )  # a backward pass beside two forward


def test_generated_faces_are_the_default_and_known_factors_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("dgn.evaluation.evaluate.PROBE_FACES", 60)
    line = ["train", "--device", "CPU", "--output", str(tmp_path / "run")]
    one_size = ["data.limit=8", "data.held_out=8", "evaluation.images=8"]  # of batches
    for setting in [*SETTINGS, *one_size, "training.epochs=1"]:
        line += ["--set", setting]
    assert main(line) == 0
    exchange = json.loads((tmp_path / "run" / "metrics.json").read_text())["exchange"]
    assert {"own", "appearance_donor", "geometry_donor", "geometry_donor_stderr"} < set(exchange["yaw"])
    assert "skin" in exchange


def test_packed_images_train_as_the_folder_does(trained, images, tmp_path):
    packed = tmp_path / "set.mindrecord"
    assert main(["data", "pack", str(images), str(packed), "--set", "data.size=16"]) == 0
    assert main(arguments(packed, tmp_path / "run", 1)) == 0
    first, second = (json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["loss"]
                     for run in (trained, tmp_path / "run"))
    assert first == second


def test_data_faces_and_crop(tmp_path, capsys):
    assert (
        main(
            [
                "data",
                "faces",
                str(tmp_path / "faces"),
                "--count",
                "4",
                "--size",
                "128",
                "--kind",
                "expressions",
                "--sheet",
                str(tmp_path / "sheet.png"),
            ]
        )
        == 0
    )
    assert (tmp_path / "sheet.png").is_file()
    assert main(["data", "crop", str(tmp_path / "faces"), str(tmp_path / "crops"), "--size", "32"]) == 0
    said = capsys.readouterr().out
    assert "28 faces of 128x128" in said
    assert int(said.split(" of 28 photographs: face found")[0].split()[-1]) >= 10


@pytest.mark.parametrize(
    "command", [[], *[[name] for name in COMMANDS], ["data", "faces"], ["data", "crop"], ["data", "pack"]]
)
def test_help_explains_every_command(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) > 5 and "usage: dgn" in said
