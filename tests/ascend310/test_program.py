"""The C++ program on MindSpore Lite compared with Python, and its messages for invalid input."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from mindspore.train import mind_ir_pb2 as proto

from dgn.__main__ import main
from dgn.export import cpp_files
from dgn.export.cpp_program import _encoder_errors
from dgn.figures import bases
from dgn.figures.sheet import tile
from dgn.run import load
from tests.ascend310.conftest import HERE, ODD, run
from tests.compiled import batches_of
from tests.data.test_formats import write_mnist
from tests.training.saved import CLIPS, saved_run

pytestmark = pytest.mark.slow

MEMORY = "ulimit -v 1500000"  # KiB, of which MindSpore Lite takes about a quarter


@pytest.fixture(scope="module", autouse=True)
def batches():
    """As large as those of the exported files."""
    with batches_of(2):
        yield


@pytest.fixture(scope="module")
def opened(trained):
    """One for all tests: it is compiled once."""
    return load(trained)


def write_latents(folder, rng, groups, count):
    """Writes latents (count, d) of each group, the first sample as .bin and the others as .npy. Returns the latents and
    the names of the samples."""
    latents = [rng.standard_normal((count, *group.shape)).astype(np.float32) for group in groups]
    for group, z in zip(groups, latents):
        (folder / group.name).mkdir(parents=True)
        z[0].tofile(folder / group.name / "a.bin")
        np.save(folder / group.name / "b.npy", z[1:])
    return latents, ["a", *(f"b_{k}" for k in range(count - 1))]


def png(path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1].astype(int)


def test_reconstruct_and_recombine(program, trained, tmp_path, rng, opened):
    model, decoder = opened, trained / "export_mindir1" / "decoder.mindir"
    (z_app, z_geo), names = write_latents(tmp_path / "z", rng, model.model.groups, 3)  # one and a half batches
    done = program("--mindir_path", decoder, "--input_path", tmp_path / "z", "--output_path", tmp_path / "out",
                   "--warmup", 2)
    assert done.returncode == 0, done.stderr
    assert "NN inference cost average time:" in done.stdout and "ms of infer_count 2\n" in done.stdout
    assert "median" in done.stdout and "95th percentile" in done.stdout and "2 warm-up calls" in done.stdout
    wanted = model.decode(z_app, z_geo)
    for part, values in zip(wanted._fields, wanted):
        np.testing.assert_allclose(cpp_files.read_written(tmp_path / "out" / part, names), values, atol=1e-5)
    assert cpp_files.grey_levels(tmp_path / "out" / "image", names, wanted.image) <= 1

    done = program("--mindir_path", decoder, "--job", "recombine", "--input_path", tmp_path / "z",
                   "--second_path", tmp_path / "z", "--output_path", tmp_path / "pairs", "--limit", 2)
    assert done.returncode == 0, done.stderr
    wanted = model.decode(z_app[[0, 0, 1, 1]], z_geo[[0, 1, 0, 1]]).image
    pairs = ["a__a", "a__b_0", "b_0__a", "b_0__b_0"]
    np.testing.assert_allclose(cpp_files.read_written(tmp_path / "pairs" / "image", pairs), wanted, atol=1e-5)
    sheet = np.rint(255 * tile([wanted[:2], wanted[2:]], scale=1)).astype(int)
    assert np.abs(png(tmp_path / "pairs" / "recombination.png") - sheet).max() <= 1

    for group, pair, z in (("z_app", ("a", "a__b"), z_app), ("z_geo", ("c", "b__c"), z_geo)):
        (tmp_path / "same" / group).mkdir(parents=True)
        for name, values in zip(pair, z):  # a with b__c and a__b with c have one name
            values.tofile(tmp_path / "same" / group / f"{name}.bin")
        with open(tmp_path / "same" / group / "0.bin", "wb") as file:
            file.truncate(z[0].nbytes * 20_000)  # 400 million pairs, whose names do not fit into memory
    done = program("--mindir_path", decoder, "--job", "recombine", "--input_path", tmp_path / "same",
                   "--second_path", tmp_path / "same", "--output_path", tmp_path / "lost", before=MEMORY)
    assert done.returncode == 2 and "both be written as a__b__c; rename" in done.stderr


def test_aligned_pairs_have_one_name(program, trained, tmp_path, rng, opened):
    """Though the two folders hold the samples in different orders; without equal names they are paired in order."""
    model = opened
    z_app, z_geo = (rng.standard_normal((3, *group.shape)).astype(np.float32) for group in model.model.groups)
    for folder in ("z_app", "z_geo"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "z_app" / "s.npy", z_app[:2])
    np.save(tmp_path / "z_app" / "s-a.npy", z_app[2])
    for name, values in zip(("s_0", "s_1", "s-a"), z_geo):  # in the order s-a, s_0, s_1
        np.save(tmp_path / "z_geo" / f"{name}.npy", values)
    words = ("--mindir_path", trained / "export_mindir1" / "decoder.mindir", "--job", "recombine", "--pairs", "aligned",
             "--input_path", tmp_path, "--second_path", tmp_path)
    done = program(*words, "--output_path", tmp_path / "named")
    assert done.returncode == 0 and not done.stderr, done.stderr
    decoded = cpp_files.read_written(tmp_path / "named" / "image", ["s_0__s_0", "s_1__s_1", "s-a__s-a"])
    np.testing.assert_allclose(decoded, model.decode(z_app, z_geo).image, atol=1e-5)
    (tmp_path / "z_geo" / "s-a.npy").rename(tmp_path / "z_geo" / "a.npy")
    done = program(*words, "--output_path", tmp_path / "ordered")
    assert done.returncode == 0 and "paired in order: s_0 with a ..." in done.stderr, done.stderr
    decoded = cpp_files.read_written(tmp_path / "ordered" / "image", ["s_0__a", "s_1__s_0", "s-a__s_1"])
    np.testing.assert_allclose(decoded, model.decode(z_app, z_geo[[2, 0, 1]]).image, atol=1e-5)


def test_traverse_agrees_with_python(program, trained, tmp_path, opened):
    model = opened
    sizes = [group.shape[0] for group in model.model.groups]
    (tmp_path / "kept").write_text("kept")
    done = program("--mindir_path", trained / "export_mindir1" / "decoder.mindir", "--job", "traverse", "--gamma", 2,
                   "--rows", 2, "--output_path", tmp_path,
                   before=f'ln -s kept "{tmp_path}/.dgn-$$"')  # by someone who guesses the program's temporary file
    assert done.returncode == 0 and (tmp_path / "kept").read_text() == "kept", done.stderr
    ranked = bases.rank(model.decode, bases.prior_mean(sizes), 0, 2.0)
    assert (tmp_path / "dimensions.txt").read_text().split() == [str(k) for k in ranked.order[:2]]
    z = bases.traversals(ranked, 2.0, 2)
    wanted = bases.as_rows(model.decode(z, np.zeros((len(z), sizes[1]), np.float32)).image)
    np.testing.assert_allclose(np.load(tmp_path / "traversal.npy"), wanted, atol=1e-5)
    assert np.abs(png(tmp_path / "traversal.png") - np.rint(255 * tile(wanted, scale=1)).astype(int)).max() <= 1


def test_infer(program, trained, tmp_path, opened):
    """Without noise the latents are those of Python's sampler; with noise they depend on the seed, not on the batch."""
    model = opened
    x = model.sources.train.read(np.arange(3))
    (tmp_path / "images").mkdir()
    np.save(tmp_path / "images" / "x.npy", x)
    names = ["x_0", "x_1", "x_2"]

    def infer(name, *words):
        done = program("--mindir_path", trained / "export_mindir1" / "inference_lite.mindir", "--job", "infer",
                       "--input_path", tmp_path / "images", "--output_path", tmp_path / name, "--warmup", 0, *words)
        assert done.returncode == 0, done.stderr
        written = names[:1 if "--limit" in words else 3]
        return [cpp_files.read_written(tmp_path / name / group.name, written) for group in model.model.groups]

    expected = model.infer(x, steps=0, descent_steps=6, use_encoder=False)
    for option in ("--descent_steps", "--settle"):  # the current and the former name
        for z, z_expected in zip(infer(option, "--steps", 0, option, 6), expected):
            np.testing.assert_allclose(z, z_expected, atol=1e-6)
            assert np.abs(z_expected).max() > 1e-5
    noisy, alone = infer("noisy", "--steps", 4), infer("alone", "--steps", 4, "--limit", 1)
    other = infer("other", "--steps", 4, "--seed", 2)
    for a, b, c in zip(noisy, alone, other):
        np.testing.assert_allclose(a[:1], b, atol=1e-6)
        assert np.abs(a - c).max() > 0.01
    # 4 steps of step size 0.1 from 0 with a small gradient: a standard deviation of about 0.2
    assert 0.1 < np.concatenate(noisy, 1).std() < 0.3


