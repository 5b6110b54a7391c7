"""MindRecord files give back what was packed."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.data.images import ImageFolder
from dgn.data.records import RecordImages, pack
from dgn.errors import UserError
from tests.training.tiny import write_images


def test_packed_images_come_back_bit_for_bit_in_any_order(tmp_path):
    source = ImageFolder(write_images(tmp_path / "images", 7), 16, None, grey=False)
    path = tmp_path / "out" / "set.mindrecord"
    assert pack(source, path) == 7
    records = RecordImages(str(path))
    assert len(records) == 7 and records.shape == (3, 16, 16) and records.name(3) == "003.png"
    order = np.array([5, 0, 3, 3])
    np.testing.assert_array_equal(records.read(order), source.read(order))
    assert sorted(p.name for p in path.parent.iterdir()) == ["set.mindrecord", "set.mindrecord.db"]


def test_black_pixels_at_the_end_are_kept(tmp_path):
    class Black:
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
    source = ImageFolder(write_images(tmp_path / "images", 2), 16, None, grey=False)
    with pytest.raises(UserError, match="must end in .mindrecord"):
        pack(source, tmp_path / "set.rec")
    pack(source, tmp_path / "set.mindrecord")
    with pytest.raises(UserError, match="already exists"):
        pack(source, tmp_path / "set.mindrecord")
    with pytest.raises(UserError, match="no MindRecord file"):
        RecordImages(str(tmp_path / "nothing.mindrecord"))
    (tmp_path / "text.mindrecord").write_text("hello " * 100)
    with pytest.raises(UserError, match="is not a MindRecord file"):
        RecordImages(str(tmp_path / "text.mindrecord"))
