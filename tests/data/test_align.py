"""Faces turned, scaled and cut by their eyes, given in labels or detected."""

from __future__ import annotations

import csv
import runpy
import sys
import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dgn.__main__ import main
from dgn.data import detect, prepare
from dgn.data.align import align, compare, eye_positions, similarity
from dgn.data.faces import render, subject_factors
from dgn.data.labels import by_view, read, read_eyes
from dgn.errors import UserError

EYES = np.array([[120.0, 90.0], [180.0, 100.0]])


def dots(points, size=(300, 260), sigma=4.0) -> np.ndarray:
    """A black picture with bright dots at (x, y)."""
    y, x = np.mgrid[:size[1], :size[0]]
    return np.rint(sum(255 * np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * sigma ** 2))
                       for px, py in points)).clip(0, 255).astype(np.uint8)


def centroid(picture, near, radius=12) -> np.ndarray:
    """The centre of the light around a point."""
    y, x = np.mgrid[:picture.shape[0], :picture.shape[1]]
    light = picture * (np.hypot(x - near[0], y - near[1]) < radius)
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum()


@pytest.mark.parametrize("size, turn, scale", [(64, 0, 1), (64, 25, 0.4), (128, -70, 1.5), (32, 170, 0.25)])
def test_eyes_land_on_the_requested_pixels(size, turn, scale):
    """Dots of light at the eyes of a picture that is turned and scaled about its middle."""
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    eyes = (EYES - 130) @ rotation.T * scale + 130
    places = eye_positions(size, (0.3, 0.4))
    np.testing.assert_allclose(places, np.array([[0.3, 0.4], [0.7, 0.4]]) * size - 0.5)
    apart = np.linalg.norm(eyes[1] - eyes[0])
    cut = align(dots(eyes, sigma=max(1.5, apart / 10)), eyes, places, size)
    assert cut.shape == (size, size)
    for place in places:
        np.testing.assert_allclose(centroid(cut, place, size / 6), place, atol=0.25)


def test_a_similarity_maps_two_points_and_keeps_angles(rng):
    source, target = rng.normal(size=(2, 2, 2))
    matrix = similarity(source, target)
    np.testing.assert_allclose(source @ matrix[:, :2].T + matrix[:, 2], target)
    product = matrix[:, :2] @ matrix[:, :2].T
    np.testing.assert_allclose(product, np.eye(2) * np.linalg.det(matrix[:, :2]), atol=1e-12)


def test_a_reduced_picture_is_averaged_over_areas(rng):
    picture = rng.integers(0, 256, (128, 128, 3), np.uint8)
    places = eye_positions(32, (0.3, 0.4))
    cut = align(picture, (places + 0.5) * 4 - 0.5, places, 32)
    np.testing.assert_allclose(cut, picture.reshape(32, 4, 32, 4, 3).mean((1, 3)), atol=0.51)


def photograph(turn=0.0, size=300):
    """A drawn face turned by some degrees, (H, W, 3) RGB uint8, and its eyes."""
    face = render(subject_factors(1, 3), 160)
    matrix = cv2.getRotationMatrix2D((79.5, 79.5), turn, 1.0)
    matrix[:, 2] += (size - 160) / 2
    pixels = np.rint(255 * face.image.transpose(1, 2, 0)).astype(np.uint8)
    picture = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return picture, face.landmarks[:2] @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize("turn", [0, -9, 28])
def test_the_eye_cascades_find_the_eyes_of_a_drawn_face(turn):
    picture, eyes = photograph(turn)
    found = detect.open_eye_detector()(picture)[0]
    error = np.linalg.norm(found - eyes, axis=1) / np.linalg.norm(eyes[1] - eyes[0])
    assert error.max() < 0.1
    assert detect.open_eye_detector()(np.full((200, 300, 3), 128, np.uint8)) == []


def test_a_long_photograph_is_reduced_before_detection(monkeypatch):
    calls = []

    def found(self, grey, step, neighbours, sizes):
        calls.append((grey.shape, sizes[0]))
        return np.array([[30.0, 20.0, 100.0, 100.0]])
    monkeypatch.setattr(detect._Cascade, "__call__", found)
    picture = np.zeros((1200, 2400, 3), np.uint8)
    np.testing.assert_allclose(detect.open_detector()(picture)[0], [180, 120, 600, 600])
    np.testing.assert_allclose(detect.open_detector(smallest=0.05)(picture)[0], [72, 48, 240, 240])
    detect.open_detector()(np.zeros((80, 60, 3), np.uint8))
    assert calls == [((200, 400), 50), ((500, 1000), 50), ((400, 300), 50)]


