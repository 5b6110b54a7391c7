"""The data of a run folder: damaged files are found before it is made, and it opens when held-out files are gone."""

from __future__ import annotations

import json
import shutil

import pytest

import dgn
from dgn.__main__ import main
from dgn.run_folder import HELD_OUT
from tests.training.tiny import arguments, resume, write_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A run, and its images, which are in another folder than before."""
    folder = tmp_path_factory.mktemp("moved")
    images = write_images(folder / "before", 10)
    assert main(arguments(images, folder / "run", 1)) == 0
    return folder / "run", images.rename(folder / "after")


def test_a_damaged_file_is_named_before_a_run_folder_is_made(tmp_path, capsys):
    images = write_images(tmp_path / "images", 10)
    whole = (images / "009.png").read_bytes()
    (images / "009.png").write_bytes(whole[:len(whole) // 2])  # held out
    assert main(arguments(images, tmp_path / "run", 1)) == 2
    assert "1 of 10 files cannot be used" in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_data_that_were_moved_are_found_by_their_new_place(moved):
    run, images = moved
    with pytest.raises(dgn.UserError, match="before: no such folder or file; if it was moved, .* --data"):
        assert dgn.load(run).sources
    opened = dgn.load(run, data=images)
    assert len(opened.sources.train) == 8 and opened.config.data.path == str(images)
    assert "before" in (run / "config.yaml").read_text()  # the run itself is unchanged


def test_a_held_out_image_that_was_removed_does_not_lock_the_run(moved, tmp_path):
    run, images = (shutil.copytree(path, tmp_path / path.name) for path in moved)
    assert json.loads((run / HELD_OUT).read_text()) == ["008.png", "009.png"]
    (images / "008.png").unlink()
    assert resume(run, f"data.path={images}", "training.epochs=2") == 0
    sources = dgn.load(run).sources
    assert [len(part) for part in sources] == [8, 1] and sources.held_out.name(0) == "009.png"
    (images / "007.png").unlink()  # a training image
    with pytest.raises(dgn.UserError, match="was trained on other images"):
        assert dgn.load(run).sources
