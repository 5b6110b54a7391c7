"""A file or folder of a shared fixture that is away while a block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def moved(path: Path, elsewhere: Path) -> Iterator[None]:
    """Moves `path`; what is at `path` afterwards is replaced by it, also if the block fails."""
    path.rename(elsewhere)
    try:
        yield
    finally:
        elsewhere.replace(path)
