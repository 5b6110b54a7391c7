"""Atomic writes: to a temporary file in the same folder, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import platform
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from dgn.errors import RunFailed, UserError
from dgn.reading import file_size

log = logging.getLogger(__name__)

LONGEST_NAME = 251  # bytes: Linux allows 255, and .png or .npy is added


@contextmanager
def disk_errors(path: Path, what: str = "write") -> Iterator[None]:
    """Converts an OSError within the block to RunFailed: "cannot write PATH", or another verb."""
    try:
        yield
    except OSError as error:
        raise RunFailed(f"cannot {what} {path}: {error.strerror or error}") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, which is renamed to `path` when the block ends without an error.

    Raises RunFailed naming the path if it cannot be written; an existing file is then unchanged.
    """
    name = path.name[-32:]  # with the suffix, by which writers choose a format; the whole may be as long as possible
    temporary = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}-{name}")  # of one writer among all hosts
    try:
        with disk_errors(path):
            if path.exists() and not path.is_file():  # root could even replace a device such as /dev/null
                raise OSError("it is no regular file")
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.touch(exist_ok=False)
            yield temporary
            sync(temporary)
            os.replace(temporary, path)
    finally:
        with suppress(OSError):  # on a read-only file system even a missing file is an error
            temporary.unlink(missing_ok=True)


def check_new_folder(path: Path) -> None:
    """Raises UserError if `path` cannot become a folder for results: a file, a folder with files, unreadable."""
    check_utf8(path)
    try:
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} is a file; choose another output folder")
        if path.is_dir() and any(path.iterdir()):
            raise UserError(f"{path} is not empty; choose another output folder")
    except OSError as error:
        raise UserError(f"cannot use the output folder {path}: {error.strerror or error}") from None


def new_folder(path: Path) -> Path:
    """Creates a folder for results. Raises UserError if it already holds files or cannot be created."""
    check_new_folder(path)
    return make_folder(path)


def make_folder(path: Path) -> Path:
    """Creates a folder if it is missing. Raises UserError if it cannot be created."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot create the output folder {path}: {error.strerror or error}") from None
    return path


def check_outside(output: Path, data: str | Path | None) -> None:
    """Raises UserError if `output` is, or lies in, the folder of images `data`, because pictures written there would
    become images of the data."""
    if data is not None and Path(data).is_dir() and output.resolve().is_relative_to(Path(data).resolve()):
        raise UserError(f"the output {output} lies in the folder of images {data}, where its pictures would be taken "
                        "for images; choose an output outside of it")


def expanded(path: str | Path) -> Path:
    """A path with its ~ expanded."""
    return Path(os.path.expanduser(path))


def resolve_all(paths: Iterable[Path]) -> list[str]:
    """Each path without symbolic links, as Path.resolve gives it. Each folder is resolved and listed once, because
    there may be many files in it."""
    folders: dict[str, tuple[str, set[str]]] = {}
    resolved = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            real = os.path.realpath(folder)
            folders[folder] = real, _links(real)
        real, links = folders[folder]
        file = os.path.join(real, name)
        resolved.append(os.path.realpath(file) if name in links else file)
    return resolved


def _links(folder: str) -> set[str]:
    """Names of the symbolic links in a folder; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except OSError:
        return set()


def check_utf8(path: object) -> None:
    """Raises UserError for a path that is not UTF-8, or that the locale's encoding cannot represent."""
    if not is_utf8(path):
        encoding = sys.getfilesystemencoding()
        if encoding.lower() not in ("utf-8", "utf8"):
            raise UserError(f"{escaped(path)}: the locale's encoding, {encoding}, cannot represent this name; set "
                            "LC_ALL=C.UTF-8")
        raise UserError(f"{escaped(path)}: the name is not UTF-8; rename it")


