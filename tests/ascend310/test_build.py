"""The search for MindSpore Lite in build.sh and CMakeLists.txt, and the language of the sources."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.ascend310.conftest import HERE, ODD, run

pytestmark = pytest.mark.slow

BUILD = HERE / "build.sh"


def make_script(path: Path, *lines: str) -> Path:
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
    return path


def make_lite(folder: Path) -> Path:
    """A folder that looks like MindSpore Lite."""
    for file in ("include/api/model.h", "lib/libmindspore-lite.so"):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    return folder


def make_package(folder: Path) -> Path:
    """A folder that looks like a package of MindSpore Lite 2.7 or newer."""
    make_lite(folder / "runtime")
    (folder / "runtime" / "third_party" / "glog").mkdir(parents=True)
    (folder / "tools" / "converter" / "lib").mkdir(parents=True)
    (folder / "tools" / "converter" / "converter").mkdir()
    make_script(folder / "tools" / "converter" / "converter" / "converter_lite")
    return folder


def fake_cmake(folder: Path) -> tuple[dict, Path]:
    """Variables by which build.sh runs a cmake that writes its arguments, one a line, into a file; and the file."""
    make_script(folder / "cmake", f'printf "%s\\n" "$@" >>"{folder}/arguments"')
    return {"PATH": f"{folder}:{os.environ['PATH']}", "CXX": "true"}, folder / "arguments"


def test_an_unusable_mslite_home_is_refused(tmp_path):
    done = run("bash", BUILD, "--fetch", MSLITE_HOME=str(tmp_path))
    assert done.returncode == 2 and "include/api/model.h" in done.stderr and str(tmp_path) in done.stderr
    done = run("bash", BUILD, "--fetch", MSLITE_HOME=str(tmp_path / "missing"))
    assert done.returncode == 2 and "is not a folder" in done.stderr
    lite = make_lite(tmp_path / "lite")
    (lite / "lib" / "libmindspore-lite.so").unlink()
    done = run("bash", BUILD, "--fetch", MSLITE_HOME=str(lite))
    assert done.returncode == 2 and "has no library of MindSpore Lite" in done.stderr


@pytest.mark.parametrize("home, inner", [("package", "runtime"), ("package/runtime", ""), ("plain", "")])
def test_layouts_of_mindspore_lite(home, inner, tmp_path):
    package = make_package(tmp_path / ODD / "package")
    make_lite(tmp_path / ODD / "plain")
    folder = tmp_path / ODD / home
    variables, arguments = fake_cmake(tmp_path)
    done = run("bash", BUILD, tmp_path / ODD / "build", MSLITE_HOME=str(folder), **variables)
    assert done.returncode == 0, done.stderr
    lite = folder / inner
    expected = [lite / "lib"]
    if home != "plain":
        expected += [package / "tools" / "converter" / "lib", package / "runtime" / "third_party" / "glog"]
    words = arguments.read_text().splitlines()
    assert f"-DMSLITE_INCLUDE={lite}" in words and f"-DMSLITE_LIBRARY={lite}/lib/libmindspore-lite.so" in words
    assert f"-DMSLITE_RPATH={';'.join(map(str, expected))}" in words
    assert run("bash", BUILD, "--fetch", MSLITE_HOME=str(folder)).stdout.strip() == str(lite)


def test_the_converter_of_a_package(tmp_path):
    package = make_package(tmp_path / ODD)
    found = run("bash", BUILD, "--converter", MSLITE_HOME=str(package))
    assert found.stdout.strip() == str(package / "tools" / "converter" / "converter" / "converter_lite"), found.stderr
    missing = run("bash", BUILD, "--converter", MSLITE_HOME=str(make_lite(tmp_path / "lite")))
    assert missing.returncode == 2 and "there is no" in missing.stderr and "converter_lite" in missing.stderr
    unset = run("bash", BUILD, "--converter", MSLITE_HOME="")
    assert unset.returncode == 2 and "MSLITE_HOME is not set" in unset.stderr


def test_no_network_and_a_wrong_download(tmp_path):
    variables = {"MSLITE_HOME": "", "DGN_CACHE": str(tmp_path / "cache")}
    done = run("bash", BUILD, "--fetch", **variables, DGN_PYTHON=str(make_script(tmp_path / "offline", "exit 1")))
    assert done.returncode == 3 and "no MindSpore Lite" in done.stderr and "MSLITE_HOME" in done.stderr
    line = 'while [ $# -gt 0 ]; do [ "$1" != --dest ] || echo wrong > "$2/mindspore_lite.whl"; shift; done'
    done = run("bash", BUILD, "--fetch", **variables, DGN_PYTHON=str(make_script(tmp_path / "wrong", line)))
    assert done.returncode == 1 and "SHA-256" in done.stderr and "not used" in done.stderr
    assert not list((tmp_path / "cache").iterdir()) and (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_a_cache_that_others_could_fill_is_refused(tmp_path):
    done = run("bash", BUILD, "--fetch", MSLITE_HOME="", HOME="", XDG_CACHE_HOME="", DGN_CACHE="")
    assert done.returncode == 3 and "set DGN_CACHE" in done.stderr
    if os.geteuid() == 0:  # may give a folder to another user
        os.chown(tmp_path, 65534, 65534)
        done = run("bash", BUILD, "--fetch", MSLITE_HOME="", DGN_CACHE=str(tmp_path))
        assert done.returncode == 3 and f"{tmp_path} belongs to another user" in done.stderr


def test_cmake_names_what_is_missing(tools, tmp_path):
    without = run("cmake", "-S", HERE, "-B", tmp_path / "a")
    assert without.returncode == 0 and "MSLITE_LIBRARY is not set" in without.stderr and "MSLITE_HOME" in without.stderr
    wrong = run("cmake", "-S", HERE, "-B", tmp_path / "b", "-DMSLITE_LIBRARY=/no/lib.so", "-DMSLITE_INCLUDE=/no")
    assert wrong.returncode == 1 and "there is no /no/lib.so" in " ".join(wrong.stderr.split())


# Headers of C++ that came with GCC 8 or later, or that GCC 7.3 has in parts only.
NEWER = {"any", "barrier", "bit", "charconv", "compare", "concepts", "coroutine", "execution", "expected", "filesystem",
         "format", "generator", "latch", "mdspan", "memory_resource", "numbers", "optional", "print", "ranges",
         "semaphore", "source_location", "span", "spanstream", "stacktrace", "stdfloat", "stop_token", "string_view",
         "syncstream", "variant", "version"}


def test_the_sources_need_nothing_newer_than_gcc_7_3():
    sources = [path for folder in ("inc", "src", "tests") for path in (HERE / folder).iterdir()]
    include = re.compile(r"^\s*#\s*include\s*<(?:experimental/)?([^>]+)>", re.MULTILINE)
    headers = {header for path in sources for header in include.findall(path.read_text(encoding="utf-8"))}
    assert len(sources) > 25 and "dirent.h" in headers and not headers & NEWER
    # GCC 7.3 supports all of C++14; the build refuses what is newer
    settings = (HERE / "CMakeLists.txt").read_text(encoding="utf-8")
    assert "set(CMAKE_CXX_STANDARD 14)" in settings and settings.count("PRIVATE -pedantic-errors") == 2
