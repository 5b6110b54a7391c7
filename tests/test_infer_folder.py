"""Inference into a folder: chunks, what an interrupted one leaves, who may continue it. The run's chains are a stand-in
that adds noise of a sample's position."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dgn import config as cfg
from dgn import console
from dgn import infer_folder as module
from dgn.__main__ import main
from dgn.data.cut import Cut
from dgn.data.folder import Reading
from dgn.data.images import ImageFolder
from dgn.errors import RunFailed, UserError
from dgn.evaluation.reconstruction import reconstruction_errors
from dgn.files import locked_folder, write_json
from dgn.infer_folder import MEANS, SETTINGS, UNFINISHED, infer_folder
from dgn.inference import unseen
from dgn.inference.unseen import ChainSettings
from dgn.nets.model import Decoded, LatentGroup
from dgn.training import chain_encoder

CHAINS = ChainSettings(steps=3, sigma=1.0, seed=7)


@dataclass
class StandIn:
    """In the place of dgn.run.Run. fail_at: position of the first sample of a chunk at which it is interrupted."""

    checkpoint: Path
    fail_at: int | None = None
    reason: BaseException = field(default_factory=KeyboardInterrupt)

    def __post_init__(self):
        self.config, self.calls, self.folder = cfg.Config(), [], SimpleNamespace(path=self.checkpoint)
        self.decoded = []
        self.model = SimpleNamespace(groups=(LatentGroup("z_app", (4,)), LatentGroup("z_geo", (3,))), frames=0)

    def infer_batch(self, images, chains, mask=None, given=None, names=None):
        if chains.first == self.fail_at:
            raise self.reason
        self.calls.append(chains.first)
        noise = np.random.default_rng(chains.first).standard_normal((len(images), 7), np.float32)
        return np.split(noise + images.mean((1, 2, 3))[:, None], [4], 1)

    def decode(self, z_app, z_geo):
        self.decoded.append(len(z_app))
        images = np.broadcast_to(0.1 * z_app[:, :3, None, None], (len(z_app), 3, 16, 16)) + 0.5
        return Decoded(images, images, np.zeros((len(images), 2, 16, 16), np.float32))


@pytest.fixture(autouse=True)
def chunks_of_four(monkeypatch):
    monkeypatch.setattr(unseen, "BATCHES", 4)
    monkeypatch.setattr(unseen, "samples_per_batch", lambda model: 1)
    monkeypatch.setattr(module, "samples_per_batch", lambda model: 1)


@pytest.fixture
def run(tmp_path):
    write_json(tmp_path / "manifest.json", {})
    return StandIn(tmp_path)


@pytest.fixture(scope="module")
def source(images):
    return ImageFolder(str(images), Cut(16), Reading())


def files(folder: Path) -> dict[str, bytes]:
    """Their contents; but overview.png and the lock have the time."""
    return {str(path.relative_to(folder)): b"" if path.name in ("overview.png", ".lock") else path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def interrupted(run, source, output, fail_at=8) -> Path:
    with pytest.raises(KeyboardInterrupt):
        infer_folder(replace(run, fail_at=fail_at), source, output, CHAINS)
    return output


def test_an_interrupted_inference_continues_after_its_finished_chunks(run, source, tmp_path, caplog):
    """The end is that of one that was not interrupted, to the bit; then the folder is full."""
    whole, result = tmp_path / "whole", infer_folder(run, source, tmp_path / "whole", CHAINS)
    assert run.calls == [0, 4, 8] and result["count"] == 10 and not list(whole.glob(".*"))
    assert not (whole / UNFINISHED).exists()
    found = np.load(whole / "latents.npz")
    assert found["z_app"].shape == (10, 4) and found["names"].tolist() == source.names

    output = interrupted(run, source, tmp_path / "parts")
    assert len(list((output / UNFINISHED).glob("*.npz"))) == 2 and not (output / "latents.npz").exists()
    (output / "appearance" / "008.png").write_bytes(b"half of a picture")
    run.calls.clear()
    caplog.set_level("INFO", "dgn")
    assert infer_folder(run, source, output, CHAINS) == result and run.calls == [8]
    assert [record.getMessage() for record in caplog.records] == [
        f"{output}: 2 chunks of 4 samples are finished; continuing with the next one"]
    assert files(output) == files(whole)
    with pytest.raises(UserError, match="parts is not empty"):
        infer_folder(run, source, output, CHAINS)


def test_a_process_that_was_killed_before_its_first_chunk_leaves_a_usable_folder(run, source, tmp_path):
    (tmp_path / "out" / UNFINISHED).mkdir(parents=True)
    assert infer_folder(run, source, tmp_path / "out", CHAINS)["count"] == 10


def test_an_interrupted_inference_with_other_settings_is_refused(run, source, tmp_path):
    output = interrupted(run, source, tmp_path / "out")
    before = files(output)
    with pytest.raises(UserError, match="other settings \\(steps is 3 there, 5 here\\); choose another output"):
        infer_folder(run, source, output, replace(CHAINS, steps=5))
    for part, key, value in (("inference", "step_size", 0.5), ("evaluation", "momentum", 0.5)):
        other = replace(run)
        other.config = replace(run.config, **{part: replace(getattr(run.config, part), **{key: value})})
        with pytest.raises(UserError, match="\\(other inference\\)|\\(momentum is 0.0 there, 0.5 here\\)"):
            infer_folder(other, source, output, CHAINS)
    with pytest.raises(UserError, match="latents_only is False there, True here"):
        infer_folder(run, source, output, CHAINS, latents_only=True)
    with pytest.raises(UserError, match="\\(other names\\)"):
        infer_folder(run, ImageFolder(str(source.paths([0])[0].parent), Cut(16), Reading(pattern="00[1-9].png")),
                     output, CHAINS)
    write_json(tmp_path / "manifest.json", {"weights.ckpt": "trained further"})
    with pytest.raises(UserError, match="\\(other checkpoint\\)"):
        infer_folder(run, source, output, CHAINS)
    assert files(output) == before
    (output / UNFINISHED / SETTINGS).write_text("{")
    with pytest.raises(UserError, match="settings.json is damaged"):
        infer_folder(run, source, output, CHAINS)
    (output / UNFINISHED / SETTINGS).unlink()
    with pytest.raises(UserError, match="holds chunks without settings.json.*; choose another output folder"):
        infer_folder(run, source, output, CHAINS)


def test_chunks_of_another_encoder_are_refused(run, source, tmp_path):
    write_json(tmp_path / chain_encoder.FOLDER / chain_encoder.FILE, 1)
    with pytest.raises(KeyboardInterrupt):
        infer_folder(replace(run, fail_at=4), source, tmp_path / "out", replace(CHAINS, start="chain_encoder"))
    write_json(tmp_path / chain_encoder.FOLDER / chain_encoder.FILE, 2)
    with pytest.raises(UserError, match="\\(other encoder\\)"):
        infer_folder(run, source, tmp_path / "out", replace(CHAINS, start="chain_encoder"))


def test_chunks_of_other_images_under_the_same_names_are_refused(run, source, images, tmp_path):
    """Of another folder, of a changed file, or with other labels; a moved working folder is the same."""
    for name in ("a", "b"):
        shutil.copytree(images, tmp_path / name)
    one, two = (ImageFolder(str(tmp_path / name), Cut(16), Reading()) for name in ("a", "b"))
    assert one.identity() == two.identity()
    output = interrupted(run, one, tmp_path / "out")
    with pytest.raises(UserError, match="\\(other samples\\)"):
        infer_folder(run, two, output, CHAINS)
    file = one.paths([3])[0]
    state = file.stat()
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    with pytest.raises(UserError, match="\\(other samples\\)"):
        infer_folder(run, one, output, CHAINS)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    linked = ImageFolder(str(tmp_path / "link"), Cut(16), Reading())
    assert infer_folder(run, linked, output, CHAINS)["count"] == 10


def test_images_behind_a_link_to_a_name_that_is_not_utf8(run, images, tmp_path):
    shutil.copytree(images, tmp_path / os.fsdecode(b"\xff"))
    (tmp_path / "link").symlink_to(tmp_path / os.fsdecode(b"\xff"))
    linked = ImageFolder(str(tmp_path / "link"), Cut(16), Reading())
    assert infer_folder(run, linked, tmp_path / "out", CHAINS, latents_only=True)["count"] == 10


def test_chunks_with_other_labels_are_refused(run, source, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "given_latents", lambda groups, source: {"label": np.zeros((10, 2), np.float32)})
    output = interrupted(run, source, tmp_path / "out")
    monkeypatch.setattr(module, "given_latents", lambda groups, source: {"label": np.ones((10, 2), np.float32)})
    with pytest.raises(UserError, match="\\(other labels\\)"):
        infer_folder(run, source, output, CHAINS)


def test_another_process_may_finish_between_the_look_at_the_folder_and_the_lock(run, source, tmp_path, monkeypatch):
    output = interrupted(run, source, tmp_path / "out")

    @contextmanager
    def late(folder):
        with locked_folder(folder):
            (output / UNFINISHED).rename(tmp_path / "removed")
            (output / "latents.npz").touch()
            yield
    monkeypatch.setattr(module, "locked_folder", late)
    with pytest.raises(UserError, match="out is not empty"):
        infer_folder(run, source, output, CHAINS)
    assert not (output / UNFINISHED).exists()


def test_the_end_does_not_depend_on_files_that_cannot_be_removed(run, source, tmp_path, monkeypatch):
    """Such as those that another host has open on a shared file system."""
    def stopped(path, ignore_errors=False):
        assert not (tmp_path / "out" / UNFINISHED).exists()  # never chunks without settings
        if not ignore_errors:
            raise OSError("not empty")
    monkeypatch.setattr(module.shutil, "rmtree", stopped)
    assert infer_folder(run, source, tmp_path / "out", CHAINS)["count"] == 10


def test_the_errors_are_those_of_all_images(run, source, tmp_path):
    """The last chunk has two of ten: it does not weigh as much as the others."""
    result = infer_folder(run, source, tmp_path / "out", CHAINS)
    with np.load(tmp_path / "out" / "latents.npz") as found:
        decoded = run.decode(found["z_app"], found["z_geo"])
    errors = reconstruction_errors(source[:], decoded.image)
    assert {key: result[key] for key in MEANS} == pytest.approx({key: errors[key] for key in MEANS}, rel=1e-5)


def test_no_steps_and_no_encoder(run, source, tmp_path):
    with pytest.raises(UserError, match="steps is 0, but no encoder"):
        infer_folder(run, source, tmp_path / "out", replace(CHAINS, steps=0))
    assert infer_folder(run, source, tmp_path / "out", replace(CHAINS, steps=0, descent_steps=1))["count"] == 10


def test_the_overview_needs_no_graph_of_its_own(run, source, tmp_path, monkeypatch):
    for name, value in (("BATCHES", 1), ("samples_per_batch", lambda model: 4)):
        monkeypatch.setattr(unseen, name, value)
    monkeypatch.setattr(module, "samples_per_batch", lambda model: 4)
    monkeypatch.setattr(module, "SHOWN", 3)
    infer_folder(run, source, tmp_path / "out", CHAINS)
    assert run.decoded == [4, 4, 2, 4]


def test_the_time_left_is_that_of_the_chunks_that_are_missing(run, source, tmp_path, monkeypatch):
    output, bars = interrupted(run, source, tmp_path / "out"), []

    def progress(*given, **options):
        bars.append(options)
        return console.progress(*given, **options)
    monkeypatch.setattr(module, "console", SimpleNamespace(progress=progress))
    infer_folder(run, source, output, CHAINS)
    assert bars == [{"total": 10, "initial": 8, "unit": "image"}]


def test_chunks_of_a_source_take_its_names_at_once(source, run, monkeypatch):
    monkeypatch.setattr(type(source), "names", ["name"] * len(source))
    monkeypatch.setattr(type(source), "name", None)
    chunks = list(unseen.chunks(run.model, source, {"label": np.arange(10)}, skip={4}))
    assert [(chunk.first, len(chunk.samples), chunk.names) for chunk in chunks] == [
        (0, 4, ["name"] * 4), (8, 2, ["name"] * 2)]
    np.testing.assert_array_equal(chunks[1].given["label"], [8, 9])


def test_a_damaged_chunk_is_named(run, source, tmp_path):
    output = interrupted(run, source, tmp_path / "out")
    (output / UNFINISHED / "000000004.npz").write_bytes(b"")
    with pytest.raises(UserError, match="000000004.npz is damaged .*remove it"):
        infer_folder(run, source, output, CHAINS)


HOLD = """
import fcntl, sys
with open(sys.argv[1], "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("process 9 on a host", file=file, end="", flush=True)
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_at_once(run, source, tmp_path):
    output = interrupted(run, source, tmp_path / "out")
    with subprocess.Popen([sys.executable, "-c", HOLD, output / ".lock"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        before = files(output)
        with pytest.raises(UserError, match="out is in use by process 9 on a host"):
            infer_folder(run, source, output, CHAINS)
        assert files(output) == before
        holder.stdin.close()
    assert infer_folder(run, source, output, CHAINS)["count"] == 10


def test_latents_alone(run, source, tmp_path):
    infer_folder(run, source, tmp_path / "all", CHAINS)
    infer_folder(run, source, tmp_path / "few", CHAINS, latents_only=True)
    assert sorted(files(tmp_path / "few")) == ["latents.npz", "overview.png"]
    assert files(tmp_path / "few").items() <= files(tmp_path / "all").items()


@pytest.mark.parametrize(("reason", "code"), [(KeyboardInterrupt(), 130), (RunFailed("cannot write"), 1)])
def test_an_interruption_says_how_to_go_on(reason, code, run, source, images, tmp_path, monkeypatch, capsys):
    """Ctrl-C, or a full disk."""
    stopped = replace(run, fail_at=4, reason=reason)
    stopped.chain_settings = lambda *_: CHAINS
    monkeypatch.setattr("dgn.run.load", lambda *_: stopped)
    monkeypatch.setattr("dgn.run.images", lambda *_: source)
    output = tmp_path / "out"
    assert main(["infer", "faces", "--images", str(images), "--output", str(output)]) == code
    assert (f"finished chunks are in {output / UNFINISHED}; run the same command again to continue"
            in capsys.readouterr().err)