def test_encode(program, trained, tmp_path, opened):
    model, exported = opened, trained / "export_mindir1"
    cpp_files.write_samples(tmp_path / "images", model.sources.train.read(np.arange(3)))  # one and a half batches
    words = ("--job", "encode", "--input_path", tmp_path / "images", "--output_path", tmp_path / "encode")
    done = program("--mindir_path", exported / "encoder.mindir", *words)
    assert done.returncode == 0 and "latents of 3 images by the encoder" in done.stdout, done.stderr
    errors = _encoder_errors(model, tmp_path, ["samples_0", "samples_1", "samples_2"])
    assert set(errors) == {"encoder's z_app", "encoder's z_geo"} and max(errors.values()) < 1e-5
    z = model.infer(model.sources.train.read(np.arange(3)), steps=0)  # no steps: the encoder's latents
    assert np.abs(z.appearance).min() > 0
    np.testing.assert_allclose(cpp_files.read_written(tmp_path / "encode" / "z_app", ["samples_2"])[0], z.appearance[2],
                               atol=1e-5)
    done = program("--mindir_path", exported / "decoder.mindir", *words)
    assert done.returncode == 2 and "not an encoder" in done.stderr
    np.save(tmp_path / "images" / "samples.npy", np.full((1, 3, 16, 16), 2, np.float32))
    done = program("--mindir_path", exported / "encoder.mindir", *words)
    assert done.returncode == 2 and "image samples_0 has values from 2.0" in done.stderr
    done = program("--mindir_path", exported / "encoder.mindir", *words[:-1], tmp_path / "images" / "samples.npy")
    assert done.returncode == 1 and "Not a directory" in done.stderr  # before an image is read


