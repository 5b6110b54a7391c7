"""The data of a run folder: damaged files are found before it is made, and it opens when held-out files are gone."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

import dgn
from dgn import config as cfg
from dgn.__main__ import main
from dgn.config import Config
from dgn.files import png_name, png_names, replacing, resolve_all, write_json
from dgn.run_folder import HELD_OUT, TRAINED, RunFolder, recorded_files
from dgn.run_training import dry_run, prepare
from tests.training.saved import saved_run
from tests.training.tiny import arguments, resume, write_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A run, and its images, which are in another folder than before."""
    folder = tmp_path_factory.mktemp("moved")
    images = write_images(folder / "before", 10)
    return saved_run(folder / "run", images=images), images.rename(folder / "after")


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
    with pytest.raises(dgn.UserError, match="1 of the 8 files that the run was trained on are not in .*: 007.png;"):
        assert dgn.load(run).sources


def test_images_that_are_added_after_the_training_are_not_used(moved, tmp_path):
    run, images = (shutil.copytree(path, tmp_path / path.name) for path in moved)
    before = dgn.load(run, data=images).sources
    shutil.copy(images / "000.png", images / "0000.png")
    shutil.copy(images / "000.png", images / "zz.png")
    after = dgn.load(run, data=images).sources
    assert [part.names for part in after] == [part.names for part in before] == [
        [f"{k:03d}.png" for k in range(8)], ["008.png", "009.png"]]
    (run / HELD_OUT).unlink()  # the last images are held out, as in a new run, but for those trained on
    shutil.copy(images / "000.png", images / "006b.png")
    assert dgn.load(run, data=images).sources.held_out.names == ["009.png", "zz.png"]
    (run / TRAINED).unlink()  # as runs before 0.2.0
    with pytest.raises(dgn.UserError, match="was trained on other images"):
        assert dgn.load(run, data=images).sources


def test_people_that_become_known_do_not_lock_a_run_without_records(moved, tmp_path):
    run, images = (shutil.copytree(path, tmp_path / path.name) for path in moved)
    (images / "identity.txt").write_text("".join(f"{k:03d}.png {k if k != 3 else 9}\n" for k in range(10)))
    (run / TRAINED).unlink()
    assert len(dgn.load(run, data=images).sources.train) == 8
    folder = RunFolder.open(run)
    config = cfg.changed(folder.config, data={"path": str(images)})
    assert "8 images to train on" in dry_run(folder, config) and len(prepare(folder, config)[1].train) == 8


@pytest.mark.parametrize("check", [dry_run, prepare])
def test_a_dry_run_refuses_what_a_resumed_training_refuses(check, moved, tmp_path):
    run, images = RunFolder.open(moved[0]), shutil.copytree(moved[1], tmp_path / "images")
    config = cfg.changed(run.config, data={"path": str(images)})
    with pytest.raises(dgn.UserError, match="model.z_app is 4 in this run and cannot become 5"):
        check(run, cfg.changed(config, model={"z_app": 5}))
    (images / "003.png").write_bytes(b"damaged")
    with pytest.raises(dgn.UserError, match="1 of 10 files cannot be used: .*003.png"):
        check(run, config)


def test_evaluation_of_data_that_were_moved_names_the_option(moved, capsys):
    assert main(["evaluate", str(moved[0]), "--device", "CPU"]) == 2 and "--data" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "figures", "page"])
def test_commands_take_the_new_place_of_the_data(command, monkeypatch, capsys):
    def load(path, device, data):
        raise dgn.UserError(f"opened {path} with {data}")

    monkeypatch.setattr("dgn.run.load", load)
    assert main([command, "faces", "--data", "moved"]) == 2 and "opened faces with moved" in capsys.readouterr().err


def test_other_images_are_evaluated_without_the_training_images(moved, capsys):
    run, images = moved
    assert main(["evaluate", str(run), "--device", "CPU", "--images", str(images)]) == 0
    result = capsys.readouterr().out
    assert '"unseen": {' in result and '"train"' not in result


def test_an_empty_config_is_not_that_of_a_newer_version(moved, tmp_path, capsys):
    copy = shutil.copytree(moved[0], tmp_path / "run")
    (copy / "config.yaml").write_text("")
    assert main(["evaluate", str(copy), "--device", "CPU"]) == 2
    message = capsys.readouterr().err
    assert "is empty: it was cut short" in message and "another version" not in message


