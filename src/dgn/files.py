"""Files that are whole or absent: written beside their place, flushed to disk, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import numpy as np

from dgn.errors import RunFailed, UserError


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns what the disk refuses within the block into RunFailed naming the path."""
    try:
        yield
    except OSError as error:
        raise RunFailed(f"cannot write {path}: {error.strerror or error}") from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when the block ends well.

    Raises RunFailed naming the path if the disk refuses; what stood there before is then untouched.
    """
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield beside
            sync(beside)
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def new_folder(path: Path) -> Path:
    """Makes a folder for results. Raises UserError if it holds files already or cannot be made."""
    try:
        if path.is_dir() and any(path.iterdir()):
            raise UserError(f"{path} is not empty; choose another output folder")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the output folder {path}: {error.strerror or error}") from None
    return path


def png_name(name: str) -> str:
    """The name of the PNG file made from an image: kept if it ends in .png, else with .png added, so that a.jpg and a.png
    stay apart. Raises UserError if the name would lead out of its folder."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"the image name {name!r} leads out of the output folder")
    return name if name.lower().endswith(".png") else f"{name}.png"


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by `text`."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_array(path: Path, array: np.ndarray) -> None:
    """Replaces `path` by an .npy of `array`."""
    with replacing(path) as beside, open(beside, "wb") as file:
        np.save(file, array, allow_pickle=False)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Replaces `path` by an .npz of `arrays`."""
    with replacing(path) as beside, open(beside, "wb") as file:
        np.savez(file, **arrays)


def append_line(path: Path, line: str) -> None:
    """Adds a line to a text file. Raises RunFailed naming the path if the disk refuses."""
    with disk_errors(path), open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")


def write_json(path: Path, value: Any) -> None:
    """Replaces `path` by `value` as JSON."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Flushes a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
