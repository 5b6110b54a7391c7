"""Pictures: grids follow the displacement, traversals change one dimension, names are literal, files are whole."""

from __future__ import annotations

import re
import runpy
import sys
import warnings

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from dgn.errors import RunFailed
from dgn.figures import bases, grids, pictures, sheet
from dgn.figures.animation import save_animation
from dgn.nets.model import Decoded
from dgn.provenance import provenance


def test_canonical_grid_is_regular_and_a_shift_moves_it():
    gray = np.full((3, 64, 64), 0.5, np.float32)
    still = grids.with_grid(gray)
    assert still.shape == (192, 192, 3)
    columns = np.flatnonzero((still[86] - 0.5).ptp(-1) > 0.2)  # between two lines
    marks = columns[np.concatenate([[True], np.diff(columns) > 3])]
    assert len(marks) == 11
    np.testing.assert_allclose(np.diff(marks), 191 / 10, atol=2)
    shift = np.zeros((2, 64, 64), np.float32)
    shift[0] = 3  # a pixel shows the point 3 pixels to its right, so the grid appears 3 pixels to the left
    moved = grids.with_grid(gray, shift)
    np.testing.assert_allclose(moved[10, 10:150], still[10, 19:159], atol=1e-4)


def test_curves_that_no_epoch_recorded_are_left_out(tmp_path):
    """Of images a critic has no curves of clips; R1 may be recorded in some epochs alone."""
    records = [{"epoch": 0, "real": 1.0}, {"epoch": 1, "real": 2.0, "r1": 3.0}]
    panels = {"Scores": {"real": "images", "clip_real": "clips"}, "R1": {"r1": "R1"}, "KL": {"kl": "KL"}}
    both = Image.open(sheet.save_curves(tmp_path / "both.png", records, panels))
    one = Image.open(sheet.save_curves(tmp_path / "one.png", records[:1], panels))
    assert both.width == 2 * one.width


def toy_decode(z_app, z_geo):
    """Dimension 2 of Z^a is brightness, dimension 1 of Z^g a shift; the others have little or no effect."""
    ramp = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (16, 1))
    images = [np.roll(ramp, int(round(g[1])), 1) + 0.1 * a[2] + 0.01 * a[0] for a, g in zip(z_app, z_geo)]
    images = np.stack(images)[:, None]
    return Decoded(images, images, np.zeros((len(images), 2, 16, 16), np.float32))


ZEROS = bases.prior_mean([4, 3])  # of toy_decode


@pytest.fixture
def sheets(monkeypatch):
    """Rows, title and names of rows of every sheet that dgn.figures.pictures writes."""
    written = []
    monkeypatch.setattr(pictures, "save_sheet", lambda path, rows, title, names, *rest, note="": written.append(
        ([np.stack(row) for row in rows], title, names)))
    return written


def test_bases_are_ranked_by_their_effect():
    appearance = bases.rank(toy_decode, ZEROS, 0, 2.0)
    assert list(appearance.order[:2]) == [2, 0] and appearance.effect[2] == pytest.approx(0.4)
    geometry = bases.rank(toy_decode, ZEROS, 1, 2.0)
    assert geometry.order[0] == 1 and geometry.effect[0] == geometry.effect[2] == 0


def test_traversal_goes_from_minus_gamma_to_gamma_in_eleven_steps(sheets, tmp_path):
    z = bases.sweep(2, 4, 10.0)
    np.testing.assert_allclose(z[:, 2], np.arange(-10, 11, 2))
    assert (np.delete(z, 2, 1) == 0).all()
    ranked = bases.rank(toy_decode, ZEROS, 0, 2.0)
    pictures.appearance_bases(tmp_path / "x.png", toy_decode, ranked, ZEROS[1], 10.0)
    (rows, _, names), = sheets
    assert [row.shape for row in rows] == [(11, 1, 16, 16)] * 4 and names[0].endswith("dimension 2")
    np.testing.assert_allclose(np.diff(rows[0].mean((1, 2, 3))), 0.2, rtol=1e-4)
    assert pictures.ends(3.0) == ["-3", "-2.4", "-1.8", "-1.2", "-0.6", "0", "+0.6", "+1.2", "+1.8", "+2.4", "+3"]


def test_applied_bases_show_each_appearance_under_the_four_warps_of_two_geometric_bases(sheets, tmp_path):
    ranked_a, ranked_g = (bases.rank(toy_decode, ZEROS, group, 2.0) for group in (0, 1))
    pictures.applied_bases(tmp_path / "x.png", toy_decode, ranked_a, ranked_g, 5.0)
    (rows, _, names), = sheets
    assert [row.shape for row in rows] == [(11, 1, 16, 16)] * 8
    for a in (0, 4):  # the same brightness: shifted by -3 and 3, and twice not shifted
        np.testing.assert_allclose(np.roll(rows[a], 6, -1), rows[a + 1], atol=1e-6)
        np.testing.assert_allclose(np.roll(rows[a], 3, -1), rows[a + 2], atol=1e-6)
        np.testing.assert_array_equal(rows[a + 2], rows[a + 3])
    warps = [f"{pictures.GEOMETRY} dimension {k} = {value}" for k in (1, 0) for value in ("-3", "+3")]
    assert [name.split("\n")[2] for name in names] == 2 * warps