def is_utf8(path: object) -> bool:
    """Whether a path is UTF-8; Linux also allows other bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(path: object) -> str:
    """A path for messages: unchanged if it is UTF-8, else with its other bytes escaped, such as b'caf\\xe9.png'."""
    return str(path) if is_utf8(path) else repr(os.fsencode(str(path)))


def png_name(name: str) -> str:
    """The name of the PNG file of an image: unchanged if it ends in .png, else with .png added, so that a.jpg and
    a.png have different ones. Raises UserError if the name leads out of its folder, or is too long for more."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"the image name {name!r} leads out of the output folder")
    if len(os.fsencode(Path(name).name)) > LONGEST_NAME:
        raise UserError(f"{name}: the name has more than {LONGEST_NAME} bytes, and files named after it would have too "
                        "many; rename it")
    return name if name.lower().endswith(".png") else f"{name}.png"


def png_names(names: Sequence[str]) -> list[str]:
    """`png_name` of each image. Raises UserError for two images with one path, such as a.jpg and ./a.jpg.png."""
    outputs: dict[str, str] = {}
    for name in names:
        output = os.path.normpath(png_name(name))
        if output in outputs:
            raise UserError(f"{outputs[output]} and {name} would both be written to {output}; rename one of them")
        outputs[output] = name
    return list(outputs)


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by `text`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_array(path: Path, array: np.ndarray) -> None:
    """Replaces `path` by an .npy of `array`."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array, allow_pickle=False)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Replaces `path` by an .npz of `arrays`."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def open_log(path: Path) -> TextIO:
    """Opens a text file for reading and adding to its end. Raises RunFailed naming the path if it cannot be written, or
    is a symbolic link: a run folder of somebody else may hold one to any file of this user."""
    with disk_errors(path):
        if path.is_symlink():
            raise OSError("it is a symbolic link to another file; remove it")
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        return open(handle, "a+", encoding="utf-8", errors="backslashreplace")  # paths need not be UTF-8


@contextmanager
def locked(path: Path, resource: Path) -> Iterator[None]:
    """Locks the file `path`, and with it `resource`, for this process within the block by a POSIX lock, which the
    system releases when the process ends; some shared file systems do not support it. Raises UserError, naming the
    holder, if another process has the lock."""
    with open_log(path) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EAGAIN):
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise UserError(f"{resource} is in use by {holder}; wait for it, or stop it") from None
            log.warning("%s: no lock on this file system (%s); no other process may use %s", path, error.strerror,
                        resource)
        with disk_errors(path):
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
            file.flush()
        yield


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Only one process at a time is within such a block for a folder, which is created if it is missing; others wait.
    On file systems without locks on folders it has no effect. Raises RunFailed if the folder cannot be opened."""
    with disk_errors(folder, "open"):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Locks a folder for this process within the block by its file .lock, which is removed at the end. Raises UserError
    as `locked`."""
    path = folder / ".lock"
    with locked(path, folder):
        try:
            yield
        finally:
            with suppress(OSError):  # while it is locked: later it may be that of another process
                path.unlink()


def append_line(path: Path, line: str) -> None:
    """Adds a line to a text file. Raises RunFailed as open_log."""
    with disk_errors(path), open_log(path) as file:
        file.write(line + "\n")


def retire(path: Path, suffix: str) -> Path:
    """Renames a file to STEM_suffix, or if that exists to STEM_suffix_2, STEM_suffix_3 ...; returns its new path.
    Raises RunFailed."""
    kept, number = path.with_stem(f"{path.stem}_{suffix}"), 2
    while kept.exists():
        kept, number = path.with_stem(f"{path.stem}_{suffix}_{number}"), number + 1
    with disk_errors(path):
        os.replace(path, kept)
    return kept


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` by `value` as JSON."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file. Raises OSError as file_size."""
    file_size(path)
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def apply_umask(path: Path) -> None:
    """Gives a file the mode of any new file: MindSpore makes its own readable only for their owner. Raises OSError."""
    umask = os.umask(0o077)  # it can be read only by setting it
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def sync(path: Path) -> None:
    """Flushes a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
