"""Where build.sh takes MindSpore Lite from, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from tests.ascend310.conftest import HERE, run

BUILD = HERE / "build.sh"


def python(path: Path, *lines: str) -> Path:
    """A stand-in for a Python with pip."""
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


def test_a_folder_without_lite_is_refused(tmp_path):
    done = run("bash", BUILD, "--fetch", MSLITE_HOME=str(tmp_path))
    assert done.returncode == 2 and "include/api/model.h" in done.stderr


def test_lite_of_mslite_home_in_both_layouts(tmp_path):
    for folder in (tmp_path / "wheel", tmp_path / "archive" / "runtime"):
        (folder / "include" / "api").mkdir(parents=True)
        (folder / "include" / "api" / "model.h").touch()
        home = tmp_path / folder.relative_to(tmp_path).parts[0]
        done = run("bash", BUILD, "--fetch", MSLITE_HOME=str(home))
        assert done.returncode == 2 and "holds no library of MindSpore Lite" in done.stderr
        (folder / "lib").mkdir()
        (folder / "lib" / "libmindspore-lite.so").touch()
        done = run("bash", BUILD, "--fetch", MSLITE_HOME=str(home))
        assert done.returncode == 0 and done.stdout.strip() == str(folder)


def test_no_network_and_another_file(tmp_path):
    absent = python(tmp_path / "absent", "exit 1")
    done = run("bash", BUILD, "--fetch", MSLITE_HOME="", DGN_CACHE=str(tmp_path / "cache"), DGN_PYTHON=str(absent))
    assert done.returncode == 3 and "cannot be fetched" in done.stderr
    other = python(tmp_path / "other", 'while [ $# -gt 0 ]; do [ "$1" != --dest ] || echo wrong > "$2/mindspore_lite.whl"; shift; done')
    done = run("bash", BUILD, "--fetch", MSLITE_HOME="", DGN_CACHE=str(tmp_path / "cache"), DGN_PYTHON=str(other))
    assert done.returncode == 1 and "SHA-256" in done.stderr and "not used" in done.stderr
    assert not list((tmp_path / "cache").iterdir())
