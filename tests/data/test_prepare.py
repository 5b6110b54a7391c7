"""Faces are found in photographs and cut out of them; what was not found is reported."""

from __future__ import annotations

import csv
import errno
import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from dgn import console
from dgn.__main__ import main
from dgn.data import detect, prepare
from dgn.data.clips import ClipFolder
from dgn.data.cut import Cut
from dgn.data.faces import render, subject_factors
from dgn.data.images import ImageFolder
from dgn.errors import UserError


def photograph(path, at=None, size=160) -> None:
    """A grey wall of 400 x 300 pixels with a drawn face at (left, top), or without."""
    wall = np.full((300, 400, 3), 128, np.uint8)
    if at:
        face = np.rint(255 * render(subject_factors(1, 3), size).image.transpose(1, 2, 0)).astype(np.uint8)
        wall[at[1]:at[1] + size, at[0]:at[0] + size] = face[..., ::-1]
    assert cv2.imwrite(str(path), wall)


def squares(boxes, size, margin=0.0) -> prepare.Cutter:
    """A cutter whose detector gives the same boxes for every picture, or the next ones of an iterator."""
    def found(picture):
        return [np.array(box) for box in (boxes if isinstance(boxes, list) else next(boxes))]
    return prepare.by_squares(found, size, margin)