def test_the_decoder_of_a_video_model(program, tmp_path, rng):
    saved_run(tmp_path / "run", *CLIPS)
    assert main(["export", str(tmp_path / "run"), "--mindir-version", "1", "--batch", "2"]) == 0
    model = load(tmp_path / "run")
    latents, names = write_latents(tmp_path / "z", rng, model.model.groups, 3)
    names[0] = "n" * 246
    for group in model.model.groups:  # a long name, for which there is no longer one
        (tmp_path / "z" / group.name / "a.bin").rename(tmp_path / "z" / group.name / f"{names[0]}.bin")
    names.append(names.pop(0))  # the order of the names
    latents = [z[[1, 2, 0]] for z in latents]
    decoder = tmp_path / "run" / "export_mindir1" / "decoder.mindir"
    done = program("--mindir_path", decoder, "--input_path", tmp_path / "z", "--output_path", tmp_path / "out",
                   "--warmup", 0)
    assert done.returncode == 0, done.stderr
    wanted = model.decode(*latents)
    for part, values in zip(wanted._fields, wanted):
        np.testing.assert_allclose(cpp_files.read_written(tmp_path / "out" / part, names), values, atol=1e-5)
    assert cpp_files.grey_levels(tmp_path / "out" / "image", names, wanted.image) <= 1  # strips of frames


