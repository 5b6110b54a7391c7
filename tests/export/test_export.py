"""Exported files give what the model gives, at any number of samples, and a wrong one is not kept."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from mindspore.train import mind_ir_pb2 as proto
from safetensors.numpy import load_file

from dgn.__main__ import main
from dgn.cli.export import FREE, samples
from dgn.errors import RunFailed, UserError
from dgn.export import cells, files
from dgn.export.cpp_files import open_exported
from dgn.export.cpp_program import exported_run
from dgn.export.export import default_folder, export_run
from dgn.files import sha256
from dgn.run import load
from tests.training.saved import CLIPS, saved_run
from tests.training.tiny import arguments

pytestmark = pytest.mark.slow

ODD = "a dir, (b) é"


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "run"
    assert main(arguments(images, output, 2)) == 0
    return output


@pytest.fixture(scope="module")
def opened(trained):
    """One for all tests: it is compiled once."""
    return load(trained)


class Export(NamedTuple):
    """A folder of exported files, and what the command printed."""

    folder: Path
    said: str


@pytest.fixture(scope="module")
def exported(trained) -> Export:
    """By the command, for any number of samples, of inference for one; two steps a call."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["export", str(trained), "--steps", "2"]) == 0
    return Export(trained / "export", said.getvalue())


def test_shapes_are_fixed_for_ascend(trained, tmp_path, capsys):
    assert samples(None, "any") is None and samples(FREE, "any") is None and samples(3, "any") == 3
    assert samples(None, "ascend") == 1 and samples(8, "ascend") == 8
    assert main(["export", str(trained), str(tmp_path / "out"), "--target", "ascend", "--batch", "free"]) == 2
    assert "--target ascend needs fixed shapes" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_weights_as_safetensors(trained, opened, tmp_path, capsys):
    assert main(["export", str(trained), str(tmp_path / "out"), "--format", "safetensors"]) == 0
    assert "weights.safetensors" in capsys.readouterr().out
    stored, model = load_file(tmp_path / "out" / "weights.safetensors"), opened.model  # not by MindSpore
    assert set(stored) == {name for name, _ in model.parameters_and_names()}
    for name, weight in model.parameters_and_names():
        np.testing.assert_array_equal(stored[name], weight.asnumpy())
    assert not (tmp_path / "out" / "decoder.mindir").exists()


def test_the_decoder_takes_any_number_of_samples(exported, opened, rng):
    assert "decoder.mindir: z_app, z_geo -> image, appearance, displacement" in exported.said
    about = json.loads((exported.folder / "export.json").read_text())
    assert about["decoder"]["inputs"] == {"z_app": [-1, 4], "z_geo": [-1, 3]} and about["decoder"]["difference"] < 1e-5
    for count in (1, 5):  # numbers that the export did not have
        z = [rng.standard_normal((count, d)).astype(np.float32) for d in (4, 3)]
        for values, expected in zip(files.run_mindir(exported.folder / "decoder.mindir", z), opened.decode(*z)):
            np.testing.assert_allclose(values, expected, atol=1e-5)


def test_repeated_calls_of_the_inference_equal_those_of_the_sampler(exported, opened):
    assert json.loads((exported.folder / "export.json").read_text())["inference"]["steps"] == 2
    x = opened.sources.train.read(np.arange(1))
    no_noise = [np.zeros((2, 1, *group.shape), np.float32) for group in opened.model.groups]
    z = [np.zeros((1, *group.shape), np.float32) for group in opened.model.groups]
    for _ in range(3):
        z = files.run_mindir(exported.folder / "inference.mindir", [x, *z, *no_noise])
    for values, own in zip(z, opened.infer(x, steps=0, descent_steps=6)):
        np.testing.assert_allclose(values, own, atol=1e-5)


@pytest.mark.parametrize("settings", [
    ["model.kind=plain", "inference.preconditioner=gauss_newton"],
    ["training.method=vae", "model.control_grid=8", "model.refine=true"],
    ["training.adversarial=nonsaturating", "training.critic_width=2", "training.r1_weight=0",
     "inference.sigma_app=[[0,2.0]]"]])
