"""The files that the C++ program reads and writes, and the judgement of its results."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dgn.errors import RunFailed, UserError
from dgn.export import cpp_files, cpp_program
from dgn.nets.model import LatentGroup

GROUPS = (LatentGroup("z_app", (4,)), LatentGroup("z_geo", (3,)))


def folder_of(tmp_path, name: str, content, rng):
    """A folder of latents with one file of z_app, bytes or an array, and two samples of z_geo."""
    for group in GROUPS:
        (tmp_path / group.name).mkdir()
    np.save(tmp_path / "z_geo" / "a.npy", rng.standard_normal((2, 3)).astype(np.float32))
    if isinstance(content, bytes):
        (tmp_path / "z_app" / name).write_bytes(content)
    else:
        np.save(tmp_path / "z_app" / name, content)
    return tmp_path


def test_latents_of_one_file_or_of_folders(tmp_path, rng):
    z_app, z_geo = (rng.standard_normal((3, *group.shape)).astype(np.float32) for group in GROUPS)
    (tmp_path / "packed").mkdir()
    np.savez(tmp_path / "packed" / "latents.npz", names=np.array(["a", "b", "c"]), z_app=z_app, z_geo=z_geo)
    for group, z in zip(GROUPS, (z_app, z_geo)):
        (tmp_path / "loose" / group.name).mkdir(parents=True)
        z[:2].tofile(tmp_path / "loose" / group.name / "a.bin")
        np.save(tmp_path / "loose" / group.name / "b.npy", z[2])
    for name in ("packed", "loose"):
        assert cpp_files.holds_latents(tmp_path / name, GROUPS)
        for values, expected in zip(cpp_files.read_latents(tmp_path / name, GROUPS), (z_app, z_geo)):
            np.testing.assert_array_equal(values, expected)
    assert not cpp_files.holds_latents(tmp_path, GROUPS)


def test_samples_of_two_groups_are_matched(tmp_path, rng):
    z_app, z_geo = (rng.standard_normal((12, *group.shape)).astype(np.float32) for group in GROUPS)
    for group in GROUPS:
        (tmp_path / group.name).mkdir()
    np.save(tmp_path / "z_app" / "x.npy", z_app)
    for k, z in enumerate(z_geo):
        np.save(tmp_path / "z_geo" / f"x_{k}.npy", z)
    for values, expected in zip(cpp_files.read_latents(tmp_path, GROUPS), (z_app, z_geo)):
        np.testing.assert_array_equal(values, expected)
    (tmp_path / "z_geo" / "x_11.npy").rename(tmp_path / "z_geo" / "x_12.npy")
    with pytest.raises(UserError, match="x_11 of z_app in the place of x_12 of z_geo"):
        cpp_files.read_latents(tmp_path, GROUPS)


def test_only_what_an_unfinished_job_wrote_is_removed(tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"

    def refused(path) -> bool:
        with pytest.raises(UserError, match="is not empty"):
            cpp_program._work_folder(path)
        return (out / "images").is_dir() and (out / cpp_program.UNFINISHED).is_file()

    elsewhere.mkdir()
    cpp_program._work_folder(out)
    for name in ("images", "traverse_z_app"):
        (out / name).mkdir()
    same = out.stat().st_ino
    cpp_program._work_folder(out)
    assert [path.name for path in out.iterdir()] == [cpp_program.UNFINISHED] and out.stat().st_ino == same
    (out / "images").mkdir()
    (out / "notes.txt").touch()
    assert refused(out)
    (out / "notes.txt").unlink()
    (tmp_path / "link").symlink_to(out)
    assert refused(tmp_path / "link")
    (out / "latents").symlink_to(elsewhere)
    assert refused(out) and (out / "latents").is_symlink()


@pytest.mark.parametrize("name, content, message", [
    ("a.bin", bytes(17), "cannot read the latents z_app"), ("a.npy", b"\x93NUMPY cut", "cannot read"),
    ("a.npy", b"", "cannot read"), ("a.npy", b"\x93NUMPY\x01\0\2\0\0(", "cannot read"),
    ("a.bin", bytes(4 * 5), "not of 4 dimensions"), ("a.bin", b"", "not of 4 dimensions"),
    ("a.txt", b"", "holds no latents of z_app"), ("a.bin", bytes(4 * 4), "1 of z_app and 2 of z_geo")])
def test_latents_that_do_not_fit_are_refused(name, content, message, tmp_path, rng):
    with pytest.raises(UserError) as caught:
        cpp_files.read_latents(folder_of(tmp_path, name, content, rng), GROUPS)
    assert message in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name, content, messages", [
    ("a.bin", bytes(17), ("a.bin", "buffer size")),
    ("a.npy", np.zeros((2, 4)), ("a.npy are float64", "astype(numpy.float32)")),
    ("a.npy", np.zeros((2, 4), np.int8), ("a.npy are int8",)),
    ("a.npy", np.zeros((2, 4), ">f4"), ("a.npy are >f4",)),
    ("a.npy", np.full((2, 4), np.nan, np.float32), ("a.npy hold 8 values that are not finite",)),
    ("a.npy", np.array([[0, 1, np.inf, 0]], np.float32), ("a.npy hold 1 values that are not finite",)),
    ("a.npy", np.full((2, 4), 1e6, np.float32), ("a.npy reach 1e+06",)),
    ("a.bin", np.full((2, 4), np.inf, np.float32).tobytes(), ("a.bin hold 8 values", "float64?"))])
def test_the_file_and_what_is_wrong_with_it_are_named(name, content, messages, tmp_path, rng):
    with pytest.raises(UserError) as caught:
        cpp_files.read_latents(folder_of(tmp_path, name, content, rng), GROUPS)
    for message in (*messages, "z_app"):
        assert message in str(caught.value)


def test_a_bin_file_of_float64_is_recognised(tmp_path, rng):
    """Its halves read as float32 are no latents, whether or not the values come from float32."""
    values = rng.standard_normal((4, 4))
    for number, latents in enumerate((values, values.astype(np.float32).astype(np.float64))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(UserError, match="a.bin .*float64"):
            cpp_files.read_latents(folder_of(folder, "a.bin", latents.tobytes(), rng), GROUPS)


def test_packed_latents_are_checked_too(tmp_path):
    np.savez(tmp_path / "latents.npz", z_app=np.zeros((2, 4)), z_geo=np.zeros((2, 3), np.float32))
    with pytest.raises(UserError, match="latents.npz are float64"):
        cpp_files.read_latents(tmp_path, GROUPS)
    np.savez(tmp_path / "latents.npz", z_app=np.zeros((2, 4), np.float32), z_geo=np.full((2, 3), np.nan, np.float32))
    with pytest.raises(UserError, match="z_geo in .*latents.npz hold 6 values"):
        cpp_files.read_latents(tmp_path, GROUPS)


def test_damaged_latents_of_infer_are_refused(tmp_path):
    (tmp_path / "latents.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UserError, match="cannot read the latents z_app"):
        cpp_files.read_latents(tmp_path, GROUPS)


def test_what_the_program_has_not_written_is_named(tmp_path):
    for read in (cpp_files.sample_names, cpp_files.pairs_written, cpp_files.dimensions_written, cpp_files.read_samples):
        with pytest.raises(RunFailed, match=str(tmp_path)):
            read(tmp_path)
    np.save(tmp_path / "samples_0.npy", np.zeros(2))
    np.save(tmp_path / "samples_10.npy", np.zeros(3))
    np.save(tmp_path / "samples_9.npy", np.zeros(2))
    names = cpp_files.sample_names(tmp_path)
    assert names == ["samples_0", "samples_9", "samples_10"]
    with pytest.raises(RunFailed, match="does not hold what the program"):
        cpp_files.read_written(tmp_path, names)
    for pair in ("samples_0__samples_11", "samples_2__samples_0"):
        (tmp_path / f"{pair}.npy").touch()
    assert cpp_files.pairs_written(tmp_path) == (["samples_0__samples_11", "samples_2__samples_0"], [[0, 2], [11, 0]])


@pytest.mark.parametrize("result, precision, message", [
    ({}, "float32", None), ({"grey_levels": 1}, "float32", None), ({"grey_levels": 2}, "float32", "PNG files by 2"),
    ({"grey_levels": 3}, "float16", None),
    ({"difference": {"image": 1e-4}}, "float32", r"image by 1.0e-04 \(allowed 1e-05\)"),
    ({"difference": {"image": 1e-4, "appearance": float("nan")}}, "float16", "Python: appearance by nan"),
    ({"latents": {"first_call": 0.5}}, "float32", "latents by 5.0e-01"),
    ({"latents": {"first_call": 0.5}}, "float16", None),
    ({"reconstruction": {"msre": 3.1}}, "float16", "MSRE, 3.1 against 2")])
def test_what_is_judged(result, precision, message, tmp_path):
    good = {"difference": {"image": 1e-6}, "grey_levels": 0, "latents": {"first_call": 1e-5},
            "reconstruction": {"msre": 2.0}, "reconstruction_by_python": {"msre": 2.0}}
    if message is None:
        cpp_program.judge({**good, **result}, precision, tmp_path)
    else:
        with pytest.raises(RunFailed, match=message):
            cpp_program.judge({**good, **result}, precision, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"run": "nowhere"', "[" * 100_000], ids=len)
def test_a_folder_that_holds_no_export_is_refused(text, tmp_path):
    (tmp_path / "export.json").write_text(text)
    (tmp_path / "decoder.mindir").touch()
    with pytest.raises(UserError, match="dgn export RUN"):
        cpp_files.open_exported(tmp_path)


def test_the_run_is_found_by_its_name_or_above_the_export(tmp_path):
    (tmp_path / "run" / "export").mkdir(parents=True)
    (tmp_path / "run" / "export" / "decoder.mindir").touch()
    (tmp_path / "run" / "export" / "export.json").write_text(json.dumps({"run": "/elsewhere/run"}))
    exported = cpp_files.open_exported(tmp_path / "run" / "export" / "decoder.mindir")
    with pytest.raises(UserError, match="/elsewhere/run, which is not there"):
        str(exported.run)
    (tmp_path / "run" / "config.yaml").touch()
    assert exported.run == tmp_path / "run"
    assert exported._replace(about={"run": [3]}).run == tmp_path / "run"