def test_the_haar_cascade_finds_a_drawn_face_and_the_rest_is_reported(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    photograph(photos / "a.png", (200, 90))
    photograph(photos / "b.png")
    (photos / "c.png").write_text("no picture")
    report = prepare.crop_faces(photos, tmp_path / "out", prepare.by_squares(detect.open_detector(), 64))
    assert (report.found, report.not_found) == (["a.png"], ["b.png"])
    assert [name for name, _ in report.unreadable] == ["c.png"]
    assert cv2.imread(str(tmp_path / "out" / "a.png")).shape == (64, 64, 3)
    row = next(csv.DictReader(open(tmp_path / "out" / "crops.csv", encoding="utf-8")))
    centre = int(row["left"]) + int(row["side"]) / 2, int(row["top"]) + int(row["side"]) / 2
    np.testing.assert_allclose(centre, (280, 170), atol=25)


def test_the_largest_face_is_cut_with_its_margin_and_borders_are_repeated(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    ramp = np.tile(np.arange(100, dtype=np.uint8)[:, None, None], (1, 100, 3))
    cv2.imwrite(str(photos / "x.png"), ramp)
    prepare.crop_faces(photos, tmp_path / "out", squares([(-10, 20, 20, 20), (50, 50, 4, 4)], size=40, margin=0.5))
    cut = cv2.imread(str(tmp_path / "out" / "x.png"))
    np.testing.assert_array_equal(cut[:, 0, 0], np.arange(10, 50))  # rows 10..49: 20 high, widened by 10 on both sides


def test_no_two_faces_are_written_to_one_file(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in ("a.png", "a-2.png"):
        photograph(photos / name)
    two = squares([(0, 0, 20, 20), (50, 50, 10, 10)], size=16)
    prepare.crop_faces(photos, tmp_path / "out", two, every=True)
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["a-2-2.png", "a-2.png", "a-3.png", "a.png"]
    photograph(photos / "b.png")
    (photos / "b.png").rename(photos / "b.jpg")
    photograph(photos / "b.jpg.png")
    with pytest.raises(UserError, match="b.jpg and b.jpg.png would both be written to b.jpg.png"):
        prepare.crop_faces(photos, tmp_path / "other", two)
    assert not (tmp_path / "other").exists()


def test_detectors_and_folders_that_do_not_fit(tmp_path):
    with pytest.raises(UserError, match="no detector file"):
        detect.open_detector(str(tmp_path / "none.xml"))
    (tmp_path / "bad.xml").write_text("<xml>")
    with pytest.raises(UserError, match="not a cascade"):
        detect.open_detector(str(tmp_path / "bad.xml"))
    (tmp_path / "bad.onnx").write_text("x")
    with pytest.raises(UserError, match="not a YuNet"):
        detect.open_detector(str(tmp_path / "bad.onnx"))


def test_a_video_is_cut_by_one_square_and_its_frames_are_kept(tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    writer = cv2.VideoWriter(str(videos / "talk.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (100, 100))
    for k in range(12):
        writer.write(np.full((100, 100, 3), 20 * k, np.uint8))
    writer.release()
    (videos / "broken.mp4").write_text("no video")
    boxes = iter([[(30, 30, 20, 20)], [], [(32, 30, 20, 20), (0, 0, 4, 4)], [(34, 30, 20, 20)]] + 9 * [[]])
    report = prepare.crop_clips(videos, "videos", tmp_path / "out", squares(boxes, size=16))
    assert report.found == ["talk.avi"] and report.unreadable[0][0] == "broken.mp4"
    frames = sorted((tmp_path / "out" / "talk.avi").iterdir())
    assert [f.name for f in frames] == [f"{k + 1:06d}.png" for k in range(12)]
    np.testing.assert_allclose([cv2.imread(str(f)).mean() for f in frames], 20 * np.arange(12), atol=3)
    assert ClipFolder(tmp_path / "out", "frames", 12, Cut(16)).read(np.array([0])).shape == (1, 12, 3, 16, 16)


def frames(folder, levels) -> None:
    """A clip of numbered frames of 40 x 40 pixels, each of one grey level."""
    folder.mkdir(parents=True)
    for k, level in enumerate(levels):
        assert cv2.imwrite(str(folder / f"{k:03d}.png"), np.full((40, 40, 3), level, np.uint8))


def test_long_clips_are_cut_into_windows_with_places_of_their_own(tmp_path):
    """Eleven frames are two windows of five; the detector tells the window by the frame's level."""
    frames(tmp_path / "clips" / "first talk", range(0, 110, 10))
    frames(tmp_path / "clips" / "second", range(100, 150, 10))
    frames(tmp_path / "clips" / "short", (0, 0))
    seen = []

    def find(picture, name):
        seen.append(picture[0, 0, 0])
        return [] if picture[0, 0, 0] == 20 else [np.array([0, 0, 20 if picture[0, 0, 0] < 50 else 30])]

    def cut(picture, place):
        return np.full((8, 8, 3), picture[0, 0, 0] + place[2], np.uint8)
    report = prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "out", prepare.Cutter(find, cut, ["side"]), 5)
    assert report.found == ["first talk-0001", "first talk-0002", "second-0001"] and not report.not_found
    assert report.unreadable == [("short", "its 2 frames are fewer than the 5 of a window")]
    assert seen == [*range(0, 100, 10), *range(100, 150, 10)]
    clips = ClipFolder(tmp_path / "out", "frames", 5, Cut(8))
    levels = np.rint(255 * clips.read(clips.indices())[:, :, 0, 0, 0])
    np.testing.assert_array_equal(levels, [np.arange(20, 70, 10), np.arange(80, 130, 10), np.arange(130, 180, 10)])
    assert clips.people() == ["first_talk", "first_talk", "second"]


def test_windows_keep_the_people_that_are_known(tmp_path):
    cutter = squares([(0, 0, 16, 16)], size=16)
    for clip in ("joy/ann_1", "joy/bob_1", "fear/ann_2"):
        frames(tmp_path / "named" / clip, range(4))
    prepare.crop_clips(tmp_path / "named", "frames", tmp_path / "a", cutter, 2)
    assert not (tmp_path / "a" / "identity.txt").exists()
    assert ClipFolder(tmp_path / "a", "frames", 2, Cut(16)).people() == 4 * ["ann"] + 2 * ["bob"]

    (tmp_path / "named" / "identity.txt").write_text("joy/ann_1 7\njoy/bob_1 8\nfear/ann_2 8\n")
    for window, target, each in ((2, "b", 2), (None, "c", 1)):  # clips that are not divided, too
        prepare.crop_clips(tmp_path / "named", "frames", tmp_path / target, cutter, window)
        people = ClipFolder(tmp_path / target, "frames", 2, Cut(16)).people()
        assert people == [person for person in "878" for _ in range(each)]

    frames(tmp_path / "alone" / "talk", range(4))
    prepare.crop_clips(tmp_path / "alone", "frames", tmp_path / "d", cutter, 2)
    assert ClipFolder(tmp_path / "d", "frames", 2, Cut(16)).people() is None


def test_clips_of_frames_and_strips_are_cut_by_one_square_each(tmp_path):
    """Grey JPEG frames, whose square is the median of the detected ones; and a strip of colour."""
    (tmp_path / "frames" / "joy").mkdir(parents=True)
    for k in range(3):
        picture = np.full((40, 40), 10, np.uint8)
        picture[10:30, 10 + 4 * k:30 + 4 * k] = 200  # it walks to the right through the square
        cv2.imwrite(str(tmp_path / "frames" / "joy" / f"P1_{k + 8}.jpg"), picture)
    boxes = iter([[(10, 10, 20, 20)], [(14, 10, 20, 20)], [(18, 10, 20, 20)]])
    report = prepare.crop_clips(tmp_path / "frames", "frames", tmp_path / "out", squares(boxes, size=20))
    assert report.found == ["joy/P1"]
    clip = ClipFolder(tmp_path / "out", "frames", 3, Cut(20))
    assert clip.name(0) == "joy/P1"
    lit = clip.read(np.array([0]))[0, :, 0, 10] > 0.5
    assert lit[1].all() and not lit[0, 17:].any() and lit[0, :15].all() and not lit[2, :3].any() and lit[2, 5:].all()

    for place in ("a/b/1.png", "a_2.png"):  # a clip in the folder of another, which is broken
        (tmp_path / "nested" / place).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "nested" / place), np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "nested" / "a_1.png").write_bytes(b"")
    report = prepare.crop_clips(tmp_path / "nested", "frames", tmp_path / "whole", squares([(0, 0, 16, 16)], size=16))
    assert report.found == ["a/b"] and report.unreadable[0][0] == "a"
    assert (tmp_path / "whole" / "a" / "b" / "000001.png").is_file()

    (tmp_path / "strips").mkdir()
    levels = [np.full((16, 16, 3), 50 * k, np.uint8) for k in range(4)]
    cv2.imwrite(str(tmp_path / "strips" / "walk.png"), np.concatenate(levels, 1))
    prepare.crop_clips(tmp_path / "strips", "strips", tmp_path / "cut", squares([(0, 0, 16, 16)], size=16))
    found = ClipFolder(tmp_path / "cut", "frames", 4, Cut(16)).read(np.array([0]))[0]
    np.testing.assert_allclose(found.mean((1, 2, 3)), np.arange(4) * 50 / 255, atol=1e-3)


def test_people_of_subfolders_are_kept(tmp_path):
    """Named by their paths, or by their names without folders; two photographs have the same name."""
    names = ["anna/0.png", "bert/0.png", "bert/1.png", "2.png"]
    for name in names:
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        photograph(tmp_path / "photos" / name)
    (tmp_path / "photos" / "identity.txt").write_text("anna/0.png anna\nbert/0.png bert\n1.png bert\n")
    two = squares([(0, 0, 20, 20), (50, 50, 10, 10)], size=16)
    prepare.crop_faces(tmp_path / "photos", tmp_path / "out", two, every=True)
    people = dict(line.split() for line in (tmp_path / "out" / "identity.txt").read_text().splitlines())
    assert people == {"anna/0.png": "anna", "anna/0-2.png": "anna", "bert/0.png": "bert", "bert/0-2.png": "bert",
                      "1.png": "bert", "1-2.png": "bert"}
    cuts = ImageFolder(tmp_path / "out", Cut(16))
    assert dict(zip(cuts.names, cuts.people())) == {
        "2.png": "2.png", "2-2.png": "2-2.png", "anna/0.png": "anna", "anna/0-2.png": "anna", "bert/0.png": "bert",
        "bert/0-2.png": "bert", "bert/1.png": "bert", "bert/1-2.png": "bert"}


def test_windows_of_an_unnamed_recording_show_one_person(tmp_path):
    for clip in ("talk a", "talk b"):
        frames(tmp_path / "clips" / clip, range(4))
    (tmp_path / "clips" / "identity.txt").write_text("talk b ann\n")
    prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "out", squares([(0, 0, 16, 16)], size=16), 2)
    assert ClipFolder(tmp_path / "out", "frames", 2, Cut(16)).people() == 2 * ["talk_a"] + 2 * ["ann"]


def test_complete_windows_of_a_damaged_recording_are_kept(tmp_path):
    """A video that ends too early, and frames of which one in the third window is damaged."""
    (tmp_path / "videos").mkdir()
    video = tmp_path / "videos" / "talk.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for k in range(20):
        writer.write(np.full((64, 64, 3), 10 * k, np.uint8))
    writer.release()
    video.write_bytes(b"00dc".join(video.read_bytes().split(b"00dc")[:12]))  # 10 frames, and a part of one
    cutter = squares([(0, 0, 16, 16)], size=16)
    report = prepare.crop_clips(tmp_path / "videos", "videos", tmp_path / "a", cutter, 4)
    (name, reason), = report.unreadable
    assert name == "talk.avi" and re.fullmatch(
        "only 1[01] of its 20 frames can be read: .* cut short; 2 windows before are complete", reason)
    assert report.found == ["talk.avi-0001", "talk.avi-0002"]
    found = ClipFolder(tmp_path / "a", "frames", 4, Cut(16)).read(np.arange(2))
    np.testing.assert_allclose(255 * found.mean((2, 3, 4)).ravel(), 10 * np.arange(8), atol=4)

    frames(tmp_path / "clips" / "walk", range(8))
    (tmp_path / "clips" / "walk" / "005.png").write_bytes(b"")
    report = prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "b", cutter, 2)
    assert report.found == ["walk-0001", "walk-0002"]
    assert report.unreadable == [("walk", "its frame walk/005.png: the file is empty; 2 windows before are complete")]
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "crop.json", "crops.csv", "walk-0001", "walk-0002"]


