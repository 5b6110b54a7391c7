"""The C++ kernels are built once and loaded; where that fails there is one line, and a private folder or MindSpore's
operators."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import stat
import tempfile
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from dgn.errors import UserError
from dgn.nets import native, warp
from dgn.nets.warp import make_warp

WARP = Path(native.__file__).with_name("warp_cpu.cc")
NOBODY, UNKNOWN = 65534, 12345  # users: the latter has no account


@pytest.fixture
def source(tmp_path) -> Path:
    """A C++ file."""
    path = tmp_path / "answer.cc"
    path.write_text('extern "C" int Answer() { return 42; }\n')
    return path


@pytest.fixture(autouse=True)
def fresh(monkeypatch, caplog):
    """No attempt, folder or warning of another test is remembered, and what is logged is kept."""
    for function in (native._build, native.warn_once, native._private_folder):
        function.cache_clear()
    caplog.set_level(logging.WARNING)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    yield
    for function in (native._build, native.warn_once):
        function.cache_clear()


def answer(library: Path) -> int:
    return ctypes.CDLL(str(library)).Answer()


def test_a_library_is_built_once(monkeypatch, tmp_path, source, caplog):
    monkeypatch.setenv("DGN_CACHE", str(tmp_path / "cache"))
    library = native.build(source)
    built = library.stat().st_mtime_ns
    native._build.cache_clear()
    assert native.build(source) == library and library.stat().st_mtime_ns == built
    assert answer(library) == 42 and not caplog.records
    assert library.parent == native.cache_folder() == tmp_path / "cache"
    assert stat.S_IMODE(library.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("text, compiler, message", [
    ("#include <vector>\nnot C++\n", None, r"g\+\+ failed: .*answer.cc:2:1: error"),
    ("", "no-such-compiler -x", "cannot run no-such-compiler -x: No such file"),
    ("", "false", "false failed: no message")])
def test_what_the_compiler_refuses_is_reported(monkeypatch, tmp_path, source, text, compiler, message):
    monkeypatch.setenv("DGN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", compiler or shutil.which("g++"))
    source.write_text(text)
    with pytest.raises(native.BuildError, match=message) as error:
        native.build(source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.999])
def test_a_truncated_library_is_built_again(monkeypatch, tmp_path, source, keep):
    monkeypatch.setenv("DGN_CACHE", str(tmp_path / "whole"))
    whole = native.build(source)
    content = whole.read_bytes()
    (tmp_path / "cut").mkdir()
    cut = tmp_path / "cut" / whole.name
    cut.write_bytes(content[:int(keep * len(content)) if isinstance(keep, float) else keep])
    monkeypatch.setenv("DGN_CACHE", str(cut.parent))
    assert native.build(source) == cut and cut.read_bytes() == content and answer(cut) == 42


def test_a_read_only_cache_with_the_library_is_used(monkeypatch, tmp_path, source, caplog):
    monkeypatch.setenv("DGN_CACHE", str(tmp_path / "cache"))
    library = native.build(source)
    native._build.cache_clear()
    monkeypatch.setattr(native.tempfile, "TemporaryDirectory", lambda **_: pytest.fail("the library is written again"))
    assert native.build(source) == library and not caplog.records


def only_line(caplog) -> str:
    """The message of the only warning, one line."""
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1 and "\n" not in messages[0], messages
    return messages[0]


def in_private_folder(library: Path, caplog, reason: str) -> None:
    """The library is in a new folder, readable by this user alone, and one line gives the reason."""
    message = only_line(caplog)
    assert library.parent == native._private_folder() and stat.S_IMODE(library.parent.stat().st_mode) == 0o700
    assert reason in message and str(library.parent) in message and "only for this process" in message
    assert answer(library) == 42


@pytest.mark.parametrize("folder, reason", [
    ("answer.cc/cache", "Not a directory"), ("/proc/dgn", "/proc/dgn: No such file or directory"), ("a:b", "a colon"),
    ("caf\udce9", "not text"), ("line\nbreak", "not text")])
def test_an_unusable_cache_folder(monkeypatch, tmp_path, source, caplog, folder, reason):
    monkeypatch.setenv("DGN_CACHE", str(tmp_path / folder))
    in_private_folder(native.build(source), caplog, reason)


def test_no_home_and_an_unknown_user(monkeypatch, source, caplog):
    for name in ("HOME", "DGN_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")
    monkeypatch.setattr("pwd.getpwuid", unknown)
    in_private_folder(native.build(source), caplog, "no home folder")


def test_the_cache_of_another_user(monkeypatch, tmp_path):
    """Root, as in a container, sets another user; any other user closes the folder to himself."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o700)
    monkeypatch.setenv("DGN_CACHE", str(theirs))
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
    else:
        theirs.chmod(0)
    try:
        folder, reason = native._kept_folder()
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        else:
            theirs.chmod(0o700)
    assert folder is None and reason == f"{theirs}: Permission denied"


