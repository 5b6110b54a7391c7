"""The lists of required packages agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dgn import device

ROOT = Path(__file__).parents[1]


def required(name: str) -> list[str]:
    """The requirements in a file, without comments and references to other files."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("-")]


def test_the_extras_are_those_of_the_tests():
    toml = pytest.importorskip("tomllib", reason="Python 3.11 reads TOML")
    project = toml.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras, of_tests = project["optional-dependencies"], required("tests/requirements.txt")
    pytest_itself = [line for line in required("requirements.txt") if line.startswith("pytest>")]
    assert sorted(extras["test"]) == sorted([*of_tests, *pytest_itself])
    assert set(extras["onnx"]) <= set(of_tests)


def test_the_versions_of_mindspore_and_numpy_are_those_that_the_program_accepts():
    oldest, beyond = (".".join(map(str, version)) for version in device.MINDSPORE)
    mindspore, numpy, *_ = required("requirements.txt")
    assert mindspore == f"mindspore>={oldest},<{beyond}"
    assert re.fullmatch(rf"numpy>=[\d.]+,<{device.NUMPY_BELOW}", numpy)
