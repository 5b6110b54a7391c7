"""The page as a file: its size, its contents, the command, and that it needs nothing else."""

from __future__ import annotations

import base64
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from dgn import page
from dgn.figures.draw import draw
from dgn.files import write_json
from dgn.page import record
from dgn.page.images import run_pictures
from dgn.page.write import write_page
from tests.compiled import batches_of
from tests.page import runs
from tests.page.javascript import JavaScript
from tests.page.runs import data_of

pytestmark = pytest.mark.slow

LIMIT = 2_000_000


@pytest.fixture(scope="module", autouse=True)
def batches():
    """As large as those of the runs."""
    with batches_of(runs.COUNT):
        yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A run of the demo's model with pictures and measures."""
    run = runs.demo(tmp_path_factory.mktemp("page") / "demo")
    draw(run)
    donors = {"own": 0.9, "appearance_donor": 0.25, "geometry_donor": 0.75}
    run.folder.add_results(
        train={"msre": 40.0, "psnr": 24.0}, unseen={"msre": 50.0, "psnr": 23.0},
        geometry={"displacement_rms": 2.5, "folded": 0.01}, exchange={"yaw": donors, "light": {**donors, "own": None}},
        views={"rows": [1, float("nan")], "folder": "/home/someone"}, provenance={"command": "dgn train --data secret"})
    return run


@pytest.fixture(scope="module")
def text(demo) -> str:
    path = write_page(demo)
    assert path == demo.folder.path / "page.html"
    return path.read_text(encoding="utf-8")


def test_the_demo_fits_the_limit_with_all_its_pictures(demo, text):
    assert len(text.encode("utf-8")) < LIMIT
    drawn = {path.name for path in demo.folder.figures.glob("*.png")} - {"curves.png"}
    assert {picture["name"] for picture in data_of(text)["pictures"]} == drawn and len(drawn) > 4


def test_pictures_are_reduced_to_a_smaller_limit(demo, tmp_path, monkeypatch):
    sizes = {}
    for limit in (700_000, 1):
        monkeypatch.setattr("dgn.page.write.LIMIT", limit)
        sizes[limit] = len(write_page(demo, tmp_path / f"{limit}.html").read_bytes())
    assert sizes[1] < sizes[700_000] < 700_000


def test_the_page_of_a_training_in_progress(demo, tmp_path):
    (demo.folder.figures / "epoch_00001").mkdir()
    shutil.copy(demo.folder.figures / "samples.png", demo.folder.figures / "epoch_00001")
    data = data_of(write_page(demo, tmp_path / "page.html", finished=False).read_text(encoding="utf-8"))
    assert [samples["unseen"] for samples in data["samples"]] == [False]
    assert [picture["name"] for picture in data["pictures"]] == ["samples.png"]
    assert data["pair"][0][0] == data["pair"][1][0] == 0


def test_nothing_is_fetched(text):
    assert not re.search(r"https?:|//cdn|@import|\bfetch\(|XMLHttpRequest|WebSocket|import\(|sendBeacon", text)
    sources = re.findall(r"""(?:src|href)=["']?([^"'\s>]+)""", text)
    assert all(source.startswith(("#", "data:")) for source in sources)
    assert "default-src 'none'" in text


def test_contents(demo, text):
    data = data_of(text)
    assert data["noun"] == "face" and data["model"]["size"] == 64
    assert [group["title"] for group in data["groups"]] == ["Appearance", "Geometry"]
    for group in data["groups"]:
        assert group["share"] == sorted(group["share"], reverse=True) and abs(sum(group["share"]) - 1) < 0.01
    assert [(samples["unseen"], samples["count"]) for samples in data["samples"]] == [(False, 12), (True, 12)]
    assert [number["value"] for number in data["numbers"]] == ["24.0", "23.0", "2.5"]
    assert data["exchange"]["rows"][0] == {"factor": "turning left or right", "appearance": 0.25, "geometry": 0.75}
    assert data["curves"][0]["lines"][0]["x"] == [1, 2]
    assert data["metrics"]["views"] == {"rows": [1, None]}
    assert "someone" not in text and "secret" not in text


