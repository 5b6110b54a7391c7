"""Clips from video files, numbered frames and strips, and generated ones with what is known of them."""

from __future__ import annotations

import csv
import threading

import cv2
import numpy as np
import pytest

from dgn import config as cfg
from dgn.data.clips import ClipFolder, by_person, numbered, people_of_names
from dgn.data.cut import Cut
from dgn.data.decoding import quiet_opencv
from dgn.data.face_clips import FaceClips, write_clips
from dgn.data.face_factors import APPEARANCE, EXPRESSIONS, GEOMETRY
from dgn.data.faces import render
from dgn.data.folder import Reading
from dgn.data.frames import spread
from dgn.data.open import open_sources
from dgn.data.source import to_images
from dgn.errors import UserError


def picture(level: int, size: int = 16) -> np.ndarray:
    """A plain grey picture, so that a frame is known by its level."""
    return np.full((size, size, 3), level, np.uint8)


def levels(clip: np.ndarray) -> np.ndarray:
    return np.rint(255 * clip.mean((1, 2, 3)))


def write_video(path, count, size=16, noise=None):
    """Plain frames of levels 0, 10, 20 ...; noise: random ones, each of some kilobytes."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (size, size))
    assert writer.isOpened()
    for k in range(count):
        writer.write(picture(10 * k) if noise is None else noise.integers(0, 256, (size, size, 3), np.uint8))
    writer.release()


def write_frames(folder, numbers, prefix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for k in numbers:
        cv2.imwrite(str(folder / f"{prefix}{k}.png"), picture(10 * k))


def test_a_video_file_is_a_clip_padded_cut_or_resampled(tmp_path):
    write_video(tmp_path / "walk.avi", 7)
    source = ClipFolder(tmp_path, "videos", 9, Cut(16))
    padded, mask = source.read(np.array([0])), source.mask(np.array([0]))
    assert padded.shape == (1, 9, 3, 16, 16)
    np.testing.assert_allclose(levels(padded[0, :7]), 10 * np.arange(7), atol=3)
    assert (padded[0, 7:] == 0).all() and mask.tolist() == [7 * [1] + 2 * [0]]
    np.testing.assert_array_equal(to_images(padded, mask), padded[0, :7])
    first = ClipFolder(tmp_path, "videos", 3, Cut(16)).read(np.array([0]))[0]
    np.testing.assert_allclose(levels(first), [0, 10, 20], atol=3)
    resampled = ClipFolder(tmp_path, "videos", 4, Cut(16), resample=True).read(np.array([0]))[0]
    np.testing.assert_allclose(levels(resampled), [0, 20, 40, 60], atol=3)
    grey = ClipFolder(tmp_path, "videos", 4, Cut(8, (0, 0, 8, 8), grey=True)).read(np.array([0]))
    assert grey.shape == (1, 4, 1, 8, 8)


def test_numbered_frames_are_put_in_the_order_of_their_numbers(tmp_path):
    write_frames(tmp_path / "walk", [9, 10, 2])
    write_frames(tmp_path / "ck", [1, 2], "S010_004_0000")
    write_frames(tmp_path / "ck", [5], "S010_006_0000")
    source = ClipFolder(tmp_path, "frames", 3, Cut(16))
    assert [source.name(k) for k in range(len(source))] == ["ck/S010_004", "ck/S010_006", "walk"]
    clips = source.read(np.arange(3))
    np.testing.assert_array_equal(levels(clips[2]), [20, 90, 100])
    assert source.mask(np.arange(3)).sum(1).tolist() == [2, 1, 3]
    unread = ClipFolder(tmp_path, "frames", 3, Cut(16))
    assert unread.mask(np.array([0, 1])).sum(1).tolist() == [2, 1]
    assert numbered(["a/1.png", "a/x.png", "b_7.png", "b_08.png"]) == {"a": ["a/1.png"], "b": ["b_7.png", "b_08.png"]}
    with pytest.raises(UserError, match="a/02.png and a/2.png are both frame 2"):
        numbered(["a/1.png", "a/2.png", "a/02.png"])
    # two clips, not one
    assert numbered(["walk/1.png", "walk_2.png"]) == {"walk": ["walk/1.png"], "walk_": ["walk_2.png"]}
    assert numbered(["a/img_1.jpg.png", "a/img_2.JPG"]) == {"a/img": ["a/img_1.jpg.png", "a/img_2.JPG"]}
    # written clips need two folders
    assert numbered(["walk1.png", "walk/1.png"]) == {"walk": ["walk1.png"], "walk_": ["walk/1.png"]}


def test_a_clip_is_stored_in_its_frames(tmp_path):
    write_frames(tmp_path / "joy", (1, 2), "P1_")
    clips = ClipFolder(tmp_path, "frames", 2, Cut(16))
    assert clips.stored(clips.indices()) == [tmp_path / "joy" / f"P1_{k}.png" for k in (1, 2)]


def test_images_that_are_no_frames_are_reported_and_a_broken_frame_is_named(tmp_path, caplog):
    write_frames(tmp_path / "walk", [1, 2, 3])
    cv2.imwrite(str(tmp_path / "walk" / "2_mended.png"), picture(0))
    source = ClipFolder(tmp_path, "frames", 3, Cut(16))
    assert "1 of 4 image files, such as walk/2_mended.png" in caplog.text
    was = source.identity()
    assert ClipFolder(tmp_path, "frames", 3, Cut(16)).identity() == was
    (tmp_path / "walk" / "2.png").write_bytes(b"")
    with pytest.raises(UserError, match="its frame walk/2.png: .*empty"):
        source.read(np.array([0]))
    (tmp_path / "walk" / "2.png").unlink()
    assert ClipFolder(tmp_path, "frames", 3, Cut(16)).identity() != was


def test_the_last_clips_are_of_the_last_people_in_every_class(tmp_path):
    names = [f"{kind}/S{person}_{k}" for kind in ("anger", "joy") for person in (1, 2, 3) for k in (1, 2)]
    people = people_of_names(names)
    assert by_person(names, people)[-4:] == ["anger/S3_1", "anger/S3_2", "joy/S3_1", "joy/S3_2"]
    assert people_of_names([*names, "walk"]) is None
    for name in names:
        write_frames(tmp_path / name, [1])
    source = ClipFolder(tmp_path, "frames", 1, Cut(16), Reading(pattern="*/*"))
    assert [source.name(k) for k in range(len(source))] == by_person(names, people)
    data = cfg.Data(path=str(tmp_path), format="frames", frames=1, size=16, held_out=3, pattern="*/*")
    train, held_out = open_sources(data)
    assert held_out.people() == ["S3"] * 3 and train.people() == ["S1"] * 4 + ["S2"] * 4  # of S3 none is trained on
    one_class = cfg.changed(cfg.Config(data=data), data={"pattern": "joy/*", "held_out": 1}).data
    assert open_sources(one_class).train.people() == ["S1"] * 2 + ["S2"] * 2


@pytest.mark.parametrize("names", [
    [f"{folder}/VID_{k}" for folder in ("holiday", "office") for k in range(3)],
    [f"speaker{k}/recording_{k}" for k in range(4)],
    ["anger/S1_1", "joy/S1_1", "joy/walk"]])
def test_other_names_with_an_underscore_name_no_people(names):
    assert people_of_names(names) is None and by_person(names, None) == names


def test_people_of_clips_are_read_from_a_file_of_identities(tmp_path, caplog):
    names = [f"holiday/VID_{k}" for k in range(6)]
    for name in names:
        write_frames(tmp_path / name, [1])
    data = cfg.Data(path=str(tmp_path), format="frames", frames=1, size=16, held_out=2)
    train, held_out = open_sources(data)
    assert len(train) == 4 and held_out.people() is None
    (tmp_path / "identity.txt").write_text("".join(f"VID_{k} {'ann' if k in (0, 5) else f'p{k}'}\n" for k in range(6)))
    with caplog.at_level("INFO"):
        train, held_out = open_sources(data)
    assert held_out.people() == ["p4", "ann"] and train.people() == ["p1", "p2", "p3"]
    assert "1 of 6 samples show people of held-out samples" in caplog.text
    (tmp_path / "identity.txt").write_text("".join(f"VID_{k} ann\n" for k in range(6)))
    with pytest.raises(UserError, match="no training image is left; people come from identity.txt"):
        open_sources(data)


def test_an_incomplete_file_of_identities_gives_way_to_the_names(tmp_path, caplog):
    names = [f"{kind}/S{person}_1" for kind in ("anger", "joy") for person in (1, 2, 3)]
    for name in names:
        write_frames(tmp_path / name, [1])
    (tmp_path / "identity.txt").write_text("".join(f"{name} p{name[-3]}\n" for name in names[:5]))
    source = ClipFolder(tmp_path, "frames", 1, Cut(16))
    assert source.people() == ["S1", "S1", "S2", "S2", "S3", "S3"] and source.people(["joy/S1_1"]) == ["S1"]
    assert "for 1 of 6 files, such as joy/S3_1: people are taken from the names" in caplog.text
    (tmp_path / "identity.txt").write_text("".join(f"{name} p{name[-3]}\n" for name in names))
    assert source.people(["joy/S1_1"]) == ["p1"]


def test_the_mask_of_resampled_clips_needs_no_decoding(tmp_path, monkeypatch):
    write_frames(tmp_path / "walk", range(2))
    source = ClipFolder(tmp_path, "frames", 3, Cut(16), resample=True)
    monkeypatch.setattr(source, "decode", None)
    assert source.mask(np.array([0])).tolist() == [[1, 1, 1]]


def test_no_person_of_held_out_generated_clips_or_expressions_is_trained_on():
    for data, each in ((cfg.Data(frames=2, limit=10, held_out=4, size=16), 6),
                       (cfg.Data(population="expressions", limit=10, held_out=4, size=16), 7)):
        train, held_out = open_sources(data)
        assert [int(person.strip("P")) for person in train.people()] == [k // each for k in range(10)]
        assert [int(person.strip("P")) for person in held_out.people()] == 4 * [2]


def test_a_strip_is_a_row_of_square_frames(tmp_path):
    cv2.imwrite(str(tmp_path / "run.png"), np.concatenate([picture(10 * k) for k in range(5)], 1))
    source = ClipFolder(tmp_path, "strips", 3, Cut(16), resample=True)
    np.testing.assert_array_equal(levels(source.read(np.array([0]))[0]), [0, 20, 40])
    cv2.imwrite(str(tmp_path / "odd.png"), picture(0)[:, :13])
    with pytest.raises(UserError, match="odd.png: a strip of square frames must be a multiple of its height wide"):
        ClipFolder(tmp_path, "strips", 3, Cut(16)).read(np.arange(2))
    left = ClipFolder(tmp_path, "strips", 3, Cut(16), Reading(corrupt="skip"))
    assert len(left) == 1 and left.skipped[0][0] == "odd.png"


def test_mistakes_are_reported(tmp_path):
    with pytest.raises(UserError, match="no video files in it"):
        ClipFolder(tmp_path, "videos", 3, Cut(16))
    (tmp_path / "broken.mp4").write_bytes(b"this is no video")
    for resample in (False, True):
        with pytest.raises(UserError, match="broken.mp4: not a video that OpenCV can decode"):
            ClipFolder(tmp_path, "videos", 3, Cut(16), resample=resample).read(np.array([0]))
    cv2.imwrite(str(tmp_path / "face.png"), picture(0))
    with pytest.raises(UserError, match="none of its image files has a number"):
        ClipFolder(tmp_path, "frames", 3, Cut(16))


def test_a_truncated_video_is_reported(tmp_path, rng):
    write_video(tmp_path / "cut.avi", 40, 64, rng)
    whole = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(UserError, match="cut.avi: only [0-9]+ of its 40 frames can be read"):
        ClipFolder(tmp_path, "videos", 40, Cut(16), resample=True).read(np.array([0]))
    few = ClipFolder(tmp_path, "videos", 5, Cut(16))  # the file holds as many
    assert few.mask(np.array([0])).sum() == 5


def test_frames_are_spread_evenly():
    assert spread(range(5), 3).tolist() == [0, 2, 4] and spread(range(2), 4).tolist() == [0, 0, 1, 1]
    assert spread([0], 3).tolist() == [0, 0, 0]
    rounded = np.round(np.arange(30) / 30, 3)  # a constant rate in whole milliseconds
    for frames in range(1, 40):
        assert spread(rounded, frames).tolist() == spread(range(30), frames).tolist()
    # by time where the rate changes: 0, 1, 2, 3 s
    assert spread([0, 0.1, 0.2, 1.1, 1.9, 2.0, 2.1, 2.9, 3.0], 4).tolist() == [0, 3, 5, 8]
    assert spread([0, 0, 0, 0, 0], 3).tolist() == [0, 2, 4]  # no times are known


def test_generated_clips_go_from_neutral_to_an_apex_and_back():
    clips = FaceClips(12, 9, 32, seed=1)
    assert [clips.label(k) for k in (0, 7)] == [(0, EXPRESSIONS[0]), (1, EXPRESSIONS[1])]
    surprise = clips.factor_table(np.array([5]), ("mouth_open", "skin", "yaw"))[0]
    assert surprise[0, 0] == pytest.approx(surprise[-1, 0], abs=1e-9) == 0
    assert surprise[:, 0].max() > 0.6 and 2 < surprise[:, 0].argmax() < 6
    assert np.ptp(surprise[:, 1]) == 0 and 0 < np.ptp(surprise[:, 2]) < 5
    images = clips.read(np.array([5, 0]))
    assert images.shape == (2, 9, 3, 32, 32)
    np.testing.assert_array_equal(FaceClips(6, 9, 32, seed=1).read(np.array([5])), images[:1])
    assert clips.landmarks(np.array([5])).shape == (1, 9, 5, 2)
    assert clips.identity() != FaceClips(12, 9, 32, seed=2).identity()


def test_a_changing_light_moves_from_side_to_side_and_changes_nothing_else():
    still, lit = (FaceClips(60, 9, 32, seed=1, changing_light=changing) for changing in (False, True))
    everyone, others = np.arange(60), [name for name in (*APPEARANCE, *GEOMETRY) if name != "light"]
    np.testing.assert_array_equal(still.factor_table(everyone, others), lit.factor_table(everyone, others))
    assert np.ptp(still.factor_table(everyone, ["light"]), 1).max() == 0
    light = lit.factor_table(everyone, ["light"])[..., 0]
    assert -1 <= light.min() < -0.7 < 0.7 < light.max() <= 1 and np.ptp(light, 1).min() > 0.4
    ends = np.abs(light[:, -1] - light[:, 0])  # half a period to one, of which the whole alone comes back
    assert np.median(ends) > 0.3
    course = light - light.mean(1, keepdims=True)
    mouth = lit.factor_table(everyone, ["mouth_open"])[..., 0]
    assert abs(np.corrcoef(course.ravel(), np.roll(course, 1, 0).ravel())[0, 1]) < 0.3  # of two clips
    assert abs(np.corrcoef(course.ravel(), (mouth - mouth.mean(1, keepdims=True)).ravel())[0, 1]) < 0.3
    assert still.identity() != lit.identity()
    one = np.array([3])
    side = (lit.read(one) - still.read(one))[0].mean(1)  # (9, 32, 32): brighter on the side of the light
    assert np.corrcoef(side[..., 16:].mean((1, 2)) - side[..., :16].mean((1, 2)), light[3])[0, 1] > 0.99


def test_generated_clips_show_a_part_of_a_larger_face_and_their_landmarks_lie_in_it():
    clips, wide = FaceClips(1, 2, 32, seed=1), 52
    frame, marks = clips.read(np.array([0]))[0, 1], clips.landmarks(np.array([0]))[0, 1]
    whole = render(clips.factors(0)[1], wide)
    misfit = {(x, y): np.abs(whole.image[:, y:y + 32, x:x + 32] - frame).max()
              for x in range(wide - 31) for y in range(wide - 31)}
    place = min(misfit, key=misfit.get)
    assert misfit[place] == 0
    np.testing.assert_allclose(marks, whole.landmarks - np.array(place), atol=1e-5)
    assert (marks > 0).all() and (marks < 31).all()


def test_written_clips_are_read_again(tmp_path):
    clips = FaceClips(3, 4, 16, seed=1, changing_light=True)
    write_clips(tmp_path / "out", clips)
    source = ClipFolder(tmp_path / "out", "frames", 4, Cut(16))
    assert sorted(source.name(k) for k in range(3)) == sorted(clips.name(k) for k in range(3))
    order = [[source.name(k) for k in range(3)].index(clips.name(j)) for j in range(3)]
    np.testing.assert_array_equal(source.read(np.array(order)), clips.read(np.arange(3)))
    rows = list(csv.DictReader(open(tmp_path / "out" / "labels.csv", encoding="utf-8")))
    assert len(rows) == 12 and rows[0]["expression"] == "happiness" and float(rows[0]["mouth_open"]) == 0


def test_opencv_is_quiet_until_the_last_of_several_threads_is_done():
    before = cv2.getLogLevel()
    assert before > 0
    inside, left = threading.Event(), threading.Event()

    def other() -> None:
        with quiet_opencv:
            inside.set()
            left.wait(10)
    with quiet_opencv:
        thread = threading.Thread(target=other)
        thread.start()
        assert inside.wait(10) and cv2.getLogLevel() == 0
    assert cv2.getLogLevel() == 0  # of the other thread
    left.set()
    thread.join()
    assert cv2.getLogLevel() == before