def test_results_on_a_read_only_file_system_fail_by_name(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(dgn.RunFailed, match="cannot write .*metrics.json: Read-only"):
        write_json(tmp_path / "metrics.json", {})


def test_results_that_cannot_be_written_are_printed(tmp_path, capsys):
    folder = RunFolder.create(tmp_path / "run", Config())
    folder.results_path.mkdir()
    with pytest.raises(dgn.RunFailed, match="cannot read .*metrics.json: it is no regular file"):
        folder.add_results(unseen={"msre": 12.5})
    assert capsys.readouterr().out == 'result: {"unseen": {"msre": 12.5}}\n'


def test_results_of_a_damaged_file_and_of_earlier_resumes_are_kept(tmp_path, caplog):
    folder = RunFolder.create(tmp_path / "run", Config())
    for name, damaged in (("metrics_damaged.json", "{,}"), ("metrics_damaged_2.json", "[]"),
                          ("metrics_damaged_3.json", "[" * 100_000)):
        folder.results_path.write_text(damaged)
        assert folder.read_results() == {} and "it is not read" in caplog.messages[-1]
        folder.add_results(unseen={"msre": 12.5})
        assert folder.read_results() == {"unseen": {"msre": 12.5}}
        assert (folder.path / name).read_text() == damaged and f"it is now {name}" in caplog.messages[-1]
    for name in ("metrics_epoch_00003.json", "metrics_epoch_00003_2.json"):
        folder.add_results(name=name)
        folder.rewind(3)
        assert json.loads((folder.path / name).read_text())["name"] == name


def test_damaged_records_of_a_run_are_left_out(tmp_path, caplog):
    folder = RunFolder.create(tmp_path / "run", Config())
    records = [{"epoch": 0, "kl": float("inf")}, {"epoch": 1}]
    first, second = (json.dumps(record).encode() + b"\n" for record in records)
    for damage in (b"\x89\xff", b"[]", b"3", b'{"epo', b"{}", b'{"epoch": "1"}', b'{"epoch": 1, "msre": "2"}',
                   b'{"epoch": 1, "msre": 1%s}' % (b"0" * 400), b"[" * 100_000):
        folder.metrics_log.write_bytes(first + damage + b"\n" + second)
        assert folder.read_metrics_log() == records
    folder.rewind(2)
    assert "damaged lines are left out (1)" in caplog.text and folder.read_metrics_log() == records
    assert len(folder.metrics_log.read_text().splitlines()) == 2
    folder.metrics_log.unlink()
    folder.metrics_log.mkdir()
    assert folder.read_metrics_log() == []


def test_metrics_under_former_names_are_read_under_the_present_ones(tmp_path):
    folder = RunFolder.create(tmp_path / "run", Config())
    folder.metrics_log.write_text('{"epoch": 0, "score_made": 1, "clip_score_made": 2}\n')
    assert folder.read_metrics_log() == [{"epoch": 0, "score_fake": 1, "clip_score_fake": 2}]


def test_links_of_a_foreign_run_folder_are_not_written_through(tmp_path):
    """Of the lock, the logs, and of the name of a temporary file."""
    folder, mine = RunFolder.create(tmp_path / "run", Config()), tmp_path / "mine"
    mine.write_text("mine")
    for path, write in ((folder.path / ".lock", lambda: folder.locked().__enter__()),
                        (folder.train_log, lambda: folder.say("a line")),
                        (folder.metrics_log, lambda: folder.log_metrics({"epoch": 0}))):
        path.symlink_to(mine)
        with pytest.raises(dgn.RunFailed, match=f"cannot write {path}: it is a symbolic link to another file"):
            write()
        path.unlink()
    with replacing(folder.results_path) as temporary:
        pass
    temporary.symlink_to(mine)
    write_json(folder.results_path, [1])
    assert json.loads(folder.results_path.read_text()) == [1] and mine.read_text() == "mine"


@pytest.mark.parametrize("text", ["3", "null", '{"a": 1}', "[", '"a"', "[" * 100_000], ids=len)
def test_a_damaged_list_of_files_is_named(tmp_path, text):
    for name in (HELD_OUT, TRAINED):
        (tmp_path / name).write_text(text)
        with pytest.raises(dgn.UserError, match=f"{name} is damaged"):
            recorded_files(tmp_path)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("names", [["a.png", "./a.png"], ["b/c.jpg", "b//c.jpg.png"]])
def test_two_names_of_one_path_are_refused(names):
    with pytest.raises(dgn.UserError, match=f"{names[0]} and {names[1]} would both be written to"):
        png_names(names)


def test_names_of_the_greatest_length(tmp_path):
    longest = "é" * 125 + ".json"
    write_json(tmp_path / longest, 1)
    assert [path.name for path in tmp_path.iterdir()] == [longest]
    assert png_name("folder/" + longest[4:]) == "folder/" + longest[4:] + ".png"
    with pytest.raises(dgn.UserError, match="more than 251 bytes"):
        png_name(longest)


def test_links_are_resolved_and_a_folder_only_once(tmp_path, monkeypatch):
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    names = [f"{k}.png" for k in range(20)] + ["sub/gone.png", "b.png", "sub/../b.png"]
    (tmp_path / "real" / "b.png").symlink_to("1.png")
    paths = [tmp_path / folder / name for folder in ("link", "real") for name in names]
    paths.append(Path(os.path.relpath(tmp_path / "real")) / "1.png")
    expected, calls, realpath = [str(path.resolve()) for path in paths], [], os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: (calls.append(path), realpath(path))[1])
    assert resolve_all(paths) == expected
    assert len(calls) == 7 + 4  # folders, and links b.png


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(dgn.RunFailed, match="pipe: it is no regular file"):
        write_json(tmp_path / "pipe", {})
    assert (tmp_path / "pipe").is_fifo()
