"""MindRecord files give back what was packed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3

import numpy as np
import pytest
from mindspore import mindrecord

from dgn.config import Data
from dgn.data.cut import Cut
from dgn.data.images import ImageFolder
from dgn.data.open import open_sources
from dgn.data.records import _SCHEMA, RecordImages, pack
from dgn.data.source import Mirrored, Source, Subset
from dgn.errors import RunFailed, Unreadable, UserError
from tests.training.tiny import write_images


def test_packed_images_come_back_bit_for_bit_in_any_order(tmp_path):
    source = ImageFolder(write_images(tmp_path / "images", 7), Cut(16))
    path = tmp_path / "out" / "set.mindrecord"
    assert pack(source, path) == 7
    records = RecordImages(str(path))
    assert len(records) == 7 and records.shape == (3, 16, 16) and records.name(3) == "003.png"
    order = np.array([5, 0, 3, 3])
    np.testing.assert_array_equal(records.read(order), source.read(order))
    assert Subset(records, order).stored(np.arange(2)) == [path]
    assert sorted(p.name for p in path.parent.iterdir()) == ["set.mindrecord", "set.mindrecord.db"]


def test_black_pixels_at_the_end_are_kept(tmp_path):
    class Black(Source):
        shape = (1, 16, 16)

        def __len__(self):
            return 2

        def name(self, index):
            return str(index)

        def read(self, indices):
            return np.zeros((len(indices), *self.shape), np.float32)

    pack(Black(), tmp_path / "black.mindrecord")
    assert (RecordImages(str(tmp_path / "black.mindrecord")).read(np.arange(2)) == 0).all()


def test_wrong_files_are_refused(tmp_path):
    source = ImageFolder(write_images(tmp_path / "images", 2), Cut(16))
    with pytest.raises(UserError, match="must end in .mindrecord"):
        pack(source, tmp_path / "set.rec")
    with pytest.raises(UserError, match="forbids ; [?] in file names"):
        pack(source, tmp_path / "é ?;.mindrecord")
    pack(source, tmp_path / "set.mindrecord")
    with pytest.raises(UserError, match="already exists"):
        pack(source, tmp_path / "set.mindrecord")
    with pytest.raises(UserError, match="no MindRecord file"):
        RecordImages(str(tmp_path / "nothing.mindrecord"))
    (tmp_path / "text.mindrecord").write_text("hello " * 100)
    with pytest.raises(UserError, match="is not a MindRecord file"):
        RecordImages(str(tmp_path / "text.mindrecord"))
    writer = mindrecord.FileWriter(str(tmp_path / "foreign.mindrecord"), 1)
    writer.add_schema({"label": {"type": "int32"}}, "numbers")
    writer.write_raw_data([{"label": 3}])
    writer.commit()
    with pytest.raises(UserError, match="foreign.mindrecord is not a MindRecord file"):
        RecordImages(str(tmp_path / "foreign.mindrecord"))


def test_a_file_that_was_cut_short_is_named(tmp_path):
    path = tmp_path / "short.mindrecord"
    pack(ImageFolder(write_images(tmp_path / "images", 20), Cut(16)), path)
    os.truncate(path, path.stat().st_size - 100)  # the rows at the end go first
    records = RecordImages(str(path))
    assert records.read(np.array([0])).shape == (1, 3, 16, 16)
    with pytest.raises(UserError, match="short.mindrecord is damaged"):
        records.read(np.array([19]))
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(UserError, match="short.mindrecord is not .* or it is damaged"):
        RecordImages(str(path))


def test_a_row_of_another_size_is_damage(tmp_path):
    writer = mindrecord.FileWriter(str(tmp_path / "set.mindrecord"), 1)
    writer.add_schema(_SCHEMA, "images")
    writer.write_raw_data([{"image": bytes(size), "shape": np.array([3, 16, 16], np.int32), "name": str(size)}
                           for size in (768, 10)])
    writer.commit()
    records = RecordImages(str(tmp_path / "set.mindrecord"))
    assert records.read(np.array([0])).shape == (1, 3, 16, 16)
    with pytest.raises(Unreadable, match="set.mindrecord is damaged .cannot reshape array of size 10"):
        records.read(np.array([1]))


def test_an_index_outside_is_refused(tmp_path):
    pack(ImageFolder(write_images(tmp_path / "images", 3), Cut(16)), tmp_path / "set.mindrecord")
    records = RecordImages(str(tmp_path / "set.mindrecord"))
    for index in (-1, 3):
        with pytest.raises(IndexError, match="images 0 to 2"):
            records.read(np.array([index]))
        with pytest.raises(IndexError, match="images 0 to 2"):
            records.name(index)


def test_the_identity_is_that_of_the_names_in_order(tmp_path):
    path = tmp_path / "set.mindrecord"
    names = "\n".join(f"{k:03d}.png" for k in range(12))
    pack(ImageFolder(write_images(tmp_path / "images", 12), Cut(16)), path)
    records = RecordImages(str(path))
    assert records.identity() == f"records {hashlib.sha256(names.encode()).hexdigest()[:16]}"
    (tmp_path / "set.mindrecord.db").write_bytes(b"no table")
    with pytest.raises(UserError, match="index .*set.mindrecord.db is damaged"):
        records.name(0)


def test_the_files_have_the_mode_of_any_new_file(tmp_path):
    """MindSpore's own are readable only for their owner."""
    before = os.umask(0o027)
    try:
        pack(ImageFolder(write_images(tmp_path / "images", 3), Cut(16)), tmp_path / "set.mindrecord")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("set.mindrecord", "set.mindrecord.db")] == 2 * [0o640]


