"""Every mistake that a user can make ends with a clear message and exit code 2 (1 for a run that failed), no
traceback."""

from __future__ import annotations

import os
import shutil
import stat

import pytest

from dgn import recipe
from dgn.__main__ import main
from dgn.errors import UserError
from dgn.run_folder import RunFolder
from dgn.training import checkpoint
from tests.training.saved import saved_run
from tests.training.tiny import SETTINGS, arguments, write_images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    return saved_run(tmp_path_factory.mktemp("runs") / "run", images=images)


def check(line, code, capsys, *parts) -> None:
    assert main([str(word) for word in line]) == code
    said = capsys.readouterr().err
    assert said.startswith("dgn: ") and "Traceback" not in said
    for part in parts:
        assert str(part) in said


def train(tmp_path, *extra):
    line = ["train", "--device", "CPU", "--output", tmp_path / "run"]
    for setting in [*SETTINGS, "training.epochs=1"]:
        line += ["--set", setting]
    return [*line, *extra]


def test_wrong_key_type_and_value(tmp_path, images, capsys):
    for setting, part in (
        ("training.epoch=2", "did you mean 'epochs'"),
        ("training.epochs=soon", "an integer"),
        ("model.alpha=9", "at most 4"),
        ("data.size=50", "16, 32, 64"),
    ):
        check(train(tmp_path, "--data", images, "--set", setting), 2, capsys, part)


def test_what_a_training_lacks_is_named_before_a_folder_is_made(tmp_path, images, capsys):
    """By the dry run, too."""
    for dry in ([], ["--dry-run"]):
        for setting, *parts in (("training.init_from=nowhere", "training.init_from is", "nowhere", "=null"),
                                ("model.appearance=label", "these images have no labels"),
                                ("data.crop=[0, 0, 99, 99]", "none of the 10 files can be used", "data.crop=null")):
            check(train(tmp_path, "--data", images, "--set", setting, *dry), 2, capsys, *parts)
        check(train(tmp_path, "--set", "data.crop=[0, 0, 8, 8]", *dry), 2, capsys, "data.crop is", "--data")
        assert not (tmp_path / "run").exists()
    (tmp_path / "run").write_text("a file")
    check(train(tmp_path, "--data", images, "--dry-run"), 2, capsys, "run is a file; choose another output folder")


def test_empty_data_is_not_taken_for_generated_faces(tmp_path, images, capsys):
    check(train(tmp_path, "--data", ""), 2, capsys, "argument data is empty")
    check(train(tmp_path, "--set", "data.path="), 2, capsys, "data.path is ''")


@pytest.mark.parametrize("line, name", [
    ("train --output=", "output"), ("train --config=", "config"), ("train --resume --output=", "output"),
    ("evaluate RUN --images=", "images"), ("evaluate RUN --data=", "data"), ("figures RUN --output=", "output"),
    ("infer RUN --images=", "images"), ("infer RUN --images x --output=", "output"), ("page RUN --data=", "data"),
    ("experiment labels RUN --data=", "data"), ("experiment views RUN --data=", "data"),
    ("experiment baselines --config=", "config"), ("data crop a b --detector=", "detector")])
def test_an_empty_argument_is_named(line, name, capsys):
    """The value of an unset variable of a shell is never taken for a default or the working directory."""
    check(line.split(), 2, capsys, f"the argument {name} is empty")


def test_empty_folders_are_named(capsys):
    for line in (["evaluate", ""], ["export", ""], ["results", "a", ""], ["page", "a", ""], ["data", "faces", ""]):
        check(line, 2, capsys, "is empty")


@pytest.mark.parametrize("name", ["labels", "recombination", "shape", "sampling", "recognition"])
def test_experiments_that_read_the_images_of_a_run_relocate_them(name, monkeypatch, capsys):
    def load(path, device, data):
        raise UserError(f"opened {path} with {data}")

    monkeypatch.setattr("dgn.run.load", load)
    check(["experiment", name, "faces", "--data", "moved"], 2, capsys, "opened faces with moved")


