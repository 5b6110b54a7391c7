"""Checkpoints are whole or absent, and belong to one model."""

from __future__ import annotations

import errno
import os
import re
import resource

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops
from mindspore.train.checkpoint_pb2 import Checkpoint

from dgn import config as cfg
from dgn.errors import RunFailed, UserError
from dgn.files import write_json
from dgn.inference.latents import LatentBank
from dgn.nets.deformable import DeformableGenerator
from dgn.run_folder import RunFolder
from dgn.run_training import dry_run
from dgn.training import checkpoint, parameters, restore
from dgn.training.checkpoint import Position
from dgn.training.optim import adam
from tests.training.saved import saved_run

MODEL = cfg.Model(z_app=4, z_geo=3, width=8)


@pytest.fixture
def state(tmp_path):
    model = DeformableGenerator(MODEL, 3, 16, seed=1)
    bank = LatentBank.create(tmp_path / "latents", model.groups, 6, seed=1)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return model, bank, folder


def save(state, epoch, keep=3):
    model, bank, folder = state
    return checkpoint.save(folder, Position(epoch, 0), {}, {"weights": model}, bank, keep)


def test_what_is_loaded_is_what_was_saved(state):
    model, bank, folder = state
    saved = save(state, 1)
    other = DeformableGenerator(MODEL, 3, 16, seed=9)
    parameters.load(saved, {"weights": other})
    for (name, a), (_, b) in zip(model.parameters_and_names(), other.parameters_and_names()):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy(), err_msg=name)
    z = [ms.Tensor(v) for v in bank.read(np.arange(6))]
    np.testing.assert_array_equal(model(*z)[0].asnumpy(), other(*z)[0].asnumpy())
    again = restore.restore_bank(saved, folder, model.groups)
    for a, b in zip(bank.read(np.arange(6)), again.read(np.arange(6))):
        np.testing.assert_array_equal(a, b)


def test_the_files_have_the_mode_of_any_new_file(state):
    """MindSpore's own are readable only for their owner."""
    before = os.umask(0o027)
    try:
        saved = save(state, 1)
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in saved.iterdir()} == dict.fromkeys(
        ["weights.ckpt", "state.json", "manifest.json", "z_app.npy", "z_geo.npy"], 0o640)


def test_only_the_newest_are_kept_and_unfinished_ones_swept_away(state):
    """Newest by number; folders of other names are the user's."""
    (state[2] / ".unfinished-epoch_00009").mkdir()
    mine = ["epoch_00001_backup", "epoch_000002", "epoch_2", "epoch_best"]
    for name in mine:
        (state[2] / name).mkdir()
    for epoch in (1, 99_999, 100_000):
        save(state, epoch, keep=2)
    assert sorted(p.name for p in state[2].iterdir()) == sorted([*mine, "epoch_100000", "epoch_99999"])


def test_positions_are_ordered_by_epoch_and_step(state):
    positions = [Position(100_000, 0), Position(3, 1_000_000), Position(3, 999_999), Position(3, 1), Position(3, 0)]
    folders = [state[2] / position.name for position in positions]
    for folder in folders:
        folder.mkdir()
    assert checkpoint.all_checkpoints(state[2]) == folders


def test_damaged_newer_ones_never_push_out_the_one_just_written(state):
    save(state, 2)
    damaged = save(state, 3)
    (damaged / "weights.ckpt").write_bytes(b"")
    written = save(state, 2, keep=1)  # resumed from before, and asked to keep one
    assert [p.name for p in state[2].iterdir()] == [written.name] and checkpoint.find_damage(written) is None


def add_to_manifest(saved, name) -> None:
    write_json(saved / "manifest.json", {**checkpoint.read_manifest(saved), name: "0"})


