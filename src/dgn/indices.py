"""Selections of samples."""

from __future__ import annotations

import numpy as np


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """Indices of at most `most` evenly spaced samples of `count`, from the first to the last."""
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))