def test_applied_bases_of_a_single_geometric_dimension(sheets, tmp_path):
    ranked_a, ranked_g = bases.rank(toy_decode, ZEROS, 0, 2.0), bases.Bases(np.arange(1), np.ones(1))
    pictures.applied_bases(tmp_path / "x.png", lambda a, g: toy_decode(a, np.pad(g, ((0, 0), (1, 1)))), ranked_a,
                           ranked_g, 5.0)
    (rows, _, _), = sheets
    assert len(rows) == 4


def test_a_sheet_is_a_readable_png_and_a_missing_folder_is_made(tmp_path):
    rng = np.random.default_rng(0)
    rows = [list(rng.random((5, 3, 16, 16), np.float32)) for _ in range(2)]
    path = sheet.save_sheet(tmp_path / "new" / "sheet.png", rows, "Title", ["one", "two"], list("abcde"), "a note")
    picture = cv2.imread(str(path))
    assert picture.shape[0] > 2 * 48 and picture.shape[1] > 5 * 48
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]


def test_a_sheet_of_more_rows_than_can_be_drawn_is_cut(tmp_path, monkeypatch):
    rows, texts = [[np.full((3, 16, 16), 0.5, np.float32)]] * 40, []
    whole = cv2.imread(str(sheet.save_sheet(tmp_path / "whole.png", rows, "Title", [""] * 40))).shape[0]
    monkeypatch.setattr(sheet, "HIGHEST", whole // 4)
    monkeypatch.setattr(sheet, "printable", lambda text: texts.append(text) or text)
    cut = cv2.imread(str(sheet.save_sheet(tmp_path / "cut.png", rows, "Title", [""] * 40))).shape[0]
    assert cut < whole / 2 and re.fullmatch(r"The first \d+ of 40 rows\.", texts[-1])


def test_tiles_keep_their_place():
    black, white = np.zeros((3, 4, 4), np.float32), np.ones((1, 4, 4), np.float32)
    tiled = sheet.tile([[black, white], [white, black]], scale=2)
    assert tiled.shape == (19, 19, 3)
    assert tiled[4, 4].max() == 0 and tiled[4, 15].min() == 1 and tiled[15, 4].min() == 1 and tiled[15, 15].max() == 0
    assert tiled[8:11].min() == 1 == tiled[:, 8:11].min()  # the gap


def test_recombination_exchanges_with_the_first_image(sheets, tmp_path, rng):
    z_app, z_geo = rng.integers(-3, 4, (5, 4)), rng.integers(-3, 4, (5, 3))
    images = rng.random((5, 1, 16, 16))
    pictures.recombination(tmp_path / "x.png", toy_decode, images, z_app, z_geo, "Title")
    (rows, _, names), = sheets
    assert len(names) == len(rows) == 4
    np.testing.assert_array_equal(rows[0], images)
    for k in range(5):
        for row, a, g in ((1, k, k), (2, 0, k), (3, k, 0)):
            np.testing.assert_array_equal(rows[row][k], toy_decode(z_app[a:a + 1], z_geo[g:g + 1]).image[0])


def test_labels_are_shown_before_and_after_the_warp(sheets, tmp_path):
    ranked = bases.rank(toy_decode, [np.eye(4)[0], ZEROS[1]], 1, 2.0)
    pictures.labels(tmp_path / "x.png", toy_decode, 4, ranked, 0, 5.0)
    (rows, title, names), = sheets
    assert names == ["label 0", "label 1", "label 2", "label 3"] and "dimension 1 of" in title
    for label, row in enumerate(rows):
        expected = toy_decode(np.eye(4)[[label] * 11], bases.sweep(1, 3, 5.0))
        np.testing.assert_array_equal(row, np.concatenate([expected.appearance[:1], expected.image]))


def test_a_reconstruction_shows_appearances_and_grids_only_of_a_model_with_a_warp(sheets, tmp_path, rng):
    images = rng.random((2, 3, 16, 16)).astype(np.float32)
    decoded = Decoded(images / 2, images / 3, np.zeros((2, 2, 16, 16), np.float32))
    for outputs in (decoded, Decoded(images / 2)):
        pictures.reconstruction(tmp_path / "x.png", images, outputs, "Title")
    (warped, _, _), (plain, _, names) = sheets
    for rows, expected in ((warped[:3], (images, images / 2, images / 3)), (plain, (images, images / 2))):
        for row, values in zip(rows, expected, strict=True):
            np.testing.assert_array_equal(row, values)
    np.testing.assert_array_equal(warped[3][1], grids.with_grid(images[1] / 3))
    np.testing.assert_array_equal(warped[4][1], grids.with_grid(images[1] / 2))  # not displaced: a regular grid, too
    assert names == ["input", "reconstruction"]


@pytest.mark.parametrize("side, shown", [(16, 48), (64, 192), (128, 256), (256, 256), (512, 512)])
def test_small_images_are_enlarged_and_large_ones_are_not(side, shown):
    image = np.zeros((3, side, side), np.float32)
    assert sheet.tile([[image, grids.with_grid(image)]]).shape == (shown, 2 * shown + 3, 3)


def test_images_beside_a_picture_of_another_scale_take_its_size():
    image = np.zeros((3, 16, 16), np.float32)
    assert sheet.tile([[grids.enlarge(grids.as_rgb(image), 5), image]]).shape == (80, 163, 3)


def test_figures_leave_the_backend_and_the_figures_of_the_program_alone(tmp_path, monkeypatch):
    """A notebook has a backend of its own, and figures that it still draws on; both draw the same pixels."""
    monkeypatch.setitem(matplotlib.rcParams, "backend", "svg")
    runpy.run_path(sheet.__file__)
    assert matplotlib.rcParams["backend"] == "svg"

    def draw(name):
        records = [{"epoch": k, "msre": 1.0 / (k + 1)} for k in range(4)]
        return np.asarray(Image.open(sheet.save_curves(tmp_path / name, records, {"Error": {"msre": "MSRE"}})))
    own = draw("own.png")
    assert not plt.get_fignums()
    monkeypatch.setattr(sheet, "new_figure", lambda size: plt.figure(figsize=size, dpi=sheet.DPI))
    np.testing.assert_array_equal(own, draw("pyplot.png"))
    plt.close("all")


HOSTILE = ["a$x$b", "$\\undefined{", "50% _^{}", "two\nlines", "\u4f60\u597d", "caf\udce9", "\x07\x1b[31m", "n" * 300,
           ""]


def test_names_are_drawn_literally_and_without_warnings(tmp_path, monkeypatch):
    texts, write = [], sheet.write_figure

    def watched(figure, path):
        texts.extend((*figure.axes[0].get_yticklabels(), *figure.axes[0].get_xticklabels(), *figure.texts))
        return write(figure, path)
    monkeypatch.setattr(sheet, "write_figure", watched)
    image = np.zeros((1, 16, 16), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = sheet.save_sheet(tmp_path / "sheet.png", [[image] * 2] * len(HOSTILE), HOSTILE[0], HOSTILE,
                                HOSTILE[:2], HOSTILE[1])
    assert cv2.imread(str(path)) is not None
    shown = [text.get_text() for text in texts]
    assert not any(text.get_parse_math() for text in texts)
    assert shown[:4] == HOSTILE[:4] and shown[4:7] == [HOSTILE[4], "caf\\udce9", "\\x07\\x1b[31m"]
    assert shown[7].count("\n") == sheet.NAME_LINES and shown[7].endswith("...")
    assert shown[9:] == [*HOSTILE[:2], *HOSTILE[:2]]


def test_a_picture_holds_its_provenance(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/dgn", "figures", "runs/caf\udce9 $x$"])
    monkeypatch.setattr(sheet, "provenance", lambda: {**provenance(), "commit": "abc-dirty"})
    image = np.zeros((1, 16, 16), np.float32)
    text = Image.open(sheet.save_sheet(tmp_path / "sheet.png", [[image]], "Title", ["row"])).text
    assert text["Command"] == "dgn figures 'runs/caf\\udce9 $x$'" and text["Commit"] == "abc-dirty"
    assert text["Software"].startswith("dgn ") and float(text["Seconds"]) > 0


def test_curves_show_where_a_schedule_changes(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(sheet, "write_figure", lambda figure, path: drawn.append(figure))
    records = [{"epoch": k, "msre": 1.0, "sigma": 1.0 if k < 3 else 0.5, "sigma_app": 2.0} for k in range(6)]
    sheet.save_curves(tmp_path / "curves.png", records, {"Error": {"msre": "error"}}, ["sigma", "sigma_app"])
    dotted = [line for line in drawn[0].axes[0].lines if line.get_linestyle() == ":"]
    assert [line.get_xdata()[0] for line in dotted] == [3.5]  # between the third and the fourth epoch
    assert drawn[0].texts[0].get_text().startswith("Dotted lines: sigma changes")


def test_curves_leave_out_what_was_not_recorded(tmp_path):
    records = [{"epoch": k, "msre": 10.0 - k, **({"r1": 1.0} if k % 2 == 0 else {})} for k in range(4)]
    panels = {"Error": {"msre": "MSRE"}, "R1": {"r1": "R1"}, "Critic": {"critic": "critic"}}
    drawn = [cv2.imread(str(sheet.save_curves(tmp_path / "curves.png", rows, panels))) for rows in (records, [])]
    widths = [picture.shape[1] for picture in drawn]
    assert widths == [920, 460]  # two panels; without records an empty one


def test_an_animation_that_the_disk_cuts_short_fails(tmp_path, monkeypatch, rng):
    clip = rng.random((5, 3, 16, 16)).astype(np.float32)
    path = save_animation(tmp_path / "whole.mp4", [[clip]])
    whole = path.read_bytes()

    class FullDisk:
        """Writes three frames and drops the others without an error, as OpenCV's writer does."""

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
    assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path]  # the earlier file stays
