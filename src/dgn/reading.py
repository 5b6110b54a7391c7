"""Readers of files that may be damaged or come from somebody else: they raise OSError or ValueError, nothing else."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from dgn.errors import first_line

T = TypeVar("T")


def file_size(path: Path) -> int:
    """Bytes of a file. Raises OSError if it is missing or no regular file: a named pipe would block its reader, a
    device would never end."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
    return status.st_size


def read_json(path: Path, kind: type[T]) -> T:
    """The value of a JSON file. Raises OSError if it cannot be read, ValueError if it is damaged or no `kind`, which is
    dict or list."""
    file_size(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, kind):
        raise ValueError("it holds no " + ("keys and values" if kind is dict else "list"))
    return value


def is_finite(value: object) -> bool:
    """Whether a value of JSON is a finite number in the range of floats."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def read_arrays(path: Path, mmap_mode: Literal["r"] | None = None) -> Any:
    """The array of an .npy file, or the arrays of an .npz file by name. Raises OSError if it cannot be read, ValueError
    if it is damaged or of the other kind."""
    file_size(path)
    try:
        stored = np.load(path, mmap_mode, allow_pickle=False)
        if isinstance(stored, np.ndarray) != (path.suffix == ".npy"):
            raise ValueError("its name has another ending")
        if path.suffix == ".npy":
            return stored
        with stored:
            return dict(stored)
    except OSError:
        raise
    except Exception as error:  # of many kinds, also from NumPy's parser of headers and zipfile
        raise ValueError(f"damaged, or no arrays of NumPy ({first_line(error)})") from None
