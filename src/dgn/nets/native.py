"""Builds the C++ operators of this package with the machine's compiler, once, in a cache folder."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Callable, Optional, Tuple, Union

from mindspore import ops

FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-pthread", "-Wall", "-Wextra")


class BuildError(Exception):
    """The native operator could not be built; the message is the reason, in one line."""


def cache_folder() -> Path:
    """$DGN_CACHE, else the user's cache folder, else a new private folder."""
    chosen = os.environ.get("DGN_CACHE")
    if chosen:
        return Path(chosen)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dgn"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError:
        return _private_folder()
    return home if os.access(home, os.W_OK) else _private_folder()


@functools.lru_cache(maxsize=None)
def _private_folder() -> Path:
    """A new folder, which no other user can have put a library into."""
    return Path(tempfile.mkdtemp(prefix="dgn-"))


def _processor() -> str:
    """The processor's features, on which -march=native depends: a library built for another processor must not be
    loaded."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.machine())


def operator(source: str, name: str, result: Callable) -> ops.Custom:
    """The function `name` of a C++ file of this package as an operator.

    result(*inputs): the shapes of the outputs from those of the inputs, and likewise the types. Raises BuildError as
    `build` does.
    """
    library = build(Path(__file__).with_name(source))
    return ops.Custom(f"{library}:{name}", out_shape=result, out_dtype=result, func_type="aot")


def build(source: Path) -> Path:
    """The shared library of `source`, from the cache or compiled now.

    Raises BuildError if there is no compiler, it refuses, or the cache cannot be written.
    """
    texts = tuple(path.read_text() for path in (source, *sorted(source.parent.glob("*.h"))))
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    built = _build(source, texts, compiler, cache_folder())
    if isinstance(built, BuildError):
        raise built
    return built


@functools.lru_cache(maxsize=None)
def _build(source: Path, texts: Tuple[str, ...], compiler: Optional[str], cache: Path) -> Union[Path, BuildError]:
    """One attempt for each source, compiler and cache, whether it succeeds or fails."""
    try:
        return _compile(source, texts, compiler, cache)
    except BuildError as error:
        return error


def _compile(source: Path, texts: Tuple[str, ...], compiler: Optional[str], cache: Path) -> Path:
    if not compiler:
        raise BuildError("no C++ compiler (g++ or clang++) on PATH")
    key = hashlib.sha256()
    for part in (*texts, " ".join(FLAGS), compiler, platform.platform(), _processor()):
        key.update(part.encode())
    library = cache / f"{source.stem}-{key.hexdigest()[:16]}.so"
    if library.exists():
        return library
    try:
        library.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
            fresh = Path(scratch) / library.name
            built = subprocess.run([compiler, *FLAGS, str(source), "-o", str(fresh)], capture_output=True, text=True)
            if built.returncode:
                reason = built.stderr.strip().splitlines() or ["no message"]
                raise BuildError(f"{compiler} failed: {reason[0]}")
            os.replace(fresh, library)  # whole or not at all, also when two processes build at once
    except OSError as error:
        raise BuildError(str(error)) from error
    return library