def test_every_kind_of_run_can_be_exported(settings, images, tmp_path):
    """Of the networks the generators alone, no encoder and no critic; with the preconditioner, if there is one."""
    run = load(saved_run(tmp_path / "run", *settings, images=images))
    about = export_run(run, tmp_path / "out", batch=2)
    assert about == json.loads((tmp_path / "out" / "export.json").read_text())
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"decoder.mindir", "inference.mindir", "inference_lite.mindir", "export.json"}
    assert all(about[name]["difference"] < 1e-5 for name in ("decoder", "inference", "inference_lite"))
    generators = {name for name, _ in run.model.parameters_and_names()}
    for file in ("decoder.mindir", "inference.mindir"):
        stored = proto.ModelProto.FromString((tmp_path / "out" / file).read_bytes()).graph.parameter
        names = {weight.name.rpartition(":")[2].removeprefix("sampler.energy.model.") for weight in stored}
        assert {name for name in names if "preconditioner" not in name} == generators, file
    if run.sampler.preconditioner is not None:
        assert "sampler.preconditioner.metric_z" in names
        export_run(run, tmp_path / "old", mindir_version=1)  # raises if an operator has no form in version 1


def test_the_decoder_of_a_video_model(tmp_path):
    run = load(saved_run(tmp_path / "run", *CLIPS))
    about = export_run(run, default_folder(run, 3), batch=2)
    assert about["decoder"]["outputs"]["displacement"] == [2, 3, 2, 16, 16] and "inference" not in about
    assert (tmp_path / "run" / "export" / "decoder.mindir").is_file()


def test_a_later_export_removes_what_it_does_not_write_and_a_changed_checkpoint_is_named(exported, opened, tmp_path,
                                                                                         monkeypatch):
    run, out = opened, shutil.copytree(exported.folder, tmp_path / "out")
    about = json.loads((out / "export.json").read_text())
    (out / "export.json").write_text(json.dumps({**about, "encoder": {"file": "encoder.mindir"},
                                                 "other": {"file": "decoder.onnx"}}))
    for name in ("encoder.mindir", "decoder.onnx", "mine.txt"):
        (out / name).write_text("")
    # the files are those of the first export
    monkeypatch.setattr("dgn.export.export._export_decoder", lambda *_: about["decoder"])
    monkeypatch.setattr("dgn.export.export._export_inference", lambda *given: about[given[3].stem])
    export_run(run, out)
    assert json.loads((out / "export.json").read_text())["decoder"]["sha256"] == sha256(out / "decoder.mindir")
    assert {path.name for path in out.iterdir()} == {
        "decoder.mindir", "inference.mindir", "inference_lite.mindir", "decoder.onnx", "mine.txt", "export.json"}
    assert exported_run(open_exported(out)).checkpoint == run.checkpoint
    (out / "export.json").write_text(json.dumps({**about, "manifest": "other"}))
    with pytest.raises(UserError, match=f"{run.checkpoint.name} has changed since .* was exported; export it again"):
        exported_run(open_exported(out))


def test_onnx(trained, tmp_path):
    assert main(["export", str(trained), str(tmp_path / "out"), "--format", "onnx", "--batch", "2"]) == 0
    assert (tmp_path / "out" / "decoder.onnx").is_file()


@pytest.mark.parametrize("kind, free", [("mindir", (0, 0)), ("onnx", ())])
def test_paths_that_mindspore_refuses(kind, free, opened, tmp_path, monkeypatch):
    """Spaces, accents, commas and parentheses, in the output's path and in that of temporary files."""
    run = opened
    model = cells.decoder(run.config, run.checkpoint, onnx=kind == "onnx")
    z = [np.zeros((1, d), np.float32) for d in (4, 3)]
    (tmp_path / ODD).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ODD))
    path = tmp_path / ODD / "runs" / f"decoder, 1.{kind}"
    assert files.write(model, z, path, [part for part in run.decode(*z)], free) < 1e-5
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    read = files.run_onnx if kind == "onnx" else files.run_mindir
    np.testing.assert_allclose(read(path, z)[0], run.decode(*z).image, atol=1e-5)
    monkeypatch.setattr(files, "_TEMPORARY", ())
    with pytest.raises(RunFailed, match="TMPDIR"):
        files.write(model, z, path, [])


def test_mistakes_and_files_that_differ(trained, opened, tmp_path, capsys):
    assert main(["export", str(tmp_path)]) == 2 and "holds no run" in capsys.readouterr().err
    assert main(["export", str(trained), "--format", "onnx"]) == 2 and "--batch" in capsys.readouterr().err
    line = ["export", str(trained), "--format", "onnx", "--batch", "1", "--mindir-version", "1"]
    assert main(line) == 2 and "no MindIR version" in capsys.readouterr().err
    run = opened
    model = cells.decoder(run.config, run.checkpoint)
    z = [np.zeros((1, d), np.float32) for d in (4, 3)]
    wrong = [part + 1 for part in run.decode(*z)]
    with pytest.raises(RunFailed, match="was not kept"):
        files.write(model, z, tmp_path / "decoder.mindir", wrong)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    line = ["export", str(trained), str(tmp_path / "file" / "out")]
    assert main(line) == 1 and "cannot write" in capsys.readouterr().err