def test_axes_and_latents_are_those_of_the_run(demo, text):
    data, raw = data_of(text), re.search(r'id="arrays">(.*?)</script>', text, re.DOTALL)[1]
    block = base64.b64decode(raw)

    def array(reference: dict) -> np.ndarray:
        values = np.frombuffer(block, "<f4", int(np.prod(reference["shape"])), reference["at"])
        return values.reshape(reference["shape"])

    for group in data["groups"]:
        axes = array(group["axes"])
        np.testing.assert_allclose(axes.T @ axes, np.eye(16), atol=1e-5)
    images = demo.sources.train.read(np.arange(12))
    latents = [array(reference) for reference in data["samples"][0]["latents"]]
    chains = demo.bank.read(np.arange(12))
    assert demo.energy(images, latents).mean() < demo.energy(images, chains).mean()
    errors = np.square(demo.decode(*latents).image - images).sum((1, 2, 3))
    (first_set, first), (other_set, other) = data["pair"]
    assert (first_set, first, other_set) == (0, errors.argmin(), 1) and 0 <= other < 12
    decoded, script = demo.decode(*latents), JavaScript(data["model"], raw)
    for k in range(12):
        (fields,) = script.decode([z[k] for z in latents])
        for values, expected, tolerance in zip(fields, decoded, (1e-4, 1e-4, 1e-3)):  # the last in pixels
            np.testing.assert_allclose(np.reshape(values, expected[k].shape), expected[k], rtol=0, atol=tolerance)


def test_random_samples_are_drawn_from_the_fit_or_from_the_prior(demo, text, tmp_path):
    references, raw = data_of(text)["prior"], re.search(r'id="arrays">(.*?)</script>', text, re.DOTALL)[1]
    block = base64.b64decode(raw)
    for reference, values in zip(references, demo.fitted_prior):
        stored = np.frombuffer(block, "<f4", values.size, reference["at"]).reshape(reference["shape"])
        np.testing.assert_allclose(stored, values, rtol=1e-6)
    plain = write_page(demo, tmp_path / "page.html", finished=False, prior="prior")
    assert data_of(plain.read_text(encoding="utf-8"))["prior"] is None


def test_a_run_without_results_or_pictures_has_a_page(tmp_path):
    run = runs.plain(tmp_path / "a run & <its> name")
    text = write_page(run, tmp_path / "page.html").read_text(encoding="utf-8")
    data = data_of(text)
    assert data["pictures"] == data["numbers"] == [] and data["exchange"] is None
    assert data["run"] == "a run & <its> name" and "<its>" not in text
    assert [group["title"] for group in data["groups"]] == ["Latent vector"]
    for damaged in ({"train": [1], "geometry": 3, "exchange": [1], "unseen": {"psnr": 1}},
                    {"train": {"psnr": "1", "msre": 1}, "unseen": {"psnr": float("nan"), "msre": 1},
                     "exchange_unseen": {"yaw": 3, "pitch": {"appearance_donor": "1", "geometry_donor": 10 ** 400}}}):
        write_json(run.folder.results_path, damaged)
        metrics = run.folder.read_results()
        assert record.numbers(run, metrics) == [] and record.exchange(metrics) is None


def test_unreadable_pictures_are_left_out(tmp_path):
    cv2.imwrite(str(tmp_path / "samples.png"), np.zeros((40, 60, 3), np.uint8))
    (tmp_path / "reconstruction.png").write_bytes(b"cut")
    (tmp_path / ".12-ab-bases.png").write_bytes((tmp_path / "samples.png").read_bytes())  # of a killed process
    assert [picture["name"] for picture in run_pictures(tmp_path, 10_000)] == ["samples.png"]
    assert run_pictures(tmp_path / "nowhere", 10_000) == []
    (tmp_path / os.fsdecode(b"own_\xff.png")).write_bytes((tmp_path / "samples.png").read_bytes())
    other = run_pictures(tmp_path, 10_000)[1]
    assert (other["name"], other["caption"]) == ("own_\\udcff.png", "own \\udcff")


def test_the_package_contains_the_files_of_the_page():
    folder, root = Path(page.__file__).parent, Path(page.__file__).parents[3]
    patterns = re.search(r'"dgn.page" = \[(.*?)\]', (root / "pyproject.toml").read_text())[1]
    packed = {path for pattern in re.findall(r'"(.*?)"', patterns) for path in folder.glob(pattern)}
    assert packed == {path for path in folder.iterdir() if path.suffix not in (".py", "") and path.is_file()}
