"""Packaged models: their published numbers, what is written for them, and how one is made of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import dgn
from dgn import config as cfg
from dgn import package_run, packaged
from dgn.__main__ import main
from dgn.data.open import open_sources
from dgn.data.source import Subset
from dgn.errors import UserError
from dgn.figures.draw import curves
from dgn.inference.latents import LatentBank
from dgn.nets.build import make_model
from dgn.page.write import write_page
from dgn.run import open_run
from dgn.run_folder import RunFolder
from dgn.training import checkpoint
from dgn.training.optim import adam


def contents(folder) -> dict:
    """Path -> bytes of every file."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def faces():
    return dgn.load("faces", device="CPU")


def mean_error(images, decoded) -> float:
    return float(np.square(images - decoded.image).sum((1, 2, 3)).mean())


@pytest.mark.parametrize("name", packaged.names())
def test_a_packaged_model_is_small_and_names_no_folder_of_a_machine(name):
    files = contents(packaged.FOLDER / name)
    assert sum(map(len, files.values())) < package_run.LIMIT
    results = json.loads((packaged.FOLDER / name / "metrics.json").read_text())
    assert results["provenance"]["command"].startswith("python -m dgn") and results["unseen"]["msre"] > 0
    assert "/root" not in json.dumps(results) and "/home" not in json.dumps(results)


def test_the_published_error_of_training_faces_is_measured_again(faces):
    count = len(faces.bank)
    everyone = np.arange(count)
    published = faces.folder.read_results()["train"]
    error = mean_error(faces.sources.train.read(everyone), faces.decode(*faces.bank.read(everyone)))
    assert published["images"] == count and error == pytest.approx(published["msre"], rel=1e-3)


def test_the_published_error_of_unseen_faces_is_measured_again(faces):
    """With the published start and number of steps: an encoder's latents and 20 steps, or 300 from the prior's mean."""
    published = faces.folder.read_results()["unseen"]
    few = Subset(faces.sources.held_out, np.arange(published["images"]))
    latents = faces.infer(few, published.get("steps"), use_encoder=published.get("start") == "encoder")
    error = mean_error(few.read(np.arange(len(few))), faces.decode(*latents))
    assert error == pytest.approx(published["msre"], rel=0.02)


def test_nothing_is_written_in_the_package(faces, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, output = contents(packaged.FOLDER), packaged.OUTPUT / "faces"
    published = faces.folder.read_results()
    faces.folder.add_results(own={"value": 1})
    assert faces.folder.read_results() == {**published, "own": {"value": 1}}
    assert write_page(faces, finished=False) == output / "page.html" and (output / "page.html").stat().st_size > 1e5
    assert curves(faces, faces.folder.figures) == output / "figures" / "curves.png"
    assert {path.name for path in output.iterdir()} == {"metrics.json", "page.html", "figures"}
    assert contents(packaged.FOLDER) == before


def test_a_run_folder_comes_before_a_packaged_model_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces").mkdir()  # a folder of pictures is no run
    assert packaged.open_folder(Path("faces")).path == packaged.FOLDER / "faces"
    RunFolder.create(tmp_path / "faces", cfg.Config())
    assert packaged.open_folder(Path("faces")).path == packaged.Path("faces")


def test_no_new_run_takes_the_name_of_a_packaged_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("faces", "./faces"):
        with pytest.raises(UserError, match="faces is the name of a packaged model; choose .* such as runs/faces"):
            packaged.check_free(Path(name))
    for other in (Path("runs") / "faces", Path("faces2"), tmp_path / "faces"):
        packaged.check_free(other)


def test_an_unknown_name_lists_the_packaged_models(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["figures", "fases"]) == 2
    message = capsys.readouterr().err
    assert "fases holds no run" in message and "faces" in message.partition("packaged models:")[2]


def test_a_run_on_clips_is_packaged_without_its_optimizer(tmp_path, capsys):
    config = cfg.changed(cfg.Config(), data={"frames": 3, "size": 16, "limit": 6, "held_out": 2},
                         model={"z_app": 4, "z_geo": 3, "width": 8, "network": "table5", "alpha": 2.0})
    folder, model = RunFolder.create(tmp_path / "run", config), make_model(config)
    train = open_sources(config.data).train
    bank = LatentBank.create(folder.latents, model.groups, len(train), 0)
    cells = {"weights": model, "optimizer": adam(model.trainable_params())}
    checkpoint.save(folder.checkpoints, checkpoint.Position(2, 0), {"images": train.identity()}, cells, bank, 1)
    for epoch in range(2):
        folder.log_metrics({"epoch": epoch, "msre": 3.0 - epoch, "seconds": 1.0})
    folder.add_results(provenance={"command": "python -m dgn train --config /a/b/config/clips.yaml"})

    assert main(["package", str(folder.path), str(tmp_path / "clips")]) == 0
    assert f"{tmp_path / 'clips'}: " in capsys.readouterr().out
    made = open_run(tmp_path / "clips")
    everyone = np.arange(6)
    np.testing.assert_array_equal(made.decode(*made.bank.read(everyone)).image,
                                  open_run(folder.path).decode(*bank.read(everyone)).image)
    assert {path.name for path in made.checkpoint.iterdir()} == {"weights.ckpt", "z_app.npy", "z_geo.npy", "state.json",
                                                                 "manifest.json"}
    assert made.folder.read_metrics_log() == folder.read_metrics_log()
    assert made.sources.train.read(everyone).shape == (6, 3, 3, 16, 16)
    assert made.folder.read_results()["provenance"]["command"] == "python -m dgn train --config config/clips.yaml"


def test_a_run_on_files_is_not_packaged(tmp_path):
    folder = RunFolder.create(tmp_path / "run", cfg.changed(cfg.Config(), data={"path": "photos"}))
    with pytest.raises(UserError, match="photos.*generated"):
        package_run.make(folder, tmp_path / "made")
