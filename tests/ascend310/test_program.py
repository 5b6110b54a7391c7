"""The C++ program on MindSpore Lite, beside Python; and what it says of inputs that are wrong."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from mindspore.train import mind_ir_pb2 as proto

from dgn import build as make
from dgn.__main__ import main
from dgn.export import infer310
from dgn.figures import bases
from dgn.figures.sheet import tile
from dgn.inference import unseen
from tests.ascend310.conftest import HERE, run
from tests.data.test_formats import write_mnist
from tests.experiments.test_clips import train as train_clips
from tests.training.tiny import arguments


def load(run_folder):
    return make.load_run(run_folder, "CPU")


def write_latents(folder, rng, groups, count):
    """Latents in files of both kinds, the first sample's apart; (count, d) of each group."""
    latents = [rng.standard_normal((count, *group.shape)).astype(np.float32) for group in groups]
    for group, z in zip(groups, latents):
        (folder / group.name).mkdir(parents=True)
        z[0].tofile(folder / group.name / "a.bin")
        np.save(folder / group.name / "b.npy", z[1:])
    return latents, ["a", *(f"b_{k}" for k in range(count - 1))]


def png(path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(int)


def test_reconstruct_and_recombine(program, trained, tmp_path, rng):
    model, decoder = load(trained), trained / "export_mindir1" / "decoder.mindir"
    (z_app, z_geo), names = write_latents(tmp_path / "z", rng, model.model.groups, 3)  # a batch and a half
    done = program("--mindir_path", decoder, "--input_path", tmp_path / "z", "--output_path", tmp_path / "out", "--warmup", 2)
    assert done.returncode == 0, done.stderr
    assert "NN inference cost average time:" in done.stdout and "ms of infer_count 2\n" in done.stdout
    assert "median" in done.stdout and "95th percentile" in done.stdout and "2 calls of warm-up" in done.stdout
    wanted = model.decode(z_app, z_geo)
    for part, values in zip(wanted._fields, wanted):
        np.testing.assert_allclose(infer310.read_written(tmp_path / "out" / part, names), values, atol=1e-5)
    assert infer310.grey_levels(tmp_path / "out" / "image", names, wanted.image) <= 1

    done = program("--mindir_path", decoder, "--job", "recombine", "--input_path", tmp_path / "z", "--second_path", tmp_path / "z",
                   "--output_path", tmp_path / "pairs", "--limit", 2)
    assert done.returncode == 0, done.stderr
    wanted = model.decode(z_app[[0, 0, 1, 1]], z_geo[[0, 1, 0, 1]]).image
    pairs = ["a__a", "a__b_0", "b_0__a", "b_0__b_0"]
    np.testing.assert_allclose(infer310.read_written(tmp_path / "pairs" / "image", pairs), wanted, atol=1e-5)
    sheet = np.rint(255 * tile([wanted[:2], wanted[2:]], scale=1)).astype(int)
    assert np.abs(png(tmp_path / "pairs" / "recombination.png") - sheet).max() <= 1


def test_traverse_ranks_and_draws_as_python_does(program, trained, tmp_path):
    model = load(trained)
    sizes = [group.shape[0] for group in model.model.groups]
    done = program("--mindir_path", trained / "export_mindir1" / "decoder.mindir", "--job", "traverse", "--gamma", 2, "--rows", 2,
                   "--output_path", tmp_path)
    assert done.returncode == 0, done.stderr
    ranked = bases.rank(model.decode, [None, None], 0, sizes, 2.0)
    assert (tmp_path / "dimensions.txt").read_text().split() == [str(k) for k in ranked.order[:2]]
    wanted = bases.appearance_rows(model.decode, ranked, sizes[1], 2.0, 2)
    np.testing.assert_allclose(np.load(tmp_path / "traversal.npy"), wanted, atol=1e-5)
    assert np.abs(png(tmp_path / "traversal.png") - np.rint(255 * tile(wanted, scale=1)).astype(int)).max() <= 1


def test_infer(program, trained, tmp_path):
    """Without noise: the program's own sampler. With it: the same for one sample or several, another for another seed."""
    model = load(trained)
    x = model.open_sources().train.read(np.arange(3))
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "x.npy", x)
    names = ["x_0", "x_1", "x_2"]

    def infer(name, *words):
        done = program("--mindir_path", trained / "export_mindir1" / "inference_lite.mindir", "--job", "infer",
                       "--input_path", tmp_path / "images", "--output_path", tmp_path / name, "--warmup", 0, *words)
        assert done.returncode == 0, done.stderr
        return [infer310.read_written(tmp_path / name / group.name, names[:1 if "--limit" in words else 3]) for group in model.model.groups]

    own = unseen.infer(model.sampler, x, 0, model.last_sigma, 1, settle=6)
    for found, wanted in zip(infer("quiet", "--steps", 0, "--settle", 6), own):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        assert np.abs(wanted).max() > 1e-5
    noisy, alone = infer("noisy", "--steps", 4), infer("alone", "--steps", 4, "--limit", 1)
    other = infer("other", "--steps", 4, "--seed", 2)
    for a, b, c in zip(noisy, alone, other):
        np.testing.assert_allclose(a[:1], b, atol=1e-6)
        assert np.abs(a - c).max() > 0.01
    # 4 steps of delta = 0.1 from 0, the gradient being small: a deviation of about 0.2
    assert 0.1 < np.concatenate(noisy, 1).std() < 0.3


