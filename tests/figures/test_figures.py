"""Pictures: grids lie where the displacement puts them, traversals move one dimension, files are whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dgn.errors import RunFailed
from dgn.figures import bases, grids, sheet
from dgn.figures.animation import save_animation
from dgn.nets.model import Decoded


def test_canonical_grid_is_regular_and_a_shift_moves_it():
    grey = np.full((3, 64, 64), 0.5, np.float32)
    still = grids.with_grid(grey, None, scale=2, lines=7)
    columns = np.flatnonzero((still[64] - 0.5).ptp(-1) > 0.2)
    marks = columns[np.concatenate([[True], np.diff(columns) > 3])]
    np.testing.assert_allclose(np.diff(marks), 127 / 7, atol=2)
    shift = np.zeros((2, 64, 64), np.float32)
    shift[0] = 3  # the pixel shows what lies 3 pixels to its right, so the grid appears 3 pixels to the left
    moved = grids.with_grid(grey, shift, scale=2, lines=7)
    np.testing.assert_allclose(moved[10, 10:100], still[10, 16:106], atol=1e-4)


def toy_decode(z_app, z_geo):
    """Dimension 2 of Z^a is brightness, dimension 1 of Z^g a shift; the others do less or nothing."""
    ramp = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (16, 1))
    images = np.stack([np.roll(ramp, int(round(g[1])), 1) + 0.1 * a[2] + 0.01 * a[0] for a, g in zip(z_app, z_geo)])[:, None]
    return Decoded(images, images, np.zeros((len(images), 2, 16, 16), np.float32))


def test_bases_are_ranked_by_their_effect():
    appearance = bases.rank(toy_decode, [None, None], 0, [4, 3], 2.0)
    assert list(appearance.order[:2]) == [2, 0] and appearance.effect[2] == pytest.approx(0.4)
    geometry = bases.rank(toy_decode, [None, None], 1, [4, 3], 2.0)
    assert geometry.order[0] == 1 and geometry.effect[0] == geometry.effect[2] == 0


def test_traversal_goes_from_minus_gamma_to_gamma_in_eleven_steps():
    z = bases.sweep(2, 4, 10.0)
    np.testing.assert_allclose(z[:, 2], np.arange(-10, 11, 2))
    assert (np.delete(z, 2, 1) == 0).all()
    rows = bases.appearance_rows(toy_decode, bases.rank(toy_decode, [None, None], 0, [4, 3], 2.0), 3, 10.0, 2)
    assert rows.shape == (2, 11, 1, 16, 16)
    np.testing.assert_allclose(np.diff(rows[0].mean((1, 2, 3))), 0.2, rtol=1e-4)


def test_applied_bases_pair_the_two_bends_of_each_appearance():
    ranked_a, ranked_g = (bases.rank(toy_decode, [None, None], group, [4, 3], 2.0) for group in (0, 1))
    rows = bases.applied_rows(toy_decode, ranked_a, ranked_g, 10.0, 2, 3.0)
    assert rows.shape == (4, 11, 1, 16, 16)
    for a in (0, 2):  # the two rows of a pair: the same brightness, shifted by -3 and 3
        np.testing.assert_allclose(np.roll(rows[a], 6, -1), rows[a + 1], atol=1e-6)


def test_a_sheet_is_a_readable_png_and_a_missing_folder_is_made(tmp_path):
    rng = np.random.default_rng(0)
    rows = [list(rng.random((5, 3, 16, 16), np.float32)) for _ in range(2)]
    path = sheet.save_sheet(tmp_path / "new" / "sheet.png", rows, "Title", ["one", "two"], list("abcde"), "a note")
    picture = cv2.imread(str(path))
    assert picture.shape[0] > 2 * 48 and picture.shape[1] > 5 * 48
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]


def test_tiles_keep_their_place():
    black, white = np.zeros((3, 4, 4), np.float32), np.ones((1, 4, 4), np.float32)
    tiled = sheet.tile([[black, white], [white, black]], scale=2, gap=2)
    assert tiled.shape == (18, 18, 3)
    assert tiled[4, 4].max() == 0 and tiled[4, 14].min() == 1 and tiled[14, 4].min() == 1 and tiled[14, 14].max() == 0


def test_a_moving_picture_that_the_disk_cuts_short_is_no_success(tmp_path, monkeypatch, rng):
    clip = rng.random((5, 3, 16, 16)).astype(np.float32)
    path = save_animation(tmp_path / "whole.mp4", [[clip]])
    whole = path.read_bytes()

    class FullDisk:
        """Takes three frames and says nothing of the others, as OpenCV's writer does."""

        def __init__(self, *arguments):
            self.video, self.count = writer(*arguments), 0

        def isOpened(self):
            return self.video.isOpened()

        def write(self, picture):
            self.count += 1
            if self.count <= 3:
                self.video.write(picture)

        def release(self):
            self.video.release()
    writer = cv2.VideoWriter
    monkeypatch.setattr("dgn.figures.animation.cv2.VideoWriter", FullDisk)
    with pytest.raises(RunFailed, match="3 of its 5 frames are on the disk"):
        save_animation(path, [[clip]])
    assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path]  # what was there stays