def test_the_renamed_keys_of_a_resumed_run_are_named_once(tmp_path, images, caplog):
    config = recipe.load(None, ["training.epochs=1", "data.held_out=2", f"data.path={images}", "data.size=16",
                                "training.batch_size=4"])
    folder = RunFolder.create(tmp_path / "run", config)
    path = folder.path / "config.yaml"
    path.write_text(path.read_text().replace("init_from", "start").replace("micro_batches", "parts"))
    caplog.clear()
    assert main(["train", "--resume", "--dry-run", "--output", str(folder.path)]) == 0
    warnings = [record.getMessage() for record in caplog.records if "is now called" in record.getMessage()]
    assert len(warnings) == len(set(warnings)) == 2


def test_a_limit_of_the_address_space_is_named(monkeypatch, capsys):
    monkeypatch.setattr("resource.getrlimit", lambda kind: (600_000 * 1024, -1))
    check(["evaluate", "faces"], 2, capsys, "ulimit -v limits this process to 0.6 GB", "1.3 GB")


def test_missing_config_data_and_device(tmp_path, images, capsys):
    check(train(tmp_path, "--config", tmp_path / "no.yaml"), 2, capsys, "no config file", "no.yaml")
    check(train(tmp_path, "--data", tmp_path / "nowhere"), 2, capsys, "nowhere", "no such folder")
    check(["train", "--device", "TPU", "--output", tmp_path / "run"], 2, capsys, "unknown device 'TPU'", "Ascend")
    check(["train", "--device", "Ascend", "--output", tmp_path / "run"], 2, capsys, "Ascend is not available")
    check(train(tmp_path, "--data", images, "--set", "data.held_out=10"), 2, capsys, "10 images", "none are left")


def test_unusable_images(tmp_path, images, capsys):
    folder = write_images(tmp_path / "images", 6)
    (folder / "000.jpg").write_text("dear reader")
    check(train(tmp_path, "--data", folder), 2, capsys, "000.jpg", "not an image")
    (folder / "000.jpg").unlink()
    png = (folder / "001.png").read_bytes()
    (folder / "001.png").write_bytes(png[:-30])
    check(train(tmp_path / "b", "--data", folder), 2, capsys, "001.png", "cut short")
    check(train(tmp_path / "c", "--data", images, "--set", "data.crop=[0,0,99,99]"), 2, capsys, "crop", "16 x 16")
    line = train(tmp_path / "d", "--data", folder, "--set", "data.corrupt=skip", "--dry-run")
    assert main([str(word) for word in line]) == 0 and "images       3 of 3x16x16" in capsys.readouterr().out


def test_output_folders_that_are_taken_or_closed(tmp_path, images, trained, capsys, monkeypatch):
    check(arguments(images, trained, 1), 2, capsys, "already holds a run", "--resume")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    check(arguments(images, tmp_path / "mine", 1), 2, capsys, "not empty")
    (tmp_path / "file").write_text("")
    check(arguments(images, tmp_path / "file" / "run", 1), 2, capsys, "cannot create the output folder")
    if os.geteuid() == 0:  # root may write anywhere: a kernel folder refuses root too
        closed = "/proc/dgn-run"
    else:
        closed = tmp_path / "closed"
        closed.mkdir()
        closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    check(arguments(images, closed, 1), 2, capsys, "cannot create the output folder", closed)
    check(arguments("x" * 300, tmp_path / "run", 1), 2, capsys, "xxx: File name too long")


def test_nothing_to_resume_or_evaluate(tmp_path, capsys):
    for line in (
        ["train", "--resume", "--output", tmp_path / "none"],
        ["evaluate", tmp_path / "none"],
        ["figures", tmp_path / "none"],
        ["infer", tmp_path / "none", "--images", tmp_path],
    ):
        check(line, 2, capsys, "holds no run")


def test_a_checkpoint_of_another_config_and_other_images(tmp_path, trained, capsys):
    check(
        ["train", "--resume", "--output", trained, "--set", "model.z_app=9"],
        2,
        capsys,
        "model.z_app is 4 in this run",
        "cannot become 9",
    )
    check(
        ["train", "--resume", "--output", trained, "--set", "training.batch_size=3"], 2, capsys, "training.batch_size"
    )
    more, other = write_images(tmp_path / "more", 13), write_images(tmp_path / "other", 10)
    (other / "003.png").rename(other / "renamed.png")
    line = ["train", "--resume", "--output", trained, "--data", other]
    check(line, 2, capsys, "1 of the 8 files that the run was trained on are not in", "003.png")
    earlier = shutil.copytree(trained, tmp_path / "earlier")  # as runs before 0.2.0
    (earlier / "trained.json").unlink()
    line = ["train", "--resume", "--output", earlier, "--data"]
    check([*line, more], 2, capsys, "chains of 8 images", "11")
    check([*line, other], 2, capsys, "different ones, or in another")
    check(["train", "--resume", "--output", trained, "--config", "x.yaml"], 2, capsys, "--config")


