"""A training that was stopped, interrupted or killed ends bit for bit as the one that never was."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import dgn
from dgn.__main__ import main
from dgn.inference.energy import Energy
from dgn.inference.preconditioner import Preconditioner
from dgn.run_folder import RunFolder
from dgn.training import checkpoint, parameters, restore
from dgn.training.abp import AlternatingBackPropagation
from tests.training import tiny
from tests.training.tiny import as_it_was, final_state, resume

pytestmark = pytest.mark.slow

EPOCHS = 4


def arguments(images: Path, output: Path, epochs: int, *extra: str) -> list:
    """A `train` command line with decorrelation, whose matrix is renewed before each epoch and saved within one."""
    return tiny.arguments(images, output, epochs, "--set", "inference.decorrelation=[[0, 0.5], [2, 0.3]]", *extra)


@pytest.fixture(scope="module")
def unbroken(images, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("runs") / "unbroken"
    assert main(arguments(images, output, EPOCHS, "--set", f"training.checkpoints_kept={EPOCHS}")) == 0
    return output


def assert_same(output: Path, other: Path) -> None:
    """Two runs end with the same checkpoint and records."""
    found, expected = final_state(output), final_state(other)
    assert found["name"] == expected["name"]
    assert found["records"] == expected["records"]
    assert {"weights.ckpt", "optimizer.ckpt", "decorrelation.ckpt", "z_app.npy", "z_geo.npy"} <= set(expected)
    for name in expected:
        assert found[name] == expected[name], f"{name} differs"


def test_a_shorter_run_that_is_resumed_for_longer(images, unbroken, tmp_path):
    """From Python; results of the shorter run stay under their own name."""
    output = tmp_path / "run"
    assert main(arguments(images, output, 2)) == 0
    (output / "metrics.json").write_text("{}")
    dgn.resume(output, device="CPU")
    assert (output / "metrics.json").exists()  # nothing was trained
    run = dgn.resume(output, {"training.epochs": EPOCHS}, device="CPU")
    assert run.checkpoint.name == f"epoch_{EPOCHS:05d}"
    assert_same(output, unbroken)
    assert not run.folder.results_path.exists() and (output / "metrics_epoch_00002.json").read_text() == "{}"
    with pytest.raises(dgn.UserError, match="model.z_app is 4 in this run and cannot become 5 when it is resumed"):
        dgn.resume(output, {"model.z_app": 5}, device="CPU")


def test_the_preconditioner_is_that_of_the_sigma_in_use(images, tmp_path, capsys):
    """Of the training's in a resumed training, even if it is changed between two updates; of the last sigma, without
    sigma_app, in inference. An end before the checkpoint is refused."""
    output = tmp_path / "run"
    settings = [word for setting in ("preconditioner=gauss_newton", "step_size=0.5", "sigma=0.8", "sigma_app=[[0,2.0]]")
                for word in ("--set", f"inference.{setting}")]
    assert main(tiny.arguments(images, output, 6, *settings)) == 0
    run = dgn.load(output, device="CPU")
    assert checkpoint.read_state(run.checkpoint)[checkpoint.SIGMAS] == [1.6, 0.8]
    assert run.sampler.preconditioner.sigmas == (0.8, 0.8)
    stored = Preconditioner(run.model.groups)
    parameters.load(run.checkpoint, {"preconditioner": stored})
    stored.rotate(restore.read_axes(run.checkpoint))
    inverse = [np.linalg.inv(metric.asnumpy()) - np.eye(len(metric)) for metric in stored.inverses]
    for matrix, own, factor in zip(inverse, run.sampler.preconditioner.inverses, (4, 1)):
        adapted = np.linalg.inv(own.asnumpy()) - np.eye(len(own))
        np.testing.assert_allclose(adapted, factor * matrix, rtol=0.02, atol=0.02)
    assert resume(output, "training.epochs=7", "inference.sigma=0.4") == 0  # epoch 6 is none of an update
    assert checkpoint.read_state(dgn.load(output, device="CPU").checkpoint)[checkpoint.SIGMAS] == [0.8, 0.4]
    assert resume(output, "training.epochs=5") == 2
    assert "training.epochs is 5, but" in (said := capsys.readouterr().err) and "it must be at least 7" in said


def test_an_unfinished_run_says_so_when_it_is_opened(unbroken, tmp_path, caplog):
    dgn.load(unbroken, device="CPU")
    assert "not finished" not in caplog.text
    dgn.load(as_it_was(unbroken, tmp_path / "run", 3), device="CPU")
    assert f"run is not finished: 3 of {EPOCHS} epochs; its dimensions are not principal axes" in caplog.text


def test_a_scheduled_smoothness_is_that_of_each_epoch(images, tmp_path, monkeypatch):
    """The second epoch is that of a training with its value alone, whose graphs hold it as a constant; the log has the
    values."""
    whole, parts, given, set_smoothness = tmp_path / "whole", tmp_path / "parts", [], Energy.set_smoothness

    def set_and_note(self, weight):
        given.append(weight)
        set_smoothness(self, weight)

    monkeypatch.setattr(Energy, "set_smoothness", set_and_note)
    assert main(arguments(images, whole, 2, "--set", "inference.smoothness=[[0, 0.2], [1, 0.9]]")) == 0
    assert given == [0.2, 0.9]
    assert resume(as_it_was(whole, parts, 1), "inference.smoothness=0.9") == 0
    assert given[2:] == [0.9]
    assert_same(whole, parts)
    names, records = ("smoothness", "sigma_app", "decorrelation"), final_state(whole)["records"]
    assert [[record[name] for name in names] for record in records] == [[0.2, 1.0, 0.5], [0.9, 1.0, 0.5]]


def test_signals_amid_an_epoch_save_and_print_how_to_resume(images, unbroken, tmp_path, monkeypatch, capsys):
    """Ctrl-C, and in the resumed run the end of the session. The last run also saves after every batch, as it does
    every half hour, and goes on."""
    output, step = tmp_path / "run", AlternatingBackPropagation.step

    def signal_at(iteration, number):
        def step_and_signal(self, batch, latents):
            if batch.iteration == iteration:
                os.kill(os.getpid(), number)
            return step(self, batch, latents)

        monkeypatch.setattr(AlternatingBackPropagation, "step", step_and_signal)

    signal_at(2, signal.SIGINT)  # first batch of the second epoch
    assert main(arguments(images, output, EPOCHS)) == 130
    said = capsys.readouterr().out
    assert "epoch_00001_step_000001; to resume: python -m dgn train" in said
    assert f"--output {output} --resume --train-only --device CPU\n" in said
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)  # as without nohup
    signal_at(4, signal.SIGHUP)
    assert resume(output) == 130
    said = capsys.readouterr().out
    assert "--resume" in said and "epoch_00002_step_000001" in said
    monkeypatch.setattr(AlternatingBackPropagation, "step", step)
    assert resume(output, "training.checkpoint_minutes=0.000001") == 0
    assert sorted(path.name for path in (output / "checkpoints").iterdir()) == [
        f"epoch_{EPOCHS - 1:05d}", f"epoch_{EPOCHS - 1:05d}_step_000001", f"epoch_{EPOCHS:05d}"]
    assert_same(output, unbroken)


def test_a_damaged_checkpoint_is_named_and_passed_over(unbroken, tmp_path, caplog):
    output = as_it_was(unbroken, tmp_path / "run", 3)
    newest = checkpoint.all_checkpoints(output / "checkpoints")[0]
    latents = bytearray((newest / "z_geo.npy").read_bytes())
    latents[-1] ^= 1
    (newest / "z_geo.npy").write_bytes(latents)
    assert resume(output) == 0
    assert newest.name in caplog.text and "z_geo.npy is not as it was written" in caplog.text
    assert_same(output, unbroken)


def test_killed_again_and_again_nothing_is_lost_or_wrong(images, tmp_path):
    """kill -9 at random moments, many of them around the writing of a checkpoint."""
    epochs, output, rng = 400, tmp_path / "run", random.Random(4)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    reached, kills = [0], 0
    while kills < 6:
        line = (
            ["train", "--device", "CPU", "--output", str(output), "--resume"]
            if (output / "config.yaml").exists()
            else arguments(images, output, epochs)
        )
        with subprocess.Popen(
            [sys.executable, "-m", "dgn", *line],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            if kills % 3 == 2:  # anywhere, start-up and the reading of a checkpoint included
                time.sleep(rng.uniform(0.5, 5))
            else:  # while it trains: an epoch or two, then a moment more
                epochs_seen = 0
                for text in process.stdout:
                    assert "Traceback" not in text, text + process.stdout.read()
                    epochs_seen += text.startswith("epoch:")
                    if epochs_seen > kills % 3:
                        break
                else:
                    pytest.fail("the training ended by itself")
                time.sleep(rng.uniform(0, 0.25))
            process.send_signal(signal.SIGKILL)
        kills += 1
        folders = checkpoint.all_checkpoints(output / "checkpoints")  # none if the first one was being written
        assert all(checkpoint.find_damage(folder) is None for folder in folders)
        newest = int(folders[0].name[6:11]) if folders else 0
        assert newest >= reached[-1], "a checkpoint was lost"
        reached.append(newest)
    assert reached[-1] >= 2  # twice an epoch was written before the next was seen

    # what it came to is what an unbroken run of as many epochs comes to
    done = reached[-1] + 1
    assert resume(output, f"training.epochs={done}") == 0
    whole = tmp_path / "whole"
    assert main(arguments(images, whole, done, "--set", "training.checkpoint_every=1000")) == 0
    assert_same(output, whole)


def test_an_image_that_disappears_is_named_once_the_training_is_saved(images, unbroken, tmp_path, capsys):
    """Removed between two runs of a resumed training; put back, it ends as if nothing had happened."""
    output, data = tmp_path / "run", tmp_path / "data"
    shutil.copytree(images, data)
    line = arguments(data, output, EPOCHS, "--set", "data.cache_mb=0")
    step = AlternatingBackPropagation.step

    def step_and_remove(self, batch, latents):
        if batch.iteration == 2:
            (data / "003.png").rename(tmp_path / "003.png")
        return step(self, batch, latents)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AlternatingBackPropagation, "step", step_and_remove)
        assert main(line) == 2
    message = capsys.readouterr().err
    assert "003.png" in message and "saved before" in message and "--resume" in message
    assert "restore it, or put any readable file of its kind under this name. The" in message and "skip" not in message
    (tmp_path / "003.png").rename(data / "003.png")
    assert resume(output) == 0
    assert_same(output, unbroken)


HOLD = """
import sys
from pathlib import Path
from dgn.run_folder import RunFolder
with RunFolder.open(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_and_the_holder_named(unbroken, tmp_path, capsys):
    output = as_it_was(unbroken, tmp_path / "run", 3)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(output)],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        assert resume(output) == 2
        assert f"is in use by process {holder.pid} on" in capsys.readouterr().err
        holder.kill()
    with RunFolder.open(output).locked():  # the lock of a dead process is free
        pass
