"""Which samples a config opens, how they are recognized again, and what is checked before a training starts."""

from __future__ import annotations

import os
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dgn import config as cfg
from dgn import recipe
from dgn.config import Data
from dgn.data.clips import ClipFolder
from dgn.data.cut import Cut
from dgn.data.folder import Reading
from dgn.data.images import ImageFolder
from dgn.data.open import check_output, check_sources, described, open_sources
from dgn.data.source import same_samples
from dgn.errors import Unreadable, UserError
from dgn.files import check_outside
from dgn.training.batches import prefetch
from tests.training.tiny import write_images


def data_of(folder, **values) -> Data:
    return Data(path=str(folder), **{"size": 16, "held_out": 3, **values})


def names(source) -> list:
    return source.names


def test_the_identity_is_that_of_the_training_images_alone(tmp_path):
    data = data_of(write_images(tmp_path, 10))
    train = open_sources(data).train
    former = train.former_identity()
    assert same_samples(train, train.identity()) and same_samples(train, former) and former != train.identity()
    held_out = names(open_sources(data).held_out)
    assert held_out == ["007.png", "008.png", "009.png"]
    (tmp_path / "008.png").unlink()
    again = open_sources(data, held_out)
    assert names(again.train) == names(train) and same_samples(again.train, train.identity())
    assert names(again.held_out) == ["007.png", "009.png"]
    assert not same_samples(open_sources(data).train, train.identity())  # another image is held out
    for name in ("007.png", "009.png"):
        (tmp_path / name).unlink()
    assert open_sources(data, held_out).held_out is None
    (tmp_path / "003.png").rename(tmp_path / "0030.png")
    assert not same_samples(open_sources(data, held_out).train, train.identity())


def test_folders_that_are_held_out_whole_are_named(tmp_path, caplog):
    for kind in "abc":
        write_images(tmp_path / kind, 3)
    caplog.set_level("INFO")
    open_sources(data_of(tmp_path, held_out=2))
    assert "held out" not in caplog.text
    open_sources(data_of(tmp_path, held_out=4))
    assert "all samples in c are held out, none is trained on" in caplog.text


def test_training_images_alone_are_mirrored(tmp_path):
    plain, mirrored = (open_sources(data_of(write_images(tmp_path, 10), mirror=mirror)) for mirror in (False, True))
    assert names(mirrored.held_out) == names(plain.held_out) and len(mirrored.train) == 14
    images = plain.train.read(plain.train.indices())
    twice = np.concatenate([images, images[..., ::-1]])
    np.testing.assert_array_equal(mirrored.train.read(mirrored.train.indices()), twice)
    assert "14 images (half of them mirrored) to train on, 3 held out" in described(
        data_of(tmp_path, mirror=True), mirrored)


def test_people_of_removed_held_out_images_stay_unseen(tmp_path):
    """Person 1 is held out by 007.png alone, and shown by 000.png and 004.png, too."""
    data = data_of(write_images(tmp_path / "images", 10))
    people = [1, 2, 3, 4, 1, 5, 6, 1, 8, 9]
    (tmp_path / "identity.txt").write_text("".join(f"{k:03d}.png {person}\n" for k, person in enumerate(people)))
    sources = open_sources(data)
    assert names(sources.train) == ["001.png", "002.png", "003.png", "005.png", "006.png"]
    held_out = sources.held_out.files(np.arange(3))
    (tmp_path / "images" / "007.png").unlink()
    assert same_samples(open_sources(data, held_out).train, sources.train.identity())


def test_a_run_from_before_its_people_were_known_keeps_its_images(tmp_path, caplog):
    """Person 1 is in 003.png and, held out, in 009.png."""
    data = data_of(write_images(tmp_path / "images", 10))
    before = {limit: open_sources(replace(data, limit=limit)) for limit in (None, 5)}
    (tmp_path / "identity.txt").write_text("".join(f"{k:03d}.png {k if k % 6 != 3 else 1}\n" for k in range(10)))
    for limit, sources in before.items():
        of_run = replace(data, limit=limit)
        for held_out in (None, names(sources.held_out)):
            caplog.clear()
            again = open_sources(of_run, held_out, None, sources.train.identity)
            assert [names(part) for part in again] == [names(part) for part in sources]
            assert "show people of held-out samples, whom it did not know as such: it keeps" in caplog.text
        for recorded in (None, "of other images"):
            assert "003.png" not in names(open_sources(of_run, identity=lambda found=recorded: found).train)
    (tmp_path / "identity.txt").write_text("".join(f"{k:03d}.png 1\n" for k in range(10)))
    assert len(open_sources(data, identity=before[None].train.identity).train) == 7
    with pytest.raises(UserError, match="every other image shows a person of the held-out images"):
        open_sources(data)


