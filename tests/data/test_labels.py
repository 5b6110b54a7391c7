"""Folders with known views and landmarks, in the layouts that are recognised."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dgn import config as cfg
from dgn.data import labels
from dgn.data.faces import FaceSource, write_folder
from dgn.errors import UserError


def test_generated_faces_written_as_views(tmp_path):
    write_folder(tmp_path / "views", "views", 2, 32, seed=3)
    members = labels.read(tmp_path / "views")
    views = labels.by_view(members, tmp_path / "views")
    assert list(views) == [-30, -15, 0, 15, 30] and list(views[0.0]) == ["0", "1"]
    assert all(label.landmarks.shape == (5, 2) for label in members)


def test_fei_names(tmp_path):
    for subject in (1, 2, 10):
        for view in (1, 4, 5, 6, 7, 11, 12, 14):
            cv2.imwrite(str(tmp_path / f"{subject}-{view:02d}.jpg"), np.full((28, 28, 3), 100, np.uint8))
    views = labels.by_view(labels.read(tmp_path), tmp_path)
    numbers = {-30: "04", -10: "05", 0: "11", 10: "06", 30: "07"}
    assert views == {view: {str(subject): f"{subject}-{number}.jpg" for subject in (1, 10, 2)}
                     for view, number in numbers.items()}
    assert list(views) == sorted(numbers)
    (tmp_path / "10-04.jpg").unlink()  # who is missing at one view is left out at all
    assert all(list(files) == ["1", "2"] for files in labels.by_view(labels.read(tmp_path), tmp_path).values())
    with pytest.raises(UserError, match="landmarks of .* are unknown"):
        labels.cut_landmarks(tmp_path, labels.read(tmp_path), cfg.Data(size=32))


def test_mtfl_index_and_landmarks_follow_the_crop(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((80, 80, 3), np.uint8))
    points = [(20, 30), (40, 30), (30, 42), (22, 50), (38, 50)]
    names = ("leye", "reye", "nose", "lmouth", "rmouth")
    header = ["split", "path", *[f"x_{n}" for n in names], *[f"y_{n}" for n in names]]
    row = ["train", "a.jpg", *[str(x) for x, _ in points], *[str(y) for _, y in points]]
    (tmp_path / "index.tsv").write_text("\t".join(header) + "\n" + "\t".join(row) + "\n")
    found = labels.read(tmp_path)
    np.testing.assert_array_equal(found[0].landmarks, points)
    cut = labels.cut_landmarks(tmp_path, found, cfg.Data(size=32, crop=(10, 10, 74, 74)))
    # 64 pixels become 32: the corner (9.5, 9.5) of the crop is (-0.5, -0.5)
    np.testing.assert_allclose(cut[0], (np.array(points) + 0.5 - 10) / 2 - 0.5)
    one_eyed = found[0]._replace(landmarks=np.array([(20, 30), *points[:1], *points[2:]]))
    with pytest.raises(UserError, match="both eyes of a.jpg are at"):
        labels.cut_landmarks(tmp_path, [one_eyed], cfg.Data(size=32))
    with pytest.raises(UserError, match="fewer than two views"):
        labels.by_view(found, tmp_path)


def test_landmarks_of_a_resized_picture_are_where_they_are_drawn(tmp_path):
    """Marks drawn at the landmarks of a large picture are found at the cut landmarks of the small one."""
    size, points = 96, np.array([[30, 40], [60, 40], [45, 52], [35, 66], [55, 66]])
    picture = np.zeros((size, size, 3), np.uint8)
    for x, y in points:
        cv2.circle(picture, (int(x), int(y)), 3, (255, 255, 255), -1)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    label = labels.Label("a.png", "a", None, points.astype(np.float64))
    data = cfg.Data(size=32, crop=(16, 16, 80, 80))
    small = labels.read_files(tmp_path, ["a.png"], data)[0, 0]
    for x, y in labels.cut_landmarks(tmp_path, [label], data)[0]:
        window = small[int(y) - 2:int(y) + 4, int(x) - 2:int(x) + 4]
        v, u = np.mgrid[int(y) - 2:int(y) + 4, int(x) - 2:int(x) + 4]
        assert (window * u).sum() / window.sum() == pytest.approx(x, abs=0.1)
        assert (window * v).sum() / window.sum() == pytest.approx(y, abs=0.1)


def test_mistakes_are_named(tmp_path, images):
    with pytest.raises(UserError, match="no labels in it; looked for labels.csv"):
        labels.read(images)
    with pytest.raises(UserError, match="no such folder"):
        labels.read(tmp_path / "nowhere")
    (tmp_path / "labels.csv").write_text("name,view\na.png,3\n")
    with pytest.raises(UserError, match="labels.csv has no column file"):
        labels.read(tmp_path)
    (tmp_path / "labels.csv").write_text("file,view\na.png,left\n")
    with pytest.raises(UserError, match="could not convert string to float: 'left'"):
        labels.read(tmp_path)


def test_generated_expressions_are_people_by_seven():
    faces = FaceSource(14, 32, seed=2, population="expressions")
    assert faces.factors(0).smile == 0 and faces.factors(1).smile == 1
    assert faces.factors(7).identity != faces.factors(0).identity and faces.factors(3).skin == faces.factors(0).skin
    assert FaceSource(3, 32, 2, population="frontal").factors(1).yaw == 0


def test_a_table_of_a_spreadsheet(tmp_path):
    """With a byte order mark and Windows line ends it is read; with semicolons the message says what is missing."""
    table = tmp_path / "labels.csv"
    table.write_bytes(b"\xef\xbb\xbffile,view\r\n000.png,15\r\n")
    assert [(label.file, label.view) for label in labels.read(tmp_path)] == [("000.png", 15.0)]
    table.write_bytes(b"file;view\r\n000.png;15\r\n")
    with pytest.raises(UserError, match="has no column file; its columns must be separated by commas"):
        labels.read(tmp_path)