class Interruption:
    """A cutter that is interrupted by Ctrl-C at its `last` picture; `cut` counts the pictures."""

    def __init__(self, last: int | None) -> None:
        self.last, self.count, self.seen = last, 0, []

    def cutter(self) -> prepare.Cutter:
        return prepare.Cutter(self.find, self.cut, ["side"])

    def find(self, picture, name):
        self.seen.append(name)
        return [np.array([picture[0, 0, 0]])] if picture[0, 0, 0] else []

    def cut(self, picture, place):
        self.count += 1
        if self.count == self.last:
            raise KeyboardInterrupt
        return np.full((8, 8, 3), picture[0, 0, 0], np.uint8)


def test_an_interrupted_crop_of_photographs_is_continued(tmp_path, monkeypatch):
    monkeypatch.setattr("dgn.machine.cores", lambda: 1)
    (tmp_path / "photos").mkdir()
    for k in range(70):
        cv2.imwrite(str(tmp_path / "photos" / f"{k:02d}.png"), np.full((20, 20, 3), k, np.uint8))
    (tmp_path / "photos" / "identity.txt").write_text("".join(f"{k:02d}.png p{k}\n" for k in range(70)))
    out, options = tmp_path / "out", {"size": 8, "eyes": (0.3, 0.4)}
    with pytest.raises(KeyboardInterrupt):
        prepare.crop_faces(tmp_path / "photos", out, Interruption(66).cutter(), options=options)
    rows = (out / "crops.csv").read_bytes().splitlines(keepends=True)
    assert len(rows) >= 65 and rows[1] == b"00.png,0,,\r\n" and rows[2] == b"01.png,1,1,01.png\r\n"
    (out / "crops.csv").write_bytes(b"".join(rows[:40]) + rows[40][:-4])  # cut short by a kill
    with pytest.raises(UserError, match="is not empty, it holds an earlier crop: --resume continues it"):
        prepare.crop_faces(tmp_path / "photos", out, Interruption(None).cutter(), options=options)
    with pytest.raises(UserError, match="holds a crop with size 8, not 9; give the same source and options"):
        prepare.crop_faces(tmp_path / "photos", out, Interruption(None).cutter(), False, True, {**options, "size": 9})
    again = Interruption(None)
    report = prepare.crop_faces(tmp_path / "photos", out, again.cutter(), False, True, options)
    assert sorted(again.seen) == [f"{k:02d}.png" for k in range(39, 70)]
    assert report.not_found == ["00.png"] and report.found == [f"{k:02d}.png" for k in range(1, 70)]
    whole = prepare.crop_faces(tmp_path / "photos", tmp_path / "whole", Interruption(None).cutter(), options=options)
    assert whole == report
    assert (out / "crops.csv").read_bytes() == (tmp_path / "whole" / "crops.csv").read_bytes()
    cuts = ImageFolder(out, Cut(8))
    assert cuts.names == report.found and cuts.people() == [f"p{k}" for k in range(1, 70)]


