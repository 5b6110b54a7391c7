"""Random numbers keyed by purpose and position, without a generator state.

Every draw names its purpose and its position (epoch, batch, image ...), so a resumed run or another order of calls
draws the same values, and there is no state to save.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from dgn.errors import UserError


def generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A NumPy generator for one `purpose` at one `position`; the same on every machine.

    >>> generator(1, "noise", 3, 0).integers(10) == generator(1, "noise", 3, 0).integers(10)
    True
    """
    # with the length, as NumPy treats the keys (3,) and (3, 0) as equal
    entropy = [seed, zlib.crc32(purpose.encode()), len(position), *position]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


def checked_seed(seed: Any) -> int:
    """A random seed. Raises UserError unless it is an integer, at least 0."""
    if not isinstance(seed, (int, np.integer)) or seed < 0:
        raise UserError(f"seed is {seed!r}; it must be an integer, at least 0")
    return int(seed)