def test_keys_for_files_are_refused_without_files(tmp_path):
    """A recipe for real images whose --data was forgotten must not train on generated faces."""
    for wrong in ({"crop": (0, 0, 8, 8)}, {"category": "dog"}, {"split": "test"}, {"mirror": True}, {"pattern": "*"},
                  {"format": "mnist"}, {"format": "strips", "frames": 4}):
        with pytest.raises(UserError, match=f"data.{next(iter(wrong))} is .*, which is for files"):
            open_sources(Data(size=16, **wrong))
    with pytest.raises(UserError, match="data.crop is .*, but images of mnist are not cropped"):
        open_sources(Data(size=32, format="mnist", path=str(tmp_path), crop=(0, 0, 8, 8)))


def test_generated_images_keep_the_identity_of_version_01():
    train = open_sources(Data(size=16, limit=5, held_out=2)).train
    assert train.identity() == "0+5 of random faces of seed 1 from 0, view None" == train.former_identity()
    assert train.files(np.arange(5)) is None


@pytest.mark.parametrize("cache_mb", [0, 256], ids=["headers", "decoded"])
def test_files_that_cannot_be_used_are_named_before_a_training(tmp_path, cache_mb):
    data = data_of(write_images(tmp_path, 12), cache_mb=cache_mb)
    check_sources(open_sources(data), data)
    damaged = {"001.png": 0.5, "004.png": 0, "010.png": 0.9}  # 010.png is held out
    for name, part in damaged.items():
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:int(part * len(whole))])
    (tmp_path / "011.png").write_bytes((tmp_path / "011.png").read_bytes()[:60] + bytes(20)
                                       + (tmp_path / "011.png").read_bytes()[80:])  # whole, but of a wrong checksum
    with pytest.raises(UserError) as raised:
        check_sources(open_sources(data), data)
    text = str(raised.value)
    assert text.startswith("4 of 12 files cannot be used: ") and all(str(tmp_path / name) in text for name in damaged)
    assert f"{tmp_path / '001.png'}: the file is cut short" in text and "the file is empty" in text
    skipping = replace(data, corrupt="skip")
    check_sources(open_sources(skipping), skipping)
    assert names(open_sources(skipping).train) == ["000.png", "002.png", "003.png", "005.png", "006.png"]


def test_images_that_are_enlarged_are_counted_and_a_crop_outside_is_found(tmp_path, caplog):
    write_images(tmp_path, 5)
    cv2.imwrite(str(tmp_path / "wide.jpg"), np.zeros((9, 400, 3), np.uint8))
    for cache_mb in (0, 256):
        data = data_of(tmp_path, held_out=0, cache_mb=cache_mb)
        check_sources(open_sources(data), data)
        assert "1 of 6 images are smaller than 16 x 16 pixels and are enlarged" in caplog.text
        caplog.clear()
        data = replace(data, held_out=2, mirror=True)
        check_sources(open_sources(data), data)
        assert "1 of 6 images are smaller" in caplog.text  # files are counted, not their mirror images
        caplog.clear()
        with pytest.raises(UserError, match="1 of 6 files cannot be used: .*wide.jpg: crop .* reaches outside"):
            data = data_of(tmp_path, held_out=0, crop=(0, 0, 16, 16), cache_mb=cache_mb)
            check_sources(open_sources(data), data)