@pytest.mark.parametrize("package", ["no module", "no files", "no class"])
def test_an_opencv_without_cascades_needs_another_detector(package, monkeypatch, tmp_path):
    """As OpenCV 5 may be."""
    if package == "no class":
        monkeypatch.delattr(cv2, "CascadeClassifier")
    else:
        empty = SimpleNamespace(haarcascades=str(tmp_path))
        monkeypatch.setitem(sys.modules, "cv2.data", None if package == "no module" else empty)
    runpy.run_path(detect.__file__)
    for detector in (detect.open_detector, detect.open_eye_detector):
        with pytest.raises(UserError, match="this OpenCV has no face cascades; give --detector YUNET.onnx"):
            detector()


def test_eyes_of_a_yunet_model(monkeypatch, tmp_path):
    """Rows: box, right eye, left eye, nose, corners of the mouth, score; of a reduced picture."""
    rows = np.arange(30, dtype=np.float32).reshape(2, 15)

    class Network:
        def setInputSize(self, size):
            self.size = size

        def detect(self, picture):
            assert picture.shape == (*self.size[::-1], 3)
            return 1, rows
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *options: Network())
    (tmp_path / "yunet.onnx").write_bytes(b"x")
    picture = np.zeros((1000, 1600, 3), np.uint8)  # reduced by 2
    eyes = detect.open_eye_detector(str(tmp_path / "yunet.onnx"))(picture)
    np.testing.assert_allclose(eyes[0], 2 * np.array([[19, 20], [21, 22]]), atol=1)  # the larger box is the second one
    np.testing.assert_allclose(detect.open_detector(str(tmp_path / "yunet.onnx"))(picture)[1], [0, 2, 4, 6])


