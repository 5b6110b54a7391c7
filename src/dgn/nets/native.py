"""Builds the C++ operators of this package with the machine's compiler, once, in a cache folder, and loads them.

Errors of compiler, folder or library are detected here, before MindSpore compiles a graph with the operator.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from mindspore import ops

from dgn import machine

log = logging.getLogger(__name__)

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra")
DIGEST = hashlib.sha256().digest_size  # a library is followed by its SHA-256, which the loader ignores


class BuildError(Exception):
    """The C++ operators cannot be built or loaded; the message is the reason, in one line."""


def operator(source: str, name: str, result: Callable) -> ops.Custom:
    """The function `name` of a C++ file of this package as an operator.

    result: function from the shapes of the inputs to the shapes of the outputs, and from types to types. Raises
    BuildError, see `build`.
    """
    library = build(Path(__file__).with_name(source))
    try:
        return ops.Custom(f"{library}:{name}", out_shape=result, out_dtype=result, func_type="aot")
    except TypeError as error:  # a path that MS_CUSTOM_AOT_WHITE_LIST excludes
        raise BuildError(" ".join(str(error).split())) from error


def build(source: Path) -> Path:
    """The shared library of `source`, which is taken from the cache folder or compiled, and loaded.

    If the cache folder cannot be used (not writable, writable by other users, a file system that forbids execution),
    the library is built in a private folder, with a warning. Raises BuildError if there is no compiler, if it fails, or
    if the library cannot be loaded from the private folder either.
    """
    texts = tuple(path.read_text(encoding="utf-8") for path in (source, *sorted(source.parent.glob("*.h"))))
    built = _build(source, texts, machine.compiler(), *_kept_folder())
    if isinstance(built, BuildError):
        raise built
    return built


def cache_folder() -> Path:
    """The folder of the libraries: $DGN_CACHE, else dgn in the user's cache folder, else a private folder."""
    folder, _ = _kept_folder()
    return folder or _private_folder()


def _kept_folder() -> tuple[Path | None, str]:
    """The cache folder, or None and the reason why it cannot be used."""
    chosen, caches = os.environ.get("DGN_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(chosen) if chosen else Path(caches or "~/.cache") / "dgn").expanduser().absolute()
        _check_path(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.listdir(folder)  # fails for a folder of another user without permission
        if not _is_own(folder):
            return None, f"{folder} belongs to another user, or others can write to it (chmod go-w)"
    except RuntimeError:
        return None, "no home folder"
    except OSError as error:
        return None, f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return folder, ""


def _is_own(path: Path) -> bool:
    """Whether only this user and root can have written a file, or the files of a folder."""
    status = path.stat()
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _check_path(folder: Path) -> None:
    """Raises OSError for a path that ops.Custom does not support; it separates path and function by a colon."""
    name = os.fspath(folder.absolute())
    if ":" in name or not name.isprintable():
        raise OSError(f"MindSpore loads no library from a path with a colon or with bytes that are not text, {name!a}")


@functools.cache
def _private_folder() -> Path:
    """A new folder, in which no other user can have placed a library; it is removed when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="dgn-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def _build(source: Path, texts: tuple[str, ...], compiler: str | None, folder: Path | None,
           reason: str) -> Path | BuildError:
    """Builds once for each source, compiler and folder, and returns the library or the error. reason: why `folder` is
    None."""
    try:
        if not compiler:
            raise BuildError("no C++ compiler (g++ or clang++) on PATH")
        name = f"{source.stem}-{_key(texts, compiler)}.so"
        if folder is not None:
            try:
                return _loaded(folder / name, source, compiler)
            except OSError as error:
                reason = f"{folder}: {_cause(error)}"
        try:
            private = _private_folder()
            _check_path(private)
            library = _loaded(private / name, source, compiler)
        except OSError as error:
            raise BuildError(f"{reason}; in a temporary folder: {_cause(error)}") from error
        warn_once(f"{reason}; the C++ kernels are built in {private}, only for this process")
        return library
    except BuildError as error:
        return error


def _cause(error: OSError) -> str:
    """The reason without file names. (Errors of the loader have no errno; their text is "file: reason".)"""
    return error.strerror or str(error).split(": ")[-1]


def _key(texts: tuple[str, ...], compiler: str) -> str:
    """A digest of everything that a library depends on, for its file name."""
    key = hashlib.sha256()
    version = machine.compiler_version(compiler) or ""  # the command may become another compiler, or a newer one
    features = machine.cpuinfo("flags", "Features") or platform.machine()  # on which -march=native depends
    for part in (*texts, " ".join(FLAGS), compiler, version, platform.platform(), features):
        key.update(part.encode())
    return key.hexdigest()[:16]


def _loaded(library: Path, source: Path, compiler: str) -> Path:
    """Compiles the library if it is missing, damaged or not this user's, and loads it. Raises OSError if it cannot be
    written or loaded, BuildError if it cannot be compiled."""
    if not _is_intact(library):
        with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
            fresh = Path(scratch) / library.name
            _compile(source, fresh, compiler)
            with open(fresh, "ab") as file:
                file.write(hashlib.sha256(fresh.read_bytes()).digest())
            fresh.chmod(0o755)
            os.replace(fresh, library)  # atomic, also when two processes build at once
    ctypes.CDLL(os.fspath(library))
    return library


def _is_intact(library: Path) -> bool:
    """Whether a library exists, is this user's, and has its recorded digest. Loading a truncated library could end the
    process."""
    try:
        own, content = _is_own(library), library.read_bytes()
    except FileNotFoundError:
        return False
    return own and hashlib.sha256(content[:-DIGEST]).digest() == content[-DIGEST:]


def _compile(source: Path, library: Path, compiler: str) -> None:
    """Raises BuildError with the compiler's first error, OSError if the disk is full."""
    try:
        command = [*shlex.split(compiler), *FLAGS, os.fspath(source), "-o", os.fspath(library)]
    except ValueError as error:
        raise BuildError(f"CXX is {compiler}, which cannot be split into words: {error}") from None
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise BuildError(f"cannot run {compiler}: {error.strerror}") from error
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no message"]
        if any(os.strerror(errno.ENOSPC) in line for line in lines):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise BuildError(f"{compiler} failed: {next((line for line in lines if 'error' in line), lines[0])}")


@functools.cache
def warn_once(message: str) -> None:
    """Logs a warning once in a process, instead of for every layer."""
    log.warning(message)