def test_an_interrupted_crop_of_recordings_is_continued_at_its_window(tmp_path):
    frames(tmp_path / "clips" / "a", [0, 0, 10, 20, 30, 40])  # no face in its first window
    frames(tmp_path / "clips" / "b", range(50, 110, 10))
    with pytest.raises(KeyboardInterrupt):
        prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "out", Interruption(8).cutter(), 2)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a-0002", "a-0003", "b-0001", "crop.json", "crops.csv", "identity.txt"]  # no half window
    again = Interruption(None)
    report = prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "out", again.cutter(), 2, True)
    assert again.seen == 4 * ["b"] and again.count == 4
    assert report.not_found == ["a-0001"] and report.found == ["a-0002", "a-0003", "b-0001", "b-0002", "b-0003"]
    prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "whole", Interruption(None).cutter(), 2)
    continued, whole = (ClipFolder(tmp_path / name, "frames", 2, Cut(8)) for name in ("out", "whole"))
    np.testing.assert_array_equal(continued[:], whole[:])
    assert continued.people() == whole.people() == ["a", "a", "b", "b", "b"]
    assert (tmp_path / "out" / "crops.csv").read_text() == (tmp_path / "whole" / "crops.csv").read_text()
    complete = Interruption(None)
    assert prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "out", complete.cutter(), 2, True) == report
    assert complete.seen == []