def test_a_run_whose_checkpoints_are_all_damaged(tmp_path, trained, capsys):
    output = shutil.copytree(trained, tmp_path / "run")
    for folder in checkpoint.all_checkpoints(output / "checkpoints"):
        (folder / "weights.ckpt").write_bytes(b"")
    check(["evaluate", output], 2, capsys, "no usable checkpoint")


def test_a_run_that_diverges_fails_with_advice(tmp_path, images, capsys):
    line = arguments(images, tmp_path / "run", 3, "--set", "inference.step_size=9", "--set", "inference.sigma=0.001")
    check(line, 1, capsys, "Langevin step", "step_size", ".png")
    assert "Langevin step" in (tmp_path / "run" / "train.log").read_text()


def test_inference_and_data_jobs(tmp_path, images, trained, capsys):
    check(["infer", trained, "--images", tmp_path / "none"], 2, capsys, "no such folder")
    check(["infer", trained, "--images", images, "--output", trained], 2, capsys, "not empty")
    check(["infer", trained, "--images", images, "--output", tmp_path / "out", "--steps", 0], 2, capsys, "at least 1")
    for output in (images, images / "inferred"):
        check(["infer", trained, "--images", images, "--output", output], 2, capsys, "lies in the folder of images")
    check(["data", "crop", images, images / "faces"], 2, capsys, "lies in the folder of images")
    check(["data", "pack", images, images / "set.mindrecord"], 2, capsys, "lies in the folder of images")
    check(arguments(images, images / "run", 1), 2, capsys, "lies in the folder of images")
    assert not (images / "run").exists()
    check(["data", "faces", images], 2, capsys, "not empty")
    check(["data", "crop", tmp_path / "none", tmp_path / "c"], 2, capsys, "no such folder")
    check(["data", "pack", images, tmp_path / "x.bin"], 2, capsys, ".mindrecord")
    check(["data", "crop", images, tmp_path / "d", "--margin", "-0.5"], 2, capsys, "margin is -0.5")
    with pytest.raises(SystemExit) as stopped:  # before the run is opened
        main(["experiment", "views", "nowhere", "--crop", "9,0,3,5"])
    assert stopped.value.code == 2 and "0 <= left < right" in capsys.readouterr().err
    for gamma in ("0", "-3", "nan", "much"):
        with pytest.raises(SystemExit) as stopped:
            main(["figures", str(trained), "--gamma", gamma])
        assert stopped.value.code == 2 and f"'{gamma}' is not above 0" in capsys.readouterr().err


def test_weights_that_explode_end_the_run_with_advice(tmp_path, images, capsys):
    check(arguments(images, tmp_path / "run", 3, "--set", "training.learning_rate=1.0e+20"), 1, capsys, "not finite")


def test_records_of_another_size_or_colour(tmp_path, images, capsys):
    packed = tmp_path / "set.mindrecord"
    assert main(["data", "pack", str(images), str(packed), "--set", "data.size=32"]) == 0
    check(train(tmp_path, "--data", packed), 2, capsys, "(3, 32, 32)", "(3, 16, 16)")
    check(
        train(tmp_path, "--data", packed, "--set", "data.size=32", "--set", "data.grey=true"), 2, capsys, "(1, 32, 32)"
    )


@pytest.mark.parametrize(
    "line",
    [
        [],
        ["trian"],
        ["train", "--epochs", "3"],
        ["evaluate"],
        ["evaluate", "run", "--steps", "0"],
        ["bench"],
        ["bench", "parts", "--batch", "-1"],
        ["infer", "run", "--images", "x", "--seed", "-1"],
        ["data", "faces", "out", "--count", "few"],
    ],
)
def test_wrong_arguments_exit_with_2(line, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(line)
    assert stopped.value.code == 2
    assert "usage: dgn" in capsys.readouterr().err
