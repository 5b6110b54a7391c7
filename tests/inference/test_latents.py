"""The chains on disk: started from the prior by index, read and written by index, flat in memory."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from dgn.bench.measures import private_memory
from dgn.errors import RunFailed, UserError
from dgn.inference.latents import LatentBank, mean_and_deviation, remove_other_shards
from dgn.nets.model import LatentGroup

GROUPS = (LatentGroup("z_app", (4,)), LatentGroup("z_geo", (3, 2)))


def test_chains_start_from_the_prior_and_do_not_depend_on_how_many_there_are(tmp_path):
    few, many = (LatentBank.create(tmp_path / str(n), GROUPS, n, seed=1) for n in (10, 9000))
    for a, b in zip(few.read(np.arange(10)), many.read(np.arange(10))):
        np.testing.assert_array_equal(a, b)
    for sums in many.power_sums().values():
        mean, std = mean_and_deviation(*sums)
        assert mean == pytest.approx(0, abs=0.02) and std == pytest.approx(1, abs=0.02)
    values = np.concatenate([z.ravel() for z in many.read(np.arange(9000))])
    assert len(np.unique(values)) > 0.99 * len(values)  # no group and no sample has the latents of another
    other = LatentBank.create(tmp_path / "other", GROUPS, 10, seed=2)
    assert np.abs(other.read(np.arange(10))[0] - few.read(np.arange(10))[0]).max() > 0.1


def test_what_is_written_is_read_and_survives(tmp_path):
    bank = LatentBank.create(tmp_path, GROUPS, 6, seed=1)
    before = bank.read(np.array([0]))
    values = np.full((2, 4), 7, np.float32), np.full((2, 3, 2), 8, np.float32)
    bank.write(np.array([5, 2]), values)
    del bank
    again = LatentBank.open(tmp_path, GROUPS)
    np.testing.assert_array_equal(again.read(np.array([2, 5]))[1], values[1])
    np.testing.assert_array_equal(again.read(np.array([0]))[0], before[0])


def test_chains_restart_at_the_mean_of_the_prior_and_labels_stay(tmp_path):
    groups = (LatentGroup("z_app", (4,), sampled=False), LatentGroup("z_geo", (3,)))
    labels = np.eye(4, dtype=np.float32)[[2, 0, 3]]
    bank = LatentBank.create(tmp_path, groups, 3, seed=1, given={"z_app": labels})
    assert bank.read(np.arange(3))[1].all()
    bank.restart(groups)
    np.testing.assert_array_equal(bank.read(np.arange(3))[0], labels)
    assert not bank.read(np.arange(3))[1].any()


def test_files_of_another_model_and_missing_files_are_named(tmp_path):
    LatentBank.create(tmp_path, GROUPS, 6, seed=1)
    with pytest.raises(UserError, match=r"z_app.npy holds latents of shape \(4,\) in float32, .* z_app has \(5,\) in"):
        LatentBank.open(tmp_path, (LatentGroup("z_app", (5,)),))
    with pytest.raises(UserError, match="z_other.npy"):
        LatentBank.open(tmp_path, (LatentGroup("z_other", (5,)),))
    for values, message in (
            (np.zeros((6, 3, 2)), r"z_geo.npy holds latents of shape \(3, 2\) in float64"),
            (np.zeros((5, 3, 2), np.float32), "z_geo.npy holds latents of 5 samples, not 6 as the others"),
            (np.array([None]), "cannot read the latents .*z_geo.npy: damaged, or no arrays of NumPy")):
        np.save(tmp_path / "z_geo.npy", values)
        with pytest.raises(UserError, match=message):
            LatentBank.open(tmp_path, GROUPS)


@pytest.mark.parametrize("header", ["{'descr': '<f4', ", "{'descr': (1 0)}", "{'descr': '<f4'}", "\0(", "(" * 3000])
def test_a_damaged_header_is_a_user_error(tmp_path, header):
    """NumPy raises SyntaxError, tokenize.TokenError and others."""
    LatentBank.create(tmp_path, GROUPS, 6, seed=1)
    (tmp_path / "z_geo.npy").write_bytes(b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(UserError, match="cannot read the latents .*z_geo.npy: damaged"):
        LatentBank.open(tmp_path, GROUPS)


def test_a_link_in_place_of_a_file_is_replaced(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "z_app.npy").symlink_to("mine")
    LatentBank.create(tmp_path, GROUPS, 6, seed=1)
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "z_app.npy").is_symlink()


def test_half_a_million_chains_stay_on_disk(tmp_path):
    before = private_memory()
    bank = LatentBank.create(tmp_path, (LatentGroup("z", (64,)),), 500_000, seed=1)
    rows = np.arange(0, 500_000, 5000)
    bank.write(rows, (bank.read(rows)[0] + 1,))
    assert (tmp_path / "z.npy").stat().st_size > 120 * 2**20
    assert private_memory() - before < 30  # MiB


def test_a_full_disk_is_an_error_at_the_start(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(RunFailed, match="cannot write the latents .*z_app.npy"):
            LatentBank.create(tmp_path, GROUPS, 1000, seed=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_moments_are_those_of_all_values(tmp_path):
    bank = LatentBank.create(tmp_path, GROUPS, 5000, seed=1)
    everything = bank.read(np.arange(5000))
    for sums, values in zip(bank.power_sums().values(), everything):
        mean, std = mean_and_deviation(*sums)
        assert mean == pytest.approx(values.mean(), abs=1e-5) and std == pytest.approx(values.std(), rel=1e-5)


def test_shards_are_parts_of_one_bank_and_can_be_redistributed(tmp_path):
    count = 4100  # more than one block, and no multiple of the shards
    whole = LatentBank.create(tmp_path / "whole", GROUPS, count, seed=1)
    everyone = np.arange(count)
    for shard in range(3):
        part = LatentBank.create(tmp_path / "three", GROUPS, count, seed=1, shard=shard, shards=3)
        own = everyone[shard::3]
        assert len(part) == count
        for a, b in zip(part.read(own[::-1]), whole.read(own[::-1])):
            np.testing.assert_array_equal(a, b)
        with pytest.raises(KeyError):  # of another process
            part.read(own + 1)
        part.write(own[:1], tuple(np.full_like(z, shard) for z in part.read(own[:1])))
    three = LatentBank.open(tmp_path / "three", GROUPS)
    assert len(three) == count and three.read(np.array([0, 1, 2]))[0][:, 0].tolist() == [0, 1, 2]
    for shard in range(2):
        three.copy_shard(tmp_path / "two", GROUPS, shard, 2)
    again = LatentBank.open(tmp_path / "two", GROUPS, 2).copy_shard(tmp_path / "one", GROUPS, 0, 1)
    for a, b in zip(again.read(everyone), three.read(everyone)):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(again.read(everyone[3:])[1], whole.read(everyone[3:])[1])
    assert again.power_sums()["z_app"] == pytest.approx(three.power_sums()["z_app"])


def test_files_of_another_number_of_processes_are_removed(tmp_path):
    for shards in (1, 2, 4):
        for shard in range(shards):
            LatentBank.create(tmp_path, GROUPS, 8, seed=1, shard=shard, shards=shards)
    assert len(list(tmp_path.iterdir())) == 14
    remove_other_shards(tmp_path, GROUPS, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"{name}-0000{shard}-of-00002.npy" for name in ("z_app", "z_geo") for shard in (0, 1)
    ]