def test_a_photograph_that_could_not_be_read_is_tried_again(tmp_path):
    """A disk that failed for a while does not count as a photograph without a face."""
    (tmp_path / "photos").mkdir()
    photograph(tmp_path / "photos" / "a.png")
    (tmp_path / "photos" / "b.png").write_bytes(b"")
    cutter = squares([(0, 0, 16, 16)], size=16)
    report = prepare.crop_faces(tmp_path / "photos", tmp_path / "out", cutter)
    assert report == (["a.png"], [], [("b.png", "the file is empty")])
    assert [row["file"] for row in csv.DictReader(open(tmp_path / "out" / "crops.csv"))] == ["a.png"]
    photograph(tmp_path / "photos" / "b.png")
    report = prepare.crop_faces(tmp_path / "photos", tmp_path / "out", cutter, resume=True)
    assert report == (["a.png", "b.png"], [], [])


def test_two_processes_do_not_crop_into_one_folder(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    photograph(tmp_path / "photos" / "a.png")
    cutter = squares([(0, 0, 16, 16)], size=16)
    prepare.crop_faces(tmp_path / "photos", tmp_path / "out", cutter)
    before = (tmp_path / "out" / "crops.csv").read_bytes()
    photograph(tmp_path / "photos" / "b.png")

    def held(*_):
        raise BlockingIOError(errno.EAGAIN, "held")
    monkeypatch.setattr("fcntl.lockf", held)
    with pytest.raises(UserError, match="out is in use by another process"):
        prepare.crop_faces(tmp_path / "photos", tmp_path / "out", cutter, resume=True)
    assert (tmp_path / "out" / "crops.csv").read_bytes() == before


def test_a_crop_with_other_columns_is_not_continued(tmp_path):
    frames(tmp_path / "clips" / "a", (1, 2))
    prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "out", Interruption(None).cutter())
    with pytest.raises(UserError, match="crops.csv has other columns than file, window, windows, found, left, top"):
        prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "out", squares([(0, 0, 16, 16)], 16), resume=True)


