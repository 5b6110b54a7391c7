"""Random numbers that are a function of what they are for, not of what was drawn before.

Every draw names its purpose and its place (epoch, batch, image ...), so a resumed run or another order of calls sees the
same values, and there is no generator state to save.
"""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, purpose: str, *place: int) -> np.random.Generator:
    """A NumPy generator for one `purpose` at one `place`; the same on every machine.

    >>> generator(1, "noise", 3, 0).integers(10) == generator(1, "noise", 3, 0).integers(10)
    True
    """
    # the length counts too: NumPy takes a place (3,) and a place (3, 0) for the same
    entropy = [seed, zlib.crc32(purpose.encode()), len(place), *place]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