def test_a_cache_that_others_can_write_to_is_not_used(monkeypatch, tmp_path, source, caplog):
    """Nor a library in it, which would be loaded; in the user's own folder, such a library is built again."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("DGN_CACHE", str(cache))
    library = native.build(source)
    library.unlink()  # it is loaded
    library.write_bytes(b"theirs" + hashlib.sha256(b"theirs").digest())
    library.chmod(0o775)
    native._build.cache_clear()
    assert native.build(source) == library and answer(library) == 42 and not caplog.records
    assert stat.S_IMODE(library.stat().st_mode) == 0o755
    cache.chmod(0o770)
    in_private_folder(native.build(source), caplog, f"{cache} belongs to another user, or others can write to it")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_folder_and_the_library_of_another_user_are_not_used(monkeypatch, tmp_path, source):
    cache = tmp_path / "cache"
    monkeypatch.setenv("DGN_CACHE", str(cache))
    library = native.build(source)
    os.chown(library, NOBODY, -1)
    assert not native._is_intact(library)
    os.chown(cache, NOBODY, -1)
    assert native._kept_folder() == (None, f"{cache} belongs to another user, or others can write to it (chmod go-w)")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("place", ["no home", "readable cache", "closed cache"])
def test_an_unknown_user_builds_in_a_private_folder(place):
    """A process of a user without an account and without HOME, in truth: with no cache, and with root's."""
    with tempfile.TemporaryDirectory() as folder:  # (those of pytest are closed to other users)
        os.chmod(folder, 0o755)
        source, theirs = Path(folder) / "answer.cc", Path(folder) / "theirs"
        source.write_text('extern "C" int Answer() { return 42; }\n')
        theirs.mkdir(mode=0o755 if place == "readable cache" else 0o700)
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(UNKNOWN)
                os.setuid(UNKNOWN)
                for name in ("HOME", "DGN_CACHE"):
                    os.environ.pop(name, None)
                if place != "no home":
                    os.environ["DGN_CACHE"] = str(theirs)
                library = native.build(source)
                os.write(writes, f"{answer(library)} {library.parent.parent}".encode())
                shutil.rmtree(library.parent)
            except BaseException as error:  # noqa: B036  (the child must not return to pytest)
                os.write(writes, repr(error).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reads, 4096).decode() == f"42 {tempfile.gettempdir()}"
        os.close(reads)
        os.close(writes)


def without_exec(monkeypatch, *folders: Path) -> None:
    """Loading fails in these folders as on a file system that is mounted without permission to execute."""
    load = ctypes.CDLL

    def refuse(path, *args, **options):
        if any(Path(path).is_relative_to(folder) for folder in folders):
            raise OSError(f"{path}: failed to map segment from shared object")
        return load(path, *args, **options)
    monkeypatch.setattr(native.ctypes, "CDLL", refuse)


def test_a_cache_without_permission_to_execute(monkeypatch, tmp_path, source, caplog):
    cache = tmp_path / "cache"
    monkeypatch.setenv("DGN_CACHE", str(cache))
    without_exec(monkeypatch, cache)
    in_private_folder(native.build(source), caplog, f"{cache}: failed to map segment from shared object")


def test_no_folder_at_all_with_permission_to_execute(monkeypatch, tmp_path, caplog):
    """MindSpore's operators are used, with one line for all of them."""
    cached = native.build(WARP)
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("DGN_CACHE", str(tmp_path / "cache"))
    for folder in (tmp_path / "cache", native._private_folder()):
        shutil.copy(cached, folder)
    without_exec(monkeypatch, tmp_path / "cache", native._private_folder())
    for _ in range(2):
        assert isinstance(make_warp("auto", 8, 8), warp.ReferenceWarp)
    message = only_line(caplog)
    assert message.startswith(f"no C++ kernels ({tmp_path / 'cache'}: failed to map") and "MindSpore's own" in message
    with pytest.raises(UserError, match="model.warp native cannot be built or loaded here: .*failed to map segment"):
        make_warp("native", 8, 8)


@pytest.mark.parametrize("temporary, reason", [("none", "No such file or directory"), ("c:d", ".*a colon")])
def test_no_temporary_folder_either(monkeypatch, tmp_path, source, temporary, reason):
    (tmp_path / "c:d").mkdir()
    monkeypatch.setenv("DGN_CACHE", str(tmp_path / "a:b"))
    monkeypatch.setattr(native.tempfile, "tempdir", str(tmp_path / temporary))
    with pytest.raises(native.BuildError, match=f"a colon.*; in a temporary folder: {reason}"):
        native.build(source)


@pytest.mark.parametrize("folder", ["a:b", "my cäche (1), it's"])
def test_the_kernels_run_whatever_the_folder(monkeypatch, tmp_path, rng, folder):
    """From a private folder where a path has a colon; from the folder itself with spaces, accents and signs."""
    cached = native.build(WARP)
    monkeypatch.setenv("DGN_CACHE", str(tmp_path / folder))
    place = native.cache_folder()
    shutil.copy(cached, place)
    net = make_warp("native", 8, 8)
    assert (place == tmp_path / folder) == (":" not in folder)
    assert net.forward.func == f"{place / cached.name}:WarpForward"
    image, zero = rng.random((1, 3, 8, 8), np.float32), np.zeros((1, 2, 8, 8), np.float32)
    np.testing.assert_allclose(net(ms.Tensor(image), ms.Tensor(zero)).asnumpy(), image, atol=1e-6)


def test_a_path_that_mindspore_excludes(monkeypatch, tmp_path):
    monkeypatch.setenv("MS_CUSTOM_AOT_WHITE_LIST", str(tmp_path))
    with pytest.raises(UserError, match="native cannot be built or loaded here: .*the legal path"):
        make_warp("native", 8, 8)