def test_complete_recordings_are_neither_read_nor_timed_again(tmp_path, monkeypatch):
    for name in "abc":
        frames(tmp_path / "clips" / name, (10, 20))
    with pytest.raises(KeyboardInterrupt):
        prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "out", Interruption(5).cutter())
    read, bars, crop_clip = [], [], prepare._crop_clip

    def progress(*given, **options):
        bars.append(options)
        return console.progress(*given, **options)
    monkeypatch.setattr(prepare, "console", SimpleNamespace(progress=progress))
    monkeypatch.setattr(prepare, "_crop_clip", lambda name, *rest: read.append(name) or crop_clip(name, *rest))
    report = prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "out", Interruption(None).cutter(), None, True)
    assert report.found == ["a", "b", "c"] and read == ["c"]
    assert bars == [{"total": 3, "initial": 2, "unit": "clip"}]


def test_a_clip_may_lie_in_the_folder_of_another(tmp_path):
    """x/y is cut before x, whose frames join it."""
    frames(tmp_path / "clips" / "x" / "y", (10, 20))
    for k in (1, 2):
        assert cv2.imwrite(str(tmp_path / "clips" / f"x_{k}.png"), np.full((40, 40, 3), 100, np.uint8))
    report = prepare.crop_clips(tmp_path / "clips", "frames", tmp_path / "out", squares([(0, 0, 16, 16)], 16))
    assert report.found == ["x/y", "x"]
    assert {str(path.relative_to(tmp_path / "out")): cv2.imread(str(path))[0, 0, 0] for path in
            (tmp_path / "out").rglob("*.png")} == {"x/000001.png": 100, "x/000002.png": 100, "x/y/000001.png": 10,
                                                  "x/y/000002.png": 20}


def test_a_further_face_with_the_name_of_another_photograph_keeps_its_person(tmp_path):
    for name in ("a.png", "sub/a-2.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        photograph(tmp_path / "photos" / name)
    (tmp_path / "photos" / "identity.txt").write_text("a.png anna\nsub/a-2.png bert\n")
    two = squares([(0, 0, 20, 20), (50, 50, 10, 10)], size=16)
    prepare.crop_faces(tmp_path / "photos", tmp_path / "out", two, every=True)
    cuts = ImageFolder(tmp_path / "out", Cut(16))
    assert dict(zip(cuts.names, cuts.people())) == {
        "a.png": "anna", "a-2.png": "anna", "sub/a-2.png": "bert", "sub/a-2-2.png": "bert"}


def test_the_command_says_how_an_interrupted_crop_is_continued(tmp_path, monkeypatch, capsys):
    frames(tmp_path / "clips" / "a", range(10, 60, 10))
    command = ["data", "crop", str(tmp_path / "clips"), str(tmp_path / "out"), "--format", "frames", "--size", "8"]
    monkeypatch.setattr(prepare, "by_squares", lambda *_: Interruption(3).cutter())
    assert main([*command, "--window", "2"]) == 130
    assert f"{tmp_path / 'out'} is not complete: the same command with --resume continues" in capsys.readouterr().err
    monkeypatch.setattr(prepare, "by_squares", lambda *_: Interruption(None).cutter())
    assert main([*command, "--window", "3", "--resume"]) == 2
    assert "holds a crop with window 2, not 3" in capsys.readouterr().err
    assert main([*command, "--window", "2", "--resume"]) == 0
    assert "2 of 2 clips: face found" in capsys.readouterr().out