def test_the_decoder_of_a_video_model(program, tmp_path, rng):
    assert train_clips(tmp_path / "run", 1) == 0
    assert main(["export", str(tmp_path / "run"), "--mindir-version", "1", "--batch", "2"]) == 0
    model = load(tmp_path / "run")
    latents, names = write_latents(tmp_path / "z", rng, model.model.groups, 3)
    done = program("--mindir_path", tmp_path / "run" / "export_mindir1" / "decoder.mindir", "--input_path", tmp_path / "z", "--output_path",
                   tmp_path / "out", "--warmup", 0)
    assert done.returncode == 0, done.stderr
    wanted = model.decode(*latents)
    for part, values in zip(wanted._fields, wanted):
        np.testing.assert_allclose(infer310.read_written(tmp_path / "out" / part, names), values, atol=1e-5)
    assert infer310.grey_levels(tmp_path / "out" / "image", names, wanted.image) <= 1  # strips of frames


def test_without_cann(program, trained, tmp_path, rng):
    decoder = trained / "export_mindir1" / "decoder.mindir"
    for device in ("Ascend310", "Ascend"):
        done = program("--mindir_path", decoder, "--input_path", tmp_path, device=device, LD_LIBRARY_PATH="")
        assert done.returncode == 1 and "libascendcl.so" in done.stderr and "CANN" in done.stderr and "--device_type CPU" in done.stderr


@pytest.fixture(scope="module")
def decoder(trained) -> bytes:
    return (trained / "export_mindir1" / "decoder.mindir").read_bytes()


