"""Exported files give what the live model gives, at any number of samples, and a wrong one is not kept."""

from __future__ import annotations

import json

import numpy as np
import pytest
from mindspore.train import mind_ir_pb2 as proto

from dgn import build
from dgn.__main__ import main
from dgn.errors import RunFailed
from dgn.export import cells, files
from dgn.inference import unseen
from tests.experiments.test_clips import train as train_clips
from tests.training.tiny import arguments


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "run"
    assert main(arguments(images, output, 2)) == 0
    return output


def load(run):
    return build.load_run(run, "CPU")


def test_decoder_and_inference(trained, rng, capsys):
    assert main(["export", str(trained)]) == 0
    assert "decoder.mindir: z_app, z_geo -> image, appearance, displacement" in capsys.readouterr().out
    told = json.loads((trained / "export" / "export.json").read_text())
    assert told["decoder"]["inputs"] == {"z_app": [-1, 4], "z_geo": [-1, 3]} and told["decoder"]["difference"] < 1e-5
    run = load(trained)
    for count in (1, 5):  # a number that was not told to the export
        z = [rng.standard_normal((count, d)).astype(np.float32) for d in (4, 3)]
        for found, wanted in zip(files.run_mindir(trained / "export" / "decoder.mindir", z), run.decode(*z)):
            np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_inference_called_again_and_again_is_the_programs_own(trained, images):
    assert main(["export", str(trained), "--batch", "2", "--steps", "2"]) == 0
    run = load(trained)
    x = run.open_sources().train.read(np.arange(2))
    silence = [np.zeros((2, 2, *group.shape), np.float32) for group in run.model.groups]
    z = [np.zeros((2, *group.shape), np.float32) for group in run.model.groups]
    for _ in range(3):
        z = files.run_mindir(trained / "export" / "inference.mindir", [x, *z, *silence])
    wanted = unseen.infer(run.sampler, x, 0, run.last_sigma, 1, settle=6)
    for found, own in zip(z, wanted):
        np.testing.assert_allclose(found, own, atol=1e-5)


@pytest.mark.parametrize("settings", [["model.kind=plain"], ["training.method=vae"], ["model.control_grid=8", "model.refine=true"],
                                      ["training.adversarial=nonsaturating", "training.critic_width=2", "training.r1_weight=0"]])
def test_every_kind_of_run_can_be_exported(settings, images, tmp_path):
    """Of the networks that it learned the generators alone: no encoder, no critic."""
    extra = [word for setting in settings for word in ("--set", setting)]
    assert main(arguments(images, tmp_path / "run", 1, *extra)) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out"), "--batch", "1"]) == 0
    assert {"decoder.mindir", "inference.mindir", "inference_lite.mindir", "export.json"} == {p.name for p in (tmp_path / "out").iterdir()}
    generators = {name for name, _ in load(tmp_path / "run").model.parameters_and_names()}
    for file in ("decoder.mindir", "inference.mindir"):
        written = proto.ModelProto.FromString((tmp_path / "out" / file).read_bytes()).graph.parameter
        assert {weight.name.rpartition(":")[2].removeprefix("sampler.energy.model.") for weight in written} == generators, file


def test_the_decoder_of_a_video_model(tmp_path, rng):
    assert train_clips(tmp_path / "run", 1) == 0
    assert main(["export", str(tmp_path / "run"), "--batch", "2"]) == 0
    told = json.loads((tmp_path / "run" / "export" / "export.json").read_text())
    assert told["decoder"]["outputs"]["displacement"] == [2, 5, 2, 16, 16] and "inference" not in told


def test_onnx(trained, tmp_path):
    assert main(["export", str(trained), str(tmp_path / "out"), "--format", "onnx", "--batch", "2"]) == 0
    assert (tmp_path / "out" / "decoder.onnx").is_file()


def test_mistakes_and_files_that_differ(trained, tmp_path, capsys):
    assert main(["export", str(tmp_path)]) == 2 and "holds no run" in capsys.readouterr().err
    assert main(["export", str(trained), "--format", "onnx"]) == 2 and "--batch" in capsys.readouterr().err
    run = load(trained)
    model = cells.decoder(run.config, run.checkpoint, "CPU")
    z = [np.zeros((1, d), np.float32) for d in (4, 3)]
    wrong = [part + 1 for part in run.decode(*z)]
    with pytest.raises(RunFailed, match="was not kept"):
        files.write(model, z, tmp_path / "decoder.mindir", wrong)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    assert main(["export", str(trained), str(tmp_path / "file" / "out")]) == 1 and "cannot write" in capsys.readouterr().err
