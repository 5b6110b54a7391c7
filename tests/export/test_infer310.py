"""What is read for the C++ program and of it, and what is said when it is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dgn.cli.infer310 import judge
from dgn.errors import RunFailed, UserError
from dgn.export import infer310
from dgn.nets.model import LatentGroup

GROUPS = (LatentGroup("z_app", (4,)), LatentGroup("z_geo", (3,)))


def test_latents_of_one_file_or_of_folders(tmp_path, rng):
    z_app, z_geo = (rng.standard_normal((3, *group.shape)).astype(np.float32) for group in GROUPS)
    (tmp_path / "packed").mkdir()
    np.savez(tmp_path / "packed" / "latents.npz", names=np.array(["a", "b", "c"]), z_app=z_app, z_geo=z_geo)
    for group, z in zip(GROUPS, (z_app, z_geo)):
        (tmp_path / "loose" / group.name).mkdir(parents=True)
        z[:2].tofile(tmp_path / "loose" / group.name / "a.bin")
        np.save(tmp_path / "loose" / group.name / "b.npy", z[2])
    for name in ("packed", "loose"):
        assert infer310.holds_latents(tmp_path / name, GROUPS)
        for found, wanted in zip(infer310.read_latents(tmp_path / name, GROUPS), (z_app, z_geo)):
            np.testing.assert_array_equal(found, wanted)
    assert not infer310.holds_latents(tmp_path, GROUPS)


@pytest.mark.parametrize("name, content, said", [
    ("a.bin", bytes(17), "cannot read the latents z_app"), ("a.npy", b"\x93NUMPY cut", "cannot read"), ("a.npy", b"", "cannot read"),
    ("a.bin", bytes(4 * 5), "not of 4 dimensions"), ("a.bin", b"", "not of 4 dimensions"), ("a.txt", b"", "holds no latents of z_app"),
    ("a.bin", bytes(4 * 4), "1 of z_app and 2 of z_geo")])
def test_latents_that_do_not_fit_are_refused(name, content, said, tmp_path):
    (tmp_path / "z_app").mkdir()
    (tmp_path / "z_geo").mkdir()
    (tmp_path / "z_app" / name).write_bytes(content)
    np.save(tmp_path / "z_geo" / "a.npy", np.zeros((2, 3), np.float32))
    with pytest.raises(UserError) as caught:
        infer310.read_latents(tmp_path, GROUPS)
    assert said in str(caught.value) and str(tmp_path) in str(caught.value)


def test_damaged_latents_of_infer_are_refused(tmp_path):
    (tmp_path / "latents.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UserError, match="cannot read the latents z_app"):
        infer310.read_latents(tmp_path, GROUPS)


def test_what_the_program_has_not_written_is_named(tmp_path):
    for read in (infer310.sample_names, infer310.pairs_written, infer310.dimensions_written, infer310.read_samples):
        with pytest.raises(RunFailed, match=str(tmp_path)):
            read(tmp_path)
    np.save(tmp_path / "samples_0.npy", np.zeros(2))
    np.save(tmp_path / "samples_10.npy", np.zeros(3))
    np.save(tmp_path / "samples_9.npy", np.zeros(2))
    names = infer310.sample_names(tmp_path)
    assert names == ["samples_0", "samples_9", "samples_10"]
    with pytest.raises(RunFailed, match="does not hold what the program"):
        infer310.read_written(tmp_path, names)
    for pair in ("samples_0__samples_11", "samples_2__samples_0"):
        (tmp_path / f"{pair}.npy").touch()
    assert infer310.pairs_written(tmp_path) == (["samples_0__samples_11", "samples_2__samples_0"], [[0, 2], [11, 0]])


@pytest.mark.parametrize("told, precision, said", [
    ({}, "float32", None), ({"grey_levels": 1}, "float32", None), ({"grey_levels": 2}, "float32", "PNG files by 2"),
    ({"grey_levels": 3}, "float16", None), ({"difference": {"image": 1e-4}}, "float32", r"image by 1.0e-04 \(allowed 1e-05\)"),
    ({"difference": {"image": 1e-4, "appearance": float("nan")}}, "float16", "Python: appearance by nan"),
    ({"latents": {"first_call": 0.5}}, "float32", "latents by 5.0e-01"), ({"latents": {"first_call": 0.5}}, "float16", None),
    ({"reconstruction": {"msre": 3.1}}, "float16", "MSRE, 3.1 against 2")])
def test_what_is_judged(told, precision, said, tmp_path):
    good = {"difference": {"image": 1e-6}, "grey_levels": 0, "latents": {"first_call": 1e-5}, "reconstruction": {"msre": 2.0},
            "reconstruction_by_python": {"msre": 2.0}}
    if said is None:
        judge({**good, **told}, precision, tmp_path)
    else:
        with pytest.raises(RunFailed, match=said):
            judge({**good, **told}, precision, tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"run": "nowhere"'])
def test_a_folder_that_holds_no_export_is_refused(text, tmp_path):
    (tmp_path / "export.json").write_text(text)
    (tmp_path / "decoder.mindir").touch()
    with pytest.raises(UserError, match="dgn export RUN"):
        infer310.open_exported(tmp_path)


def test_the_run_is_found_by_its_name_or_above_the_export(tmp_path):
    (tmp_path / "run" / "export").mkdir(parents=True)
    (tmp_path / "run" / "export" / "decoder.mindir").touch()
    (tmp_path / "run" / "export" / "export.json").write_text(json.dumps({"run": "/elsewhere/run"}))
    exported = infer310.open_exported(tmp_path / "run" / "export" / "decoder.mindir")
    with pytest.raises(UserError, match="/elsewhere/run, which is not there"):
        str(exported.run)
    (tmp_path / "run" / "config.yaml").touch()
    assert exported.run == tmp_path / "run"