@pytest.fixture
def photos(tmp_path):
    """A folder of a photograph with two faces, one with one, and one without; its labels; identities."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, points in (("a.png", [*EYES, [30, 40], [60, 40]]), ("more/b.png", EYES), ("c.png", [[5, 5]])):
        cv2.imwrite(str(folder / name), dots(points))
    (folder / "labels.csv").write_text(
        "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y\na.png,30,40,60,40\na.png,180,100,120,90\n"
        "more/b.png,120,90,180,100\nc.png,,,,\nmissing.png,1,2,3,4\n")
    (tmp_path / "identity.txt").write_text("a.png 7\nb.png 8\n")
    return folder


def test_faces_are_cut_by_labels(photos, tmp_path):
    labels = read_eyes(photos / "labels.csv", photos)
    assert sorted(labels) == ["a.png", "more/b.png"]
    np.testing.assert_array_equal(labels["a.png"][1], EYES)  # the left one first, in whichever order they are given
    cutter = prepare.by_eyes(prepare.labelled(labels), 64, (0.3, 0.4), 0.5)
    report = prepare.crop_faces(photos, tmp_path / "out", cutter, every=True)
    assert (report.found, report.not_found, report.unreadable) == (["a.png", "more/b.png"], ["c.png"], [])
    rows = list(csv.DictReader(open(tmp_path / "out" / "crops.csv", encoding="utf-8")))
    assert [row["cut"] for row in rows] == ["a.png", "a-2.png", "", "more/b.png"]  # the larger face first
    for row in rows:
        if row["cut"]:
            cut = cv2.imread(str(tmp_path / "out" / row["cut"]), 0)
            for x in (0.4, 0.6):  # 0.3 and 0.7 of the middle half
                place = np.array([x, 0.45]) * 64 - 0.5
                np.testing.assert_allclose(centroid(cut, place, 5), place, atol=0.3)
    assert (tmp_path / "out" / "identity.txt").read_text().split() == ["a.png", "7", "a-2.png", "7", "b.png", "8"]
    again = read_eyes(tmp_path / "out" / "crops.csv", photos)
    assert {name: len(eyes) for name, eyes in again.items()} == {"a.png": 2, "more/b.png": 1}
    prepare.crop_faces(photos, tmp_path / "one", cutter)
    assert not (tmp_path / "one" / "a-2.png").exists()


def test_labels_of_mtfl_are_relative_to_their_own_folder(photos, tmp_path):
    columns = ["path", "x_leye", "x_reye", "y_leye", "y_reye"]
    lines = ["\t".join(row) for row in (columns, ["photos/more/b.png", "1", "5", "2", "3"])]
    (tmp_path / "index.tsv").write_text("\n".join(lines))
    np.testing.assert_array_equal(read_eyes(tmp_path / "index.tsv", photos)["more/b.png"], [[[1, 2], [5, 3]]])
    (tmp_path / "index.tsv").write_text("\n".join([lines[0], lines[1].replace("photos", "x")]))
    with pytest.raises(UserError, match="contains no eyes of files"):
        read_eyes(tmp_path / "index.tsv", photos)
    (photos / "labels.csv").write_text("file,left_eye_x,left_eye_y,right_eye_x,right_eye_y\na.png,3,4,3,4\n")
    with pytest.raises(UserError, match="two different points"):
        read_eyes(photos / "labels.csv", photos)
    (photos / "labels.csv").write_text("file,x\na.png,3\n")
    with pytest.raises(UserError, match="left_eye_x"):
        read_eyes(photos / "labels.csv", photos)


def test_photographs_are_cut_by_several_threads_in_order(photos, tmp_path, monkeypatch):
    monkeypatch.setattr("dgn.machine.cores", lambda: 3)
    barrier, threads = threading.Barrier(3, timeout=30), set()

    def find(picture, name):
        barrier.wait()  # passes only if three threads are here at once
        threads.add(threading.get_ident())
        return [EYES]
    report = prepare.crop_faces(photos, tmp_path / "out", prepare.by_eyes(find, 16))
    assert len(threads) == 3 and report.found == ["a.png", "c.png", "more/b.png"]


def test_a_clip_is_aligned_by_the_median_of_its_eyes(tmp_path):
    (tmp_path / "strips").mkdir()
    frames = [dots(EYES + shift, (260, 260)) for shift in (0, 2, 4)]
    cv2.imwrite(str(tmp_path / "strips" / "walk.png"), np.concatenate(frames, 1))
    eyes = iter([[EYES], [EYES + 2], [EYES + 4]])
    cutter = prepare.by_eyes(lambda picture, name: next(eyes), 64)
    prepare.crop_clips(tmp_path / "strips", "strips", tmp_path / "cut", cutter)
    place = eye_positions(64)[0]
    shift = similarity(EYES, eye_positions(64))[:, :2] @ np.array([2, 2])
    for k in range(3):
        frame = cv2.imread(str(tmp_path / "cut" / "walk.png" / f"{k + 1:06d}.png"), 0)
        np.testing.assert_allclose(centroid(frame, place + (k - 1) * shift, 6), place + (k - 1) * shift, atol=0.3)


def test_errors_of_detected_eyes():
    """A distance of 100: one photograph 10 and 0 off, one 0 and 0, one without a face, one of another face."""
    truth = np.array([[0.0, 0.0], [60.0, 80.0]])
    labels = {"a": [truth], "b": [truth + 500, truth], "c": [truth], "d": [truth]}
    found = {"a": [truth + [[6, 8], [0, 0]]], "b": [truth], "d": [truth + 300], "e": [truth]}
    result = compare(found, labels)
    assert (result["photographs"], result["found"]) == (4, 0.75)
    assert (result["mean_within"], result["worse_within"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert result["mean"][0] == pytest.approx(0.05) and result["worse"][0] == pytest.approx(0.1)
    assert compare({}, labels) == {"photographs": 4, "found": 0.0}


def test_the_command_aligns_and_checks(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("dgn.data.detect.open_eye_detector", lambda *options: lambda picture: [EYES + 1])
    sheet = tmp_path / "sheet.png"
    line = ["data", "crop", str(photos), str(tmp_path / "out"), "--align", "--size", "32"]
    assert main([*line, "--check", str(photos / "labels.csv"), "--sheet", str(sheet)]) == 0
    out = capsys.readouterr().out
    assert "3 of 3 photographs: face found" in out and "2 labelled photographs: face found in 100.0 %" in out
    assert "worse eye: below 10 in 100.0 %; quantiles 50 %: 2.3, 85 %: 2.3, 95 %: 2.3" in out  # sqrt(2) of 60.8
    assert cv2.imread(str(sheet)) is not None
    for options, message in ((["--check", "x", "--labels", "y"], "with --labels nothing is detected"),
                             (["--eyes", "0.6,0.4"], "above 0 and below 0.5"), (["--margin", "20"], "margin is 20")):
        assert main([*line[:3], str(tmp_path / "new"), *line[4:], *options]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(UserError, match="from 0.02 to 0.9"):
        detect.open_detector(smallest=1.0)
    assert main([*line[:4], "--labels", str(photos / "labels.csv")]) == 2 and "--align" in capsys.readouterr().err
    assert main([*line, "--all", "--format", "strips"]) == 2 and "is for photographs" in capsys.readouterr().err
    assert main([*line, "--window", "24"]) == 2 and "--window is for clips" in capsys.readouterr().err


def test_cuts_of_the_fei_set_keep_their_views(tmp_path):
    for name in ("3-04.jpg.png", "3-11.JPG.png", "3-07.png", "x-11.png"):
        (tmp_path / name).write_bytes(b"")
    assert list(by_view(read(tmp_path), tmp_path)) == [-30.0, 0.0, 30.0]