def test_without_cann(program, trained, tmp_path, rng):
    decoder = trained / "export_mindir1" / "decoder.mindir"
    for device in ("Ascend310", "Ascend"):
        done = program("--mindir_path", decoder, "--input_path", tmp_path, device=device, LD_LIBRARY_PATH="")
        assert done.returncode == 1 and "libascendcl.so" in done.stderr and "CANN" in done.stderr
        assert "--device_type CPU" in done.stderr


@pytest.fixture(scope="module")
def decoder(trained) -> bytes:
    return (trained / "export_mindir1" / "decoder.mindir").read_bytes()


def invalid_models(valid: bytes) -> dict:
    """Invalid MindIR files by name."""
    bare = proto.ModelProto.FromString(valid)
    next(weight for weight in bare.graph.parameter if weight.dims).ClearField("raw_data")
    return {"bare": bare.SerializeToString(), "empty": b"", "text": b"no MindIR\n" * 50, "cut": valid[:-1],
            "half": valid[:len(valid) // 2], "start": valid[:40], "zeros": bytes(2000), "doubled": valid + valid,
            "npy": b"\x93NUMPY\x01\x00" + bytes(300)}


def test_invalid_models_are_rejected(program, trained, decoder, tmp_path, rng, opened):
    write_latents(tmp_path / "z", rng, opened.model.groups, 2)
    for name, content in invalid_models(decoder).items():
        (tmp_path / f"{name}.mindir").write_bytes(content)
        done = program("--mindir_path", tmp_path / f"{name}.mindir", "--input_path", tmp_path / "z")
        assert done.returncode == 2 and (f"{name}.mindir is" in done.stderr), (name, done.returncode, done.stderr)
        assert name != "bare" or "has no values" in done.stderr, done.stderr
    done = program("--mindir_path", tmp_path / "missing.mindir", "--input_path", tmp_path / "z")
    assert done.returncode == 2 and "missing.mindir" in done.stderr


def test_damaged_models_never_crash_the_program(program, trained, decoder, tmp_path, rng, opened):
    """Bits flipped at random: the program ends with a message and an exit code, or with results."""
    write_latents(tmp_path / "z", rng, opened.model.groups, 2)
    weights = decoder.rfind(b"branches.1.stack.last.weight")
    for k in range(12):
        content = bytearray(decoder)
        for place in rng.integers(0, min(weights, 20000) if k % 2 else len(content), 3):
            content[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "damaged.mindir").write_bytes(bytes(content))
        done = program("--mindir_path", tmp_path / "damaged.mindir", "--input_path", tmp_path / "z",
                       "--output_path", tmp_path / "out", "--warmup", 0, GLOG_v=None)  # and the runtime does not log
        assert done.returncode in (0, 1, 2), (k, done.returncode, done.stderr)
        assert done.returncode == 0 or done.stderr.startswith("dgn_infer: "), done.stderr


def test_failures_of_the_runtime(program, lite, trained, tmp_path, rng, opened):
    """MindSpore Lite with a function that exhausts the stack, or gives an output of negative size."""
    (tmp_path / "lite.cc").write_text(FAILING_LITE)
    flags = ("-std=c++14", "-w", "-shared", "-fPIC", "-D_GLIBCXX_USE_CXX11_ABI=0", f"-I{lite}")
    built = run("c++", *flags, tmp_path / "lite.cc", "-o", tmp_path / "lite.so")
    assert built.returncode == 0, built.stderr
    write_latents(tmp_path / "z", rng, opened.model.groups, 2)
    for kind, message in (("stack", "crashed while running the model"), ("shape", "(-2, -4) has a negative dimension")):
        done = program("--mindir_path", trained / "export_mindir1" / "decoder.mindir", "--input_path", tmp_path / "z",
                       "--output_path", tmp_path / "out", KIND=kind, LD_PRELOAD=str(tmp_path / "lite.so"))
        assert done.returncode == 1 and "dgn_infer: MindSpore Lite" in done.stderr and message in done.stderr


def test_memory_does_not_grow_with_samples_that_are_not_used(program, trained, tmp_path, opened):
    decoder = trained / "export_mindir1" / "decoder.mindir"
    for group in opened.model.groups:
        (tmp_path / group.name).mkdir()
        with open(tmp_path / group.name / "a.bin", "wb") as file:
            file.truncate(4 * group.shape[0] << 24)  # 16 million samples, which take no space on disk
    words = ("--input_path", tmp_path, "--output_path", tmp_path / "out", "--limit", 1)
    done = program("--mindir_path", decoder, *words, before=MEMORY)
    assert done.returncode == 0 and (tmp_path / "out" / "image" / "a_0.npy").is_file(), done.stderr
    with open(tmp_path / "huge.mindir", "wb") as file:
        file.truncate(1 << 31)
    done = program("--mindir_path", tmp_path / "huge.mindir", *words, before=MEMORY)
    assert done.returncode == 1 and done.stderr == "dgn_infer: not enough memory\n"


def test_messages_for_invalid_inputs(program, trained, tmp_path, rng, opened):
    exported, z = trained / "export_mindir1", tmp_path / "z"
    write_latents(z, rng, opened.model.groups, 2)
    good = ("--mindir_path", exported / "decoder.mindir", "--input_path", z, "--output_path", tmp_path / "out")
    (tmp_path / "file").touch()
    done = program(*good[:4], "--output_path", tmp_path / "file" / "out")
    assert done.returncode == 1 and f"the folder {tmp_path / 'file'}: Not a directory" in done.stderr
    np.save(z / "z_geo" / "b.npy", np.zeros((1, 5), np.float32))
    done = program(*good)
    assert done.returncode == 2 and "b.npy has the shape (1, 5); (3,) or (n, 3,) is required" in done.stderr
    np.save(z / "z_geo" / "b.npy", np.zeros((1, 3)))
    done = program(*good)
    assert done.returncode == 2 and "type <f8" in done.stderr and "astype(numpy.float32)" in done.stderr
    np.save(z / "z_geo" / "b.npy", np.full((1, 3), np.nan, np.float32))
    done = program(*good)
    assert done.returncode == 2 and "is not finite" in done.stderr
    (z / "z_geo" / "b.npy").rename(z / "z_geo" / "c.npy")
    done = program(*good)
    assert done.returncode == 2 and "z_geo has no sample b_0, which is in" in done.stderr
    done = program("--mindir_path", exported / "inference_lite.mindir", "--input_path", z)
    assert done.returncode == 2 and "has 5 inputs" in done.stderr
    done = program(*good, "--gama", 2)
    assert done.returncode == 2 and "did you mean --gamma?" in done.stderr
    done = program(*good, "--steps", "-1")
    assert done.returncode == 2 and "must be an integer from 0" in done.stderr
    done = program(*good[:2], "--job", "traverse", "--dimensions", "0,0,0,0,0", "--positions", 1001)
    assert done.returncode == 2 and "1001 --positions are 5005 images; at most 4096" in done.stderr
    for name in ("b_0.npy", "c.npy"):  # beside b.npy, which also holds b_0, and c.bin
        shutil.copy(z / "z_app" / "a.bin", z / "z_app" / "c.bin")
        np.save(z / "z_app" / name, np.zeros(4, np.float32))
        done = program(*good)
        assert done.returncode == 2 and f"named {name.removesuffix('.npy')}" in done.stderr, done.stderr
        (z / "z_app" / name).unlink()
    done = program("--mindir_path", exported / "decoder.mindir", "--input_path", tmp_path / "none")
    assert done.returncode == 2 and f"there is no folder {tmp_path / 'none'}/z_app" in done.stderr
    assert program("--help").returncode == 0


FAILING_LITE = """
#include <cstdlib>
#include "include/api/model.h"

static int Recurse(volatile char *above) {
  volatile char frame[4096] = {above[0]};
  return Recurse(frame) + frame[1];
}

mindspore::Status mindspore::Model::Predict(const std::vector<MSTensor> &, std::vector<MSTensor> *outputs,
                                            const MSKernelCallBack &, const MSKernelCallBack &) {
  char values[32] = {};
  if (std::getenv("KIND") == std::string("stack")) Recurse(values);
  outputs->push_back(*MSTensor::CreateTensor("", DataType::kNumberTypeFloat32, {-2, -4}, values, sizeof(values)));
  return kSuccess;
}
"""


def test_mindir_3_is_for_another_lite(program, decoder, tmp_path):
    model = proto.ModelProto.FromString(decoder)
    model.mind_ir_version = 3
    (tmp_path / "decoder.mindir").write_bytes(model.SerializeToString())
    done = program("--mindir_path", tmp_path / "decoder.mindir", "--input_path", tmp_path)
    assert done.returncode == 2 and "version 3 (MindSpore 2.10" in done.stderr and "--mindir-version 1" in done.stderr


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A folder with a run on 12 digits whose appearance is their label, exported with a batch of 4, and the digits."""
    folder, rng = tmp_path_factory.mktemp("labelled"), np.random.default_rng(3)
    write_mnist(folder / "digits", "t10k", rng.integers(0, 256, (12, 28, 28)).astype(np.uint8), np.arange(12) % 4, True)
    saved_run(folder / "run", "data.format=mnist", "data.grey=true", "model.appearance=label", "model.z_app=10",
              "inference.sigma=0.1", "inference.steps_per_graph=2", images=folder / "digits")
    assert main(["export", str(folder / "run"), "--mindir-version", "1", "--batch", "4"]) == 0
    return folder


def test_labels_are_required_and_not_changed(program, labelled, tmp_path):
    run_folder = load(labelled / "run")
    for k, image in enumerate(run_folder.sources.train.read(np.arange(12) % 10)):
        np.save(tmp_path / f"x_{k}.npy", image)
    words = ("--mindir_path", labelled / "run" / "export_mindir1" / "inference_lite.mindir", "--job", "infer",
             "--input_path", tmp_path, "--output_path", tmp_path / "out", "--steps", 4, "--limit", 11)
    done = program(*words)
    assert done.returncode == 2 and "does not infer z_app" in done.stderr and "--start_path" in done.stderr
    labels = np.eye(10, dtype=np.float32)[np.arange(12) % 10]
    for group, z in (("z_app", labels), ("z_geo", np.zeros((12, 3), np.float32))):
        (tmp_path / "start" / group).mkdir(parents=True)
        np.save(tmp_path / "start" / group / "x.npy", z)
    done = program(*words, "--start_path", tmp_path / "start")
    assert done.returncode == 0, done.stderr
    names = [f"x_{k}" for k in range(11)]  # the first 11 by number, not by text
    np.testing.assert_array_equal(cpp_files.read_written(tmp_path / "out" / "z_app", names), labels[:11])
    assert len(list((tmp_path / "out" / "z_app").iterdir())) == 11
    assert np.abs(cpp_files.read_written(tmp_path / "out" / "z_geo", names)).min() > 0


def test_an_export_of_another_checkpoint_is_refused(trained, tmp_path, capsys):
    shutil.copytree(trained / "export_mindir1", tmp_path / "old")
    about = json.loads((tmp_path / "old" / "export.json").read_text())
    (tmp_path / "old" / "export.json").write_text(json.dumps({**about, "checkpoint": "epoch_00000"}))
    assert main(["infer310", "prepare", str(tmp_path / "old"), str(tmp_path), str(tmp_path / "out")]) == 2
    assert "exported from epoch_00000" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_latents_of_dgn_infer(program, trained, images, tmp_path, caplog):
    """They are prepared, decoded and compared."""
    exported, inferred, out = trained / "export_mindir1", tmp_path / "inferred", tmp_path / "out"
    assert main(["infer", str(trained), "--images", str(images), "--steps", "4", "--output", str(inferred)]) == 0
    converted = shutil.copytree(exported, tmp_path / "converted")
    with open(converted / "encoder.mindir", "ab") as file:
        file.write(b"more")
    assert main(["infer310", "prepare", str(converted), str(inferred), str(tmp_path / "other")]) == 0
    assert [record.args[0].name for record in caplog.records if "not the file that was exported" in record.msg] == [
        "encoder.mindir"]
    assert main(["infer310", "prepare", str(exported), str(inferred), str(out)]) == 0
    with np.load(inferred / "latents.npz") as latents:
        np.testing.assert_array_equal(np.load(out / "latents" / "z_geo" / "samples.npy"), latents["z_geo"])
    jobs = {"reconstruct": (), "traverse_z_app": ("--job", "traverse"),
            "traverse_z_geo": ("--job", "traverse", "--group", "z_geo"),
            "recombine": ("--job", "recombine", "--second_path", out / "latents", "--limit", 2)}
    for name, words in jobs.items():
        done = program("--mindir_path", exported / "decoder.mindir", "--input_path", out / "latents",
                       "--output_path", out / name, *words)
        assert done.returncode == 0, done.stderr
    assert main(["infer310", "check", str(exported), str(out)]) == 0
    result = json.loads((out / "check.json").read_text())
    assert result["samples"] == 10 and max(result["difference"].values()) < 1e-5 and "latents" not in result


def test_launcher(build, package, trained, labelled, images, tmp_path):
    """All steps for images with labels, and steps that fail."""
    exported, digits, out = labelled / "run" / "export_mindir1", labelled / "digits", tmp_path / ODD

    def launch(*words, script="run_infer_310.sh", **environment):
        path = HERE.parent / "scripts" / script
        return run("bash", path, *words, DGN_BUILD=str(build), MSLITE_HOME=str(package), **environment)

    done = launch(exported, digits, "CPU", 0, out, DGN_DESCENT_STEPS="19", script="run_infer_cpp.sh")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "after 20 steps, 0 of them with noise" in done.stdout  # whole calls of 2 steps
    result = json.loads((out / "check.json").read_text())
    assert result["samples"] == 12 and result["grey_levels"] <= 1
    assert max(result["difference"].values()) < 1e-5 and max(result["latents"].values()) < 1e-5
    assert (out / "overview.png").is_file() and "NN inference cost average time" in done.stdout
    again = launch(exported, digits, "CPU", 0, out, DGN_SETTLE="19")
    assert again.returncode == 2 and "is not empty" in again.stderr
    assert "DGN_SETTLE is now DGN_DESCENT_STEPS" in again.stderr
    failed = launch(trained / "export_mindir1", images, "Ascend310", 0, tmp_path / "ascend")
    assert failed.returncode == 1 and "CANN" in failed.stderr and "-- reconstruct" not in failed.stdout
    (tmp_path / "ascend" / "images" / "left.npy").touch()
    failed = launch(trained / "export_mindir1", images, "Ascend310", 0, tmp_path / "ascend")  # its rest is replaced
    assert failed.returncode == 1 and not (tmp_path / "ascend" / "images" / "left.npy").exists()
    wrong = launch(tmp_path / "nothing", images)
    assert wrong.returncode == 2 and f"there is no {tmp_path / 'nothing'}; give the folder of an export" in wrong.stderr
    wrong = launch(exported, digits, "GPU")
    assert wrong.returncode == 2 and "DEVICE_TYPE is GPU" in wrong.stderr


def test_bench_beside_python(build, monkeypatch, capsys):
    from dgn.bench import program as beside

    monkeypatch.setattr(beside, "BATCHES", (2,))
    monkeypatch.setattr(beside, "CALLS", 3)
    line = ["bench", "program", "--rounds", "1", "--set", "data.size=16", "--set", "model.width=8"]
    assert main([*line, str(build / "dgn_infer")]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row[:34].strip() for row in rows] == ["decoder, batch 2", "Langevin step, batch 2"]
    assert "nan" not in "".join(rows)
    assert main([*line, str(build / "nothing")]) == 2 and "build.sh" in capsys.readouterr().err
    assert main([*line, str(build / "dgn_infer"), "--set", "data.frames=3"]) == 2