@pytest.mark.parametrize(
    "harm, reason",
    [
        (lambda c: (c / "weights.ckpt").unlink(), "weights.ckpt is missing"),
        (lambda c: (c / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda c: (c / "manifest.json").write_text("{"), "manifest.json cannot be read"),
        (lambda c: (c / "manifest.json").write_text("[3]"), "cannot be read (it holds no keys and values)"),
        (lambda c: (c / "manifest.json").write_text("{}"), "manifest.json does not list state.json"),
        (lambda c: (c / "manifest.json").write_text("[" * 100_000), "cannot be read (it is nested too deeply)"),
        (lambda c: add_to_manifest(c, "../x.npy"), "'../x.npy' is no name of a file"),
        (lambda c: add_to_manifest(c, "/dev/zero"), "'/dev/zero' is no name of a file"),
        (lambda c: (add_to_manifest(c, "pipe"), os.mkfifo(c / "pipe")), "pipe cannot be read (it is no regular file)"),
        (
            lambda c: (c / "z_app.npy").write_bytes((c / "z_app.npy").read_bytes()[:-4]),
            "z_app.npy is not as it was written",
        ),
    ],
)
def test_damage_is_found_and_the_one_before_used(state, harm, reason, caplog):
    first, second = save(state, 1), save(state, 2)
    harm(second)
    assert reason in checkpoint.find_damage(second)
    assert checkpoint.newest_valid(state[2]) == first
    assert second.name in caplog.text and reason in caplog.text
    save(state, 2)
    assert checkpoint.newest_valid(state[2]) == second  # written anew in its place


@pytest.mark.parametrize("text, reason", [
    ("[1]", "it holds no keys and values"), ("{", "Expecting"), ('{"step": 0}', "epoch is None"),
    ('{"epoch": "1"}', "epoch is '1'")])
def test_a_state_that_was_changed_together_with_its_manifest_is_reported(state, text, reason):
    saved = save(state, 1)
    (saved / "state.json").write_text(text)
    with pytest.raises(UserError, match=rf"state\.json is not as it was written \({re.escape(reason)}.*\); restore it"):
        checkpoint.read_state(saved, "epoch")


def test_axes_are_a_part_of_the_checkpoint(state):
    first, saved = save(state, 1), save(state, 2)
    turned = {"z_geo": np.eye(3, dtype=np.float32)[::-1]}
    assert restore.read_axes(saved) == {}
    restore.save_axes(saved, turned)
    assert checkpoint.find_damage(saved) is None
    np.testing.assert_array_equal(restore.read_axes(saved)["z_geo"], turned["z_geo"])
    whole = (saved / checkpoint.AXES).read_bytes()
    (saved / checkpoint.AXES).write_bytes(whole[:-9])
    assert checkpoint.find_damage(saved) == "axes.npz is not as it was written"
    (saved / checkpoint.AXES).unlink()
    assert checkpoint.find_damage(saved) == "axes.npz is missing" and checkpoint.newest_valid(state[2]) == first

    (first / checkpoint.AXES).write_bytes(whole)  # as early versions left it: not in the manifest
    assert checkpoint.find_damage(first) is None and set(restore.read_axes(first)) == {"z_geo"}
    (first / checkpoint.AXES).write_bytes(whole[:-9])
    with pytest.raises(UserError, match=r"axes\.npz is not as it was written \(.*\); restore it"):
        restore.read_axes(first)
    for axes in (np.eye(4), np.full((3, 3), np.nan), np.full((3, 3), "1")):
        np.savez(first / checkpoint.AXES, z_geo=axes)
        with pytest.raises(UserError, match=r"axes\.npz: the axes of z_geo must be a matrix of 3 x 3 finite numbers"):
            restore.load_model(first, state[0])


def test_weights_and_chains_that_were_changed_together_with_their_manifest_are_reported(state):
    saved = save(state, 1)
    whole = (saved / "weights.ckpt").read_bytes()
    for content in (b"", b"weights", whole[:len(whole) // 2]):
        (saved / "weights.ckpt").write_bytes(content)
        with pytest.raises(UserError, match=r"weights\.ckpt is damaged, or no checkpoint of MindSpore \(.*\); restore"):
            parameters.load(saved, {"weights": state[0]})
    stored = Checkpoint.FromString(whole)
    for extents in ([1], [2 ** 20], [-1, -1], [2, 0]):  # MindSpore would write beyond the end of its memory
        del stored.value[0].tensor.dims[:]
        stored.value[0].tensor.dims.extend(extents)
        (saved / "weights.ckpt").write_bytes(stored.SerializeToString())
        size = r"\(.* has \d+ bytes, but its shape .* needs \d+\)"
        with pytest.raises(UserError, match=rf"weights\.ckpt is damaged, .*{size}"):
            parameters.load(saved, {"weights": state[0]})
    stored.value[0].tensor.tensor_type = "Float99"
    (saved / "weights.ckpt").write_bytes(stored.SerializeToString())
    with pytest.raises(UserError, match=r"weights\.ckpt is damaged, .*float99"):
        parameters.load(saved, {"weights": state[0]})
    np.save(saved / "z_geo.npy", np.full((6, 3), np.inf, np.float32))
    with pytest.raises(UserError, match="epoch_00001 holds latents that are not finite; remove it"):
        restore.restore_bank(saved, state[2], state[0].groups)


def test_a_dry_run_knows_the_disk_that_checkpoints_need(tmp_path):
    """Of a run with a critic: one more checkpoint than are kept, while it is written."""
    run = RunFolder.open(saved_run(tmp_path / "run", "training.adversarial=minimax", "model.width=64",
                                   "data.limit=9000", "training.checkpoints_kept=2"))

    def size(folder) -> float:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2 ** 20

    total, chains, most, each = re.search(r"disk +([\d.]+) MiB: ([\d.]+) MiB chains, and up to (\d+) checkpoints of "
                                          r"([\d.]+) MiB", dry_run(run, run.config)).groups()
    assert int(most) == 3 and float(chains) == pytest.approx(size(run.latents), abs=0.06)
    assert float(each) == pytest.approx(size(run.checkpoints), rel=0.05)
    assert float(total) == pytest.approx(size(run.latents) + 3 * size(run.checkpoints), rel=0.05)


@pytest.mark.parametrize("fault", [AttributeError, TypeError, ImportError])
def test_a_fault_of_the_program_is_not_called_damage(state, monkeypatch, fault):
    """As another version of MindSpore or of protobuf may raise."""
    saved = save(state, 1)

    def fail(path):
        raise fault("renamed")
    monkeypatch.setattr(ms, "load_checkpoint", fail)
    with pytest.raises(fault, match="renamed"):
        parameters.load(saved, {"weights": state[0]})


def test_no_usable_checkpoint_is_reported(state):
    with pytest.raises(UserError, match="no usable checkpoint"):
        checkpoint.newest_valid(state[2])


@pytest.mark.parametrize(
    "changed",
    [
        cfg.Model(z_app=5, z_geo=3, width=8),
        cfg.Model(z_app=4, z_geo=3, width=16),
        cfg.Model(z_app=4, z_geo=3, width=8, refine=True),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(state, changed):
    saved = save(state, 1)
    with pytest.raises(UserError, match="belongs to another model"):
        parameters.load(saved, {"weights": DeformableGenerator(changed, 3, 16, seed=1)})


def test_moments_are_found_whatever_cell_held_the_weights(state):
    """Version 0.1 built other Cells around the weights, by which MindSpore names Adam's moments."""
    model, bank, folder = state
    first, second = adam(model.trainable_params()), adam(DeformableGenerator(MODEL, 3, 16, seed=9).trainable_params())
    for k, moment in enumerate(first.moment1):
        ops.assign(moment, ops.zeros_like(moment) + k)
    names = {name: p for name, p in first.parameters_and_names()}
    saved = checkpoint.save(folder, Position(1, 0), {}, {"optimizer": first}, bank, 1)
    ms.save_checkpoint(
        [{"name": f"cell.{name}", "data": p} for name, p in names.items()], str(saved / "optimizer.ckpt")
    )
    parameters.load(saved, {"optimizer": second})
    assert [float(m.asnumpy().max()) for m in second.moment1] == list(range(len(first.moment1)))


def test_the_reason_why_a_checkpoint_is_not_written_is_the_only_message(state, monkeypatch, capfd):
    """MindSpore logs the failure in lines of its own before it raises."""
    def fail(*_):
        os.write(2, b"[CRITICAL] ME(1): Failed to save the checkpoint file\n")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ms, "save_checkpoint", fail)
    with pytest.raises(RunFailed, match="cannot write the checkpoint .*: No space left on device; earlier"):
        save(state, 1)
    assert capfd.readouterr().err == ""


def test_every_file_is_flushed_before_the_checkpoint_appears_and_its_folder_after(state, monkeypatch):
    """A file that was renamed but not flushed may be empty after a power failure."""
    (_, _, folder), fsync, replace, events = state, os.fsync, os.replace, []

    def note_flush(handle):
        events.append(os.path.realpath(f"/proc/self/fd/{handle}"))
        fsync(handle)

    def note_rename(source, target):
        if os.path.isdir(source):
            unflushed.extend({str(source), *(entry.path for entry in os.scandir(source))} - {*events})
            events.clear()
        else:
            unflushed.extend({str(source)} - {*events})
        replace(source, target)

    unflushed: list[str] = []
    monkeypatch.setattr(os, "fsync", note_flush)
    monkeypatch.setattr(os, "replace", note_rename)
    save(state, 1)
    assert unflushed == [] and events == [str(folder)]


@pytest.mark.parametrize("room", [1000, 200_000])  # bytes a file: not enough for the weights, and for the latents
def test_a_full_disk_is_an_error_and_the_older_checkpoint_stays(state, room, tmp_path):
    model, _, folder = state
    state = model, LatentBank.create(tmp_path / "many", model.groups, 20_000, seed=1), folder
    first = save(state, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(RunFailed, match="cannot write the checkpoint .*epoch_00002"):
            save(state, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in state[2].iterdir()] == [first.name]
    assert checkpoint.find_damage(first) is None
