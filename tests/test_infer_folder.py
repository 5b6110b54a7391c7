"""Inference into a folder: chunks, what an interrupted one leaves, who may continue it. The run's chains are a stand-in
that adds noise of a sample's position."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dgn import config as cfg
from dgn import infer_folder as module
from dgn.__main__ import main
from dgn.data.cut import Cut
from dgn.data.folder import Reading
from dgn.data.images import ImageFolder
from dgn.errors import UserError
from dgn.files import write_json
from dgn.infer_folder import SETTINGS, UNFINISHED, infer_folder
from dgn.inference import unseen
from dgn.inference.unseen import ChainSettings
from dgn.nets.model import Decoded, LatentGroup

CHAINS = ChainSettings(steps=3, sigma=1.0, seed=7)


@dataclass
class StandIn:
    """In the place of dgn.run.Run. fail_at: position of the first sample of a chunk at which it is interrupted."""

    checkpoint: Path
    fail_at: int | None = None

    def __post_init__(self):
        self.config, self.calls, self.folder = cfg.Config(), [], SimpleNamespace(path=self.checkpoint)
        self.model = SimpleNamespace(groups=(LatentGroup("z_app", (4,)), LatentGroup("z_geo", (3,))), frames=0)

    def infer_batch(self, images, chains, mask=None, given=None, names=None):
        if chains.first == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(chains.first)
        noise = np.random.default_rng(chains.first).standard_normal((len(images), 7), np.float32)
        return np.split(noise + images.mean((1, 2, 3))[:, None], [4], 1)

    def decode(self, z_app, z_geo):
        images = np.broadcast_to(0.1 * z_app[:, :3, None, None], (len(z_app), 3, 16, 16)) + 0.5
        return Decoded(images, images, np.zeros((len(images), 2, 16, 16), np.float32))

    def inference_settings(self, chains):
        return {"start": chains.start, "steps": chains.steps}


@pytest.fixture(autouse=True)
def chunks_of_four(monkeypatch):
    monkeypatch.setattr(unseen, "BATCHES", 4)
    monkeypatch.setattr(module, "samples_per_batch", lambda model: 1)


@pytest.fixture
def run(tmp_path):
    write_json(tmp_path / "manifest.json", {})
    return StandIn(tmp_path)


@pytest.fixture(scope="module")
def source(images):
    return ImageFolder(str(images), Cut(16), Reading())


def files(folder: Path) -> dict[str, bytes]:
    """Their contents; but the text of overview.png has the time."""
    return {str(path.relative_to(folder)): b"" if path.name == "overview.png" else path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}


def interrupted(run, source, output, fail_at=8) -> Path:
    with pytest.raises(KeyboardInterrupt):
        infer_folder(replace(run, fail_at=fail_at), source, output, CHAINS)
    return output


def test_an_interrupted_inference_goes_on_behind_its_finished_chunks(run, source, tmp_path):
    """The end is that of one that was not interrupted, to the bit; then the folder is full."""
    whole, result = tmp_path / "whole", infer_folder(run, source, tmp_path / "whole", CHAINS)
    assert run.calls == [0, 4, 8] and result["count"] == 10 and not (whole / UNFINISHED).exists()
    found = np.load(whole / "latents.npz")
    assert found["z_app"].shape == (10, 4) and found["names"].tolist() == source.names

    output = interrupted(run, source, tmp_path / "parts")
    assert len(list((output / UNFINISHED).glob("*.npz"))) == 2 and not (output / "latents.npz").exists()
    (output / "appearance" / "008.png").write_bytes(b"half of a picture")
    run.calls.clear()
    assert infer_folder(run, source, output, CHAINS) == result and run.calls == [8]
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
    with subprocess.Popen([sys.executable, "-c", HOLD, output / UNFINISHED / ".lock"], stdin=subprocess.PIPE,
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


def test_ctrl_c_says_how_to_go_on(run, source, images, tmp_path, monkeypatch, capsys):
    stopped = replace(run, fail_at=4)
    stopped.chain_settings = lambda *_: CHAINS
    monkeypatch.setattr("dgn.run.load", lambda *_: stopped)
    monkeypatch.setattr("dgn.data.open.open_new_images", lambda *_: source)
    output = tmp_path / "out"
    assert main(["infer", "RUN", "--images", str(images), "--output", str(output)]) == 130
    assert f"finished chunks are in {output / UNFINISHED}; the same command continues" in capsys.readouterr().err