def test_the_index_of_another_mindspore_is_not_called_damaged(tmp_path):
    path = tmp_path / "set.mindrecord"
    pack(ImageFolder(write_images(tmp_path / "images", 2), Cut(16)), path)
    records = RecordImages(str(path))
    with contextlib.closing(sqlite3.connect(f"{path}.db")) as index:
        index.execute("ALTER TABLE INDEXES RENAME COLUMN name_0 TO name_1")
        index.execute("ALTER TABLE SHARD_NAME RENAME TO SHARDS")
        index.commit()
    with pytest.raises(Unreadable, match="set.mindrecord.db is not as MindSpore .*no such column: name_0.*another ver"):
        records.name(0)
    with pytest.raises(Unreadable, match="set.mindrecord.db is not as MindSpore .*no such table: SHARD_NAME"):
        RecordImages(str(path))


def test_a_renamed_file_is_refused_with_its_former_name(tmp_path):
    pack(ImageFolder(write_images(tmp_path / "images", 3), Cut(16)), tmp_path / "old.mindrecord")
    (tmp_path / "old.mindrecord").rename(tmp_path / "new.mindrecord")
    with pytest.raises(UserError, match="or its index new.mindrecord.db is missing"):
        RecordImages(str(tmp_path / "new.mindrecord"))
    (tmp_path / "old.mindrecord.db").rename(tmp_path / "new.mindrecord.db")
    with pytest.raises(UserError, match="was packed as old.mindrecord and then renamed.* back to old.mindrecord and"):
        RecordImages(str(tmp_path / "new.mindrecord"))


def test_a_disk_that_is_too_small_is_named_before_writing(tmp_path, monkeypatch):
    source = ImageFolder(write_images(tmp_path / "images", 3), Cut(16))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10 ** 9, 10 ** 9, 2000))
    with pytest.raises(RunFailed, match="no space left on the disk of "):
        pack(source, tmp_path / "deep" / "er" / "set.mindrecord")
    assert not (tmp_path / "deep").exists()


def test_people_are_packed_with_their_images(tmp_path):
    images, path = write_images(tmp_path / "images", 8), tmp_path / "set.mindrecord"
    people = ["ann", "o'hara", "cem", "ann", "dora", "eve", "ann", "cem"]
    (tmp_path / "identity.txt").write_text("".join(f"{k:03d}.png {person}\n" for k, person in enumerate(people)))
    pack(ImageFolder(images, Cut(16)), path)
    (tmp_path / "identity.txt").unlink()
    assert RecordImages(str(path)).people() == people
    train, held_out = open_sources(Data(path=str(path), size=16, held_out=2))
    assert held_out.names == ["006.png", "007.png"] and train.names == ["001.png", "004.png", "005.png"]
    pack(ImageFolder(images, Cut(16)), tmp_path / "unknown.mindrecord")
    assert RecordImages(str(tmp_path / "unknown.mindrecord")).people() is None
    before = open_sources(Data(path=str(tmp_path / "unknown.mindrecord"), size=16, held_out=2)).train
    again = open_sources(Data(path=str(path), size=16, held_out=2), identity=before.identity)  # of a run on the former
    assert again.train.names == before.names and len(before) == 6


def test_all_names_are_read_by_one_query(tmp_path, monkeypatch):
    pack(ImageFolder(write_images(tmp_path / "images", 12), Cut(16)), tmp_path / "set.mindrecord")
    records = RecordImages(str(tmp_path / "set.mindrecord"))
    names = [records.name(k) for k in range(12)]
    monkeypatch.setattr(records, "name", None)
    some = Subset(records, [3, 11])
    assert records.names == names and some.names == ["003.png", "011.png"]
    assert Mirrored(some).names == ["003.png", "011.png", "003.png, mirrored", "011.png, mirrored"]
