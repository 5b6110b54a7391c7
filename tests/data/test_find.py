"""Which files below a folder belong to a data set, and what is logged of the others."""

from __future__ import annotations

import os

import pytest

from dgn.data.find import find_files, warn_of_splits
from dgn.errors import UserError

NOT_UTF8 = os.fsdecode(b"caf\xe9.png")


def touch(folder, *names) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def find(folder, **options) -> list:
    return find_files(folder, (".png", ".jpg"), "images", **options)


def test_linked_folders_are_followed_once_and_cycles_are_not(tmp_path, caplog):
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    touch(data, "a/1.png", "a/b/2.png")
    touch(elsewhere, "3.png", "deep/4.png")
    (data / "link").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(data)  # a cycle
    (data / "a" / "up").symlink_to(tmp_path)  # to a folder that holds the data
    (data / "twice").symlink_to(data / "a")
    (data / "again").symlink_to(elsewhere / "deep")
    assert find(data) == ["a/1.png", "a/b/2.png", "again/4.png", "link/3.png"]
    assert "links to folders that are read already are not followed: 4, such as " in caplog.text
    through_link = tmp_path / "name"
    through_link.symlink_to(data)
    assert find(through_link) == find(data)


def test_files_of_other_kinds_are_counted(tmp_path, caplog):
    touch(tmp_path, "1.png", "x/2.JPG", "a.heic", "b.HEIC", "x/c.heic", "labels.csv", ".hidden.heic", ".trash/d.heic")
    assert find(tmp_path) == ["1.png", "x/2.JPG"]
    assert "3 files of other kinds left out: .heic" in caplog.text
    caplog.clear()
    touch(tmp_path, "d.gif", "photo")
    find(tmp_path)
    assert "5 files of other kinds left out: .heic (3), without an extension (1), .gif (1)" in caplog.text
    (tmp_path / "1.png").unlink()
    (tmp_path / "x" / "2.JPG").unlink()
    with pytest.raises(UserError, match=r"no images; left out: .heic \(3\)"):
        find(tmp_path)


def test_a_name_that_is_not_utf8_is_refused_or_left_out(tmp_path, caplog):
    touch(tmp_path, "1.png", NOT_UTF8)
    with pytest.raises(UserError, match=r"b'caf\\xe9.png': the name is not UTF-8"):
        find(tmp_path)
    assert find(tmp_path, skip_unnamed=True) == ["1.png"]
    assert r"left out: " in caplog.text and r"b'caf\xe9.png': the name is not UTF-8" in caplog.text
    str(caplog.text).encode()


def test_parts_of_a_set_are_named_before_they_are_used_as_one(tmp_path, caplog):
    warn_of_splits(["a/1.png", "train/2.png", "train/3.png"], tmp_path)
    assert not caplog.text
    warn_of_splits(["faces/Train/1.png", "faces/train/2.png", "faces/test/3.png", "4.png"], tmp_path)
    assert "its folders test/ (1), train/ (2) are used as one set" in caplog.text
