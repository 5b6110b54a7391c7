"""MindSpore reads and parses the source of every function again for each compilation: 8 % of its time."""

from __future__ import annotations

import functools
import inspect


def remember() -> None:
    """Reads each source once in this process."""
    inspect.getsourcelines = functools.lru_cache(maxsize=None)(inspect.getsourcelines)
