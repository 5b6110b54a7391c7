"""The C++ kernels are built once, and what cannot be built is reported."""

from __future__ import annotations

import pytest

from dgn.nets import native


def test_a_library_is_built_once_and_a_broken_source_is_reported(monkeypatch, tmp_path):
    monkeypatch.setenv("DGN_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "answer.cc"
    source.write_text('extern "C" int Answer() { return 42; }\n')
    library = native.build(source)
    built = library.stat().st_mtime_ns
    assert native.build(source) == library and library.stat().st_mtime_ns == built
    source.write_text("not C++\n")
    with pytest.raises(native.BuildError, match="failed"):
        native.build(source)