def test_a_crop_for_images_of_another_size_is_noticed(tmp_path, caplog):
    """The recipes of CelebA are for files of half size, 89 x 109."""
    for size, warned in (((109, 89), False), ((218, 178), True)):
        cv2.imwrite(str(tmp_path / "0.png"), np.zeros((*size, 3), np.uint8))
        data = data_of(tmp_path, held_out=0, crop=(17, 36, 72, 91))
        check_sources(open_sources(data), data)
        assert ("data.crop takes 8 % of an image of 178 x 218 pixels (width x height)" in caplog.text) == warned


@pytest.mark.parametrize("layout", cfg.CLIP_FORMATS)
def test_clips_are_checked(tmp_path, layout):
    for name in ("a", "b"):
        frames = [np.full((16, 16, 3), 20 * k, np.uint8) for k in range(4)]
        if layout == "videos":
            writer = cv2.VideoWriter(str(tmp_path / f"{name}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (16, 16))
            for frame in frames:
                writer.write(frame)
            writer.release()
        elif layout == "strips":
            cv2.imwrite(str(tmp_path / f"{name}.png"), np.concatenate(frames, 1))
        else:
            (tmp_path / name).mkdir()
            for k, frame in enumerate(frames):
                cv2.imwrite(str(tmp_path / name / f"{k}.png"), frame)
    damaged = {"videos": "b.avi", "strips": "b.png", "frames": "b/2.png"}[layout]
    for cache_mb in (0, 256):
        source = ClipFolder(tmp_path, layout, 4, Cut(16), Reading(cache_mb=cache_mb))
        assert source.check(np.arange(2), False).unusable == []
        whole = (tmp_path / damaged).read_bytes()
        (tmp_path / damaged).write_bytes(whole[:len(whole) // 3])
        source = ClipFolder(tmp_path, layout, 4, Cut(16), Reading(cache_mb=cache_mb))
        (path, reason), = source.check(np.arange(2), False).unusable
        assert path.startswith(str(tmp_path / "b")) and (layout != "frames" or reason.startswith("its frame b/2.png: "))
        (tmp_path / damaged).write_bytes(whole)


def test_a_file_that_disappears_is_named_by_an_error_of_its_own(tmp_path):
    source = open_sources(data_of(write_images(tmp_path, 6), cache_mb=0)).train
    batches = prefetch(lambda _, indices: source.read(indices), [np.array([0]), np.array([2])])
    (tmp_path / "002.png").unlink()
    assert len(next(batches)) == 1
    with pytest.raises(Unreadable, match=r"002.png: cannot be read \(No such file or directory\)"):
        next(batches)


def test_a_file_of_a_run_that_cannot_be_read_is_not_called_missing(tmp_path):
    """data.corrupt skip leaves it out; a resumed run needs it. Without a list of held-out files, all are decoded."""
    folder = write_images(tmp_path, 6)
    (folder / "002.png").write_bytes(b"no image")
    trained = ["001.png", "002.png", "004.png"]
    with pytest.raises(UserError, match=r"1 of the 3 files in .* that the run was trained on cannot be read: 002.png "
                                        r"\(not an image.*\); restore them, or put readable files under these names"):
        open_sources(data_of(folder, corrupt="skip", held_out=1), None, trained)
    recorded = data_of(folder, corrupt="skip")
    with pytest.raises(UserError, match=r"002.png: not an image(.|\n)*Restore them: the run was trained on them"):
        check_sources(open_sources(recorded, [], trained), recorded)
    with pytest.raises(UserError, match=r"1 of the 4 files that the run was trained on are not in .*: 9.png; restore"):
        open_sources(data_of(folder), [], [*trained, "9.png"])


def test_an_output_in_the_folder_of_images_is_refused(tmp_path):
    images = write_images(tmp_path / "images", 3)
    (tmp_path / "link").symlink_to(images)
    for output in (images, images / "run", images / "sub" / "run", tmp_path / "link" / "run"):
        with pytest.raises(UserError, match="lies in the folder of images"):
            check_outside(output, images)
    check_outside(tmp_path / "images2", images)
    check_outside(tmp_path / "run", None)
    with pytest.raises(UserError, match="lies in the folder of images"):
        check_output(images / "run", data_of(tmp_path / "link"))
    check_output(images / "run", data_of(images, format="mnist"))  # pictures are no files of the set


def test_data_that_were_moved(tmp_path):
    config = recipe.load(None, [f"data.path={tmp_path / 'old'}"])
    with pytest.raises(UserError, match="data.path is .*old: no such folder or file; if it was moved, .* --data"):
        open_sources(config.data)
    moved = recipe.relocated(config, os.path.relpath(tmp_path / "new"))
    assert moved.data.path == str(tmp_path / "new") and replace(moved.data, path=config.data.path) == config.data
    assert recipe.relocated(config, None) is config
    with pytest.raises(UserError, match=r"data \(--data\) is empty"):
        recipe.relocated(config, "")
    with pytest.raises(UserError, match="this run is on generated images"):
        recipe.relocated(recipe.load(), str(tmp_path))


def test_a_folder_whose_name_is_not_utf8_is_refused(tmp_path):
    folder = write_images(tmp_path / "cafe", 3).rename(tmp_path / os.fsdecode(b"caf\xe9"))
    with pytest.raises(UserError, match=r"caf\\xe9': the name is not UTF-8"):
        open_sources(data_of(folder))


@pytest.mark.parametrize("setting", [
    {"format": "mnist"}, {"format": "cifar10"}, {"pattern": "*.jpg"}, {"mirror": True}])
def test_a_recipe_for_files_does_not_train_on_generated_faces(setting):
    with pytest.raises(UserError, match="is for files, and data.path is not set"):
        open_sources(Data(**setting))


def test_of_the_recorded_files_only_held_out_ones_are_decoded_at_opening(tmp_path, monkeypatch):
    data = data_of(write_images(tmp_path, 12), corrupt="skip", limit=4)
    (tmp_path / "001.png").write_bytes(b"damaged")
    (tmp_path / "010.png").write_bytes(b"damaged")
    new = open_sources(data)
    recorded = names(new.held_out), names(new.train)
    assert recorded == (["008.png", "009.png", "011.png"], ["000.png", "002.png", "003.png", "004.png"])
    seen, inspect = [], ImageFolder.inspect
    monkeypatch.setattr(ImageFolder, "inspect", lambda self, name, decoded: (
        seen.append((name, decoded)), inspect(self, name, decoded))[1])
    (tmp_path / "009.png").write_bytes(b"damaged since")
    again = open_sources(replace(data, cache_mb=0), *recorded)
    assert sorted(seen) == [("008.png", True), ("009.png", True), ("011.png", True)]
    assert names(again.held_out) == ["008.png", "011.png"]
    np.testing.assert_array_equal(again.train.read(np.arange(4)), new.train.read(np.arange(4)))
    assert same_samples(again.train, new.train.identity())
    seen.clear()
    check_sources(again, data)
    assert sorted(seen) == [(name, False) for name in recorded[1]]
    (tmp_path / "003.png").write_bytes(b"damaged since")
    with pytest.raises(UserError, match="1 of 6 files cannot be used: .*003.png: not an image .* was trained on them"):
        check_sources(open_sources(data, *recorded), data)
    (tmp_path / "003.png").unlink()
    with pytest.raises(UserError, match="1 of the 4 files that the run was trained on are not in .*: 003.png"):
        open_sources(data, *recorded)


def test_a_limit_that_leaves_images_out_is_logged(tmp_path, caplog):
    caplog.set_level("INFO")
    write_images(tmp_path, 10)
    for limit, logged in ((6, True), (7, False), (None, False)):
        data = data_of(tmp_path, limit=limit, mirror=True)
        check_sources(open_sources(data), data)
        assert ("data.limit: the first 6 of 10 samples are used; null takes all" in caplog.text) == logged
        assert ("data.limit" in caplog.text) == logged
        caplog.clear()


def test_the_part_of_the_images_that_the_cache_holds_is_described(tmp_path):
    write_images(tmp_path, 10)
    for cache_mb, ending in ((0, "; 0 % of the images fit into data.cache_mb; all need 7"), (4, "; 60 % of the images"),
                           (7, "")):
        data = data_of(tmp_path, size=484, cache_mb=cache_mb, mirror=True)  # 0.67 MB each
        assert f"484 x 484 pixels, colour{ending}" in described(data, open_sources(data))
        assert ending or "cache_mb" not in described(data, open_sources(data))
