"""Readers of files that may be damaged or come from somebody else: they raise OSError or ValueError, nothing else."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from dgn.errors import first_line

T = TypeVar("T")


def file_size(path: Path) -> int:
    """Bytes of a file. Raises OSError if it is missing or no regular file: a named pipe would block its reader, a
    device would never end."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is no regular file")
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


def is_number(value: object) -> bool:
    """Whether a value of JSON is a number with which floats can be computed, possibly not finite."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)
                                        and abs(value) < 2 ** 63)


@contextmanager
def _array_errors(path: Path) -> Iterator[None]:
    """Converts what NumPy, its parser of headers and zipfile raise for damage, exceptions of many kinds, to
    ValueError."""
    file_size(path)
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"damaged, or no arrays of NumPy ({first_line(error)})") from None


def read_array(path: Path, mmap_mode: Literal["r"] | None = None) -> np.ndarray:
    """The array of an .npy file. Raises OSError if it cannot be read, ValueError if it is damaged."""
    with _array_errors(path):
        array = np.load(path, mmap_mode, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive")
        return array


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, by name. Raises as read_array."""
    with _array_errors(path), np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