def broken_models(whole: bytes) -> dict:
    """MindIR files that are none, or not whole, with what is to be said of them."""
    return {"empty": b"", "text": b"no MindIR\n" * 50, "cut": whole[:-1], "half": whole[:len(whole) // 2], "start": whole[:40],
            "zeros": bytes(2000), "doubled": whole + whole, "npy": b"\x93NUMPY\x01\x00" + bytes(300)}


def test_files_that_are_no_models_do_not_reach_lite(program, trained, decoder, tmp_path, rng):
    write_latents(tmp_path / "z", rng, load(trained).model.groups, 2)
    for name, content in broken_models(decoder).items():
        (tmp_path / f"{name}.mindir").write_bytes(content)
        done = program("--mindir_path", tmp_path / f"{name}.mindir", "--input_path", tmp_path / "z")
        assert done.returncode == 2 and (f"{name}.mindir is" in done.stderr), (name, done.returncode, done.stderr)
    done = program("--mindir_path", tmp_path / "missing.mindir", "--input_path", tmp_path / "z")
    assert done.returncode == 2 and "missing.mindir" in done.stderr


def test_damaged_models_never_crash_the_program(program, trained, decoder, tmp_path, rng):
    """Structure and numbers changed at random: a message and an exit code, or numbers."""
    write_latents(tmp_path / "z", rng, load(trained).model.groups, 2)
    weights = decoder.rfind(b"branches.1.stack.last.weight")
    for k in range(12):
        content = bytearray(decoder)
        for place in rng.integers(0, min(weights, 20000) if k % 2 else len(content), 3):
            content[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "damaged.mindir").write_bytes(bytes(content))
        done = program("--mindir_path", tmp_path / "damaged.mindir", "--input_path", tmp_path / "z", "--output_path", tmp_path / "out",
                       "--warmup", 0)
        assert done.returncode in (0, 1, 2), (k, done.returncode, done.stderr)
        assert done.returncode == 0 or done.stderr.startswith("dgn_infer: "), done.stderr


def test_wrong_inputs_are_named(program, trained, tmp_path, rng):
    """What a person gets wrong, through the whole program."""
    exported, z = trained / "export_mindir1", tmp_path / "z"
    write_latents(z, rng, load(trained).model.groups, 2)
    good = ("--mindir_path", exported / "decoder.mindir", "--input_path", z, "--output_path", tmp_path / "out")
    np.save(z / "z_geo" / "b.npy", np.zeros((1, 5), np.float32))
    done = program(*good)
    assert done.returncode == 2 and "b.npy has the shape (1, 5)" in done.stderr
    np.save(z / "z_geo" / "b.npy", np.zeros((1, 3)))
    done = program(*good)
    assert done.returncode == 2 and "type <f8" in done.stderr and "astype(numpy.float32)" in done.stderr
    np.save(z / "z_geo" / "b.npy", np.full((1, 3), np.nan, np.float32))
    done = program(*good)
    assert done.returncode == 2 and "not a finite number" in done.stderr
    (z / "z_geo" / "b.npy").rename(z / "z_geo" / "c.npy")
    done = program(*good)
    assert done.returncode == 2 and "both must hold the same samples" in done.stderr
    done = program("--mindir_path", exported / "inference_lite.mindir", "--input_path", z)
    assert done.returncode == 2 and "takes 5" in done.stderr
    done = program(*good, "--gama", 2)
    assert done.returncode == 2 and "did you mean --gamma?" in done.stderr
    assert program("--help").returncode == 0


def test_mindir_3_is_for_another_lite(program, decoder, tmp_path):
    model = proto.ModelProto.FromString(decoder)
    model.mind_ir_version = 3
    (tmp_path / "decoder.mindir").write_bytes(model.SerializeToString())
    done = program("--mindir_path", tmp_path / "decoder.mindir", "--input_path", tmp_path)
    assert done.returncode == 2 and "version 3 (MindSpore 2.10" in done.stderr and "--mindir-version 1" in done.stderr


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A run on 12 digits whose appearance is their label, exported for four samples a call; beside it the digits."""
    folder, rng = tmp_path_factory.mktemp("labelled"), np.random.default_rng(3)
    write_mnist(folder / "digits", "t10k", rng.integers(0, 256, (12, 28, 28)).astype(np.uint8), np.arange(12) % 4, True)
    settings = ["data.format=mnist", "data.grey=true", "model.appearance=label", "inference.sigma=0.1"]
    line = arguments(folder / "digits", folder / "run", 1, *(word for setting in settings for word in ("--set", setting)))
    assert main(line) == 0 and main(["export", str(folder / "run"), "--mindir-version", "1", "--batch", "4"]) == 0
    return folder


def test_given_labels_are_needed_and_stay(program, labelled, tmp_path):
    run_folder = load(labelled / "run")
    np.save(tmp_path / "x.npy", run_folder.open_sources().train.read(np.arange(3)))
    words = ("--mindir_path", labelled / "run" / "export_mindir1" / "inference_lite.mindir", "--job", "infer", "--input_path", tmp_path,
             "--output_path", tmp_path / "out", "--steps", 4)
    done = program(*words)
    assert done.returncode == 2 and "does not infer z_app" in done.stderr and "--start_path" in done.stderr
    labels = np.eye(4, dtype=np.float32)[[2, 0, 3]]
    for group, z in (("z_app", labels), ("z_geo", np.zeros((3, 3), np.float32))):
        (tmp_path / "start" / group).mkdir(parents=True)
        np.save(tmp_path / "start" / group / "x.npy", z)
    done = program(*words, "--start_path", tmp_path / "start")
    assert done.returncode == 0, done.stderr
    names = ["x_0", "x_1", "x_2"]
    np.testing.assert_array_equal(infer310.read_written(tmp_path / "out" / "z_app", names), labels)
    assert np.abs(infer310.read_written(tmp_path / "out" / "z_geo", names)).min() > 0


def test_an_export_of_another_checkpoint_is_refused(trained, tmp_path, capsys):
    shutil.copytree(trained / "export_mindir1", tmp_path / "old")
    told = json.loads((tmp_path / "old" / "export.json").read_text())
    (tmp_path / "old" / "export.json").write_text(json.dumps({**told, "checkpoint": "epoch_00000"}))
    assert main(["infer310", "prepare", str(tmp_path / "old"), str(tmp_path), str(tmp_path / "out")]) == 2
    assert "exported from epoch_00000" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_latents_that_infer_wrote(program, trained, images, tmp_path):
    """Prepared, decoded and checked."""
    exported, found, out = trained / "export_mindir1", tmp_path / "found", tmp_path / "out"
    assert main(["infer", str(trained), "--images", str(images), "--steps", "4", "--output", str(found)]) == 0
    assert main(["infer310", "prepare", str(exported), str(found), str(out)]) == 0
    with np.load(found / "latents.npz") as latents:
        np.testing.assert_array_equal(np.load(out / "latents" / "z_geo" / "samples.npy"), latents["z_geo"])
    for name, words in {"reconstruct": (), "traverse_z_app": ("--job", "traverse"), "traverse_z_geo": ("--job", "traverse", "--group", "z_geo"),
                        "recombine": ("--job", "recombine", "--second_path", out / "latents", "--limit", 2)}.items():
        done = program("--mindir_path", exported / "decoder.mindir", "--input_path", out / "latents", "--output_path", out / name, *words)
        assert done.returncode == 0, done.stderr
    assert main(["infer310", "check", str(exported), str(out)]) == 0
    told = json.loads((out / "check.json").read_text())
    assert told["samples"] == 10 and max(told["difference"].values()) < 1e-5 and "latents" not in told


def test_launcher(build, trained, labelled, images, tmp_path):
    """All stages, the labels of images given; and stages that fail."""
    script = HERE.parent / "scripts" / "run_infer_310.sh"
    done = run("bash", script, labelled / "run" / "export_mindir1", labelled / "digits", "CPU", 0, tmp_path / "out", DGN_BUILD=str(build),
               DGN_SETTLE="19")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "out" / "check.json").read_text())
    assert told["samples"] == 12 and told["grey_levels"] <= 1
    assert max(told["difference"].values()) < 1e-5 and max(told["latents"].values()) < 1e-5
    assert (tmp_path / "out" / "overview.png").is_file() and "NN inference cost average time" in done.stdout
    again = run("bash", script, labelled / "run" / "export_mindir1", labelled / "digits", "CPU", 0, tmp_path / "out", DGN_BUILD=str(build))
    assert again.returncode == 2 and "is not empty" in again.stderr
    failed = run("bash", script, trained / "export_mindir1", images, "Ascend310", 0, tmp_path / "ascend", DGN_BUILD=str(build))
    assert failed.returncode == 1 and "CANN" in failed.stderr and "-- reconstruct" not in failed.stdout
    wrong = run("bash", script, tmp_path / "nothing", images)
    assert wrong.returncode == 2 and "holds no export" in wrong.stderr


def test_bench_beside_python(build, monkeypatch, capsys):
    from dgn.bench import program as beside

    monkeypatch.setattr(beside, "BATCHES", (2,))
    monkeypatch.setattr(beside, "CALLS", 3)
    line = ["bench", "--rounds", "1", "--set", "data.size=16", "--set", "model.width=8", "--program"]
    assert main([*line, str(build / "dgn_infer")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [row[:34].strip() for row in said[1:]] == ["decoder, batch 2", "Langevin step, batch 2"] and "nan" not in "".join(said)
    assert main([*line, str(build / "nothing")]) == 2 and "build.sh" in capsys.readouterr().err
    assert main([*line, str(build / "dgn_infer"), "--set", "data.frames=3"]) == 2
