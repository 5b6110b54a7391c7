"""A comparison of a device's result with the expected result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dgn.config import Config
from dgn.errors import first_line

# Largest relative errors, ||result - expected|| / ||expected||: choices, not measurements on a device. float32 has 24
# bits; HF32 and TF32 have 11, as float16.
FLOAT32, SIXTEEN_BITS = 1e-4, 2e-2


class Check(NamedTuple):
    """The error of one quantity, and the largest accepted error."""

    name: str
    error: float
    tolerance: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is a number within the tolerance."""
        return bool(self.error <= self.tolerance)


@dataclass(frozen=True)
class Setup:
    """config: the recipe that gives the shapes. batch: number of samples. devices: number of devices of the training on
    several devices. quick: whether to run fewer checks. logs: folder for the output of other processes."""

    config: Config
    batch: int
    devices: int = 1
    quick: bool = False
    logs: Path | None = None

    @property
    def tolerance(self) -> float:
        """The tolerance for operators, whose inputs and weights are float32."""
        return SIXTEEN_BITS if self.config.numerics.hf32 else FLOAT32


def relative_error(result: np.ndarray, expected: np.ndarray) -> float:
    """||result - expected|| / ||expected||; infinite for other shapes, NaN for values that are not finite."""
    if result.shape != expected.shape:
        return float("inf")
    expected = expected.astype(np.float64)
    scale = max(float(np.linalg.norm(expected)), 1e-30)
    return float(np.linalg.norm(result.astype(np.float64) - expected)) / scale


def largest_error(results: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest relative error of several arrays; infinite if their number differs."""
    if len(results) != len(expected):
        return float("inf")
    return float(np.max([relative_error(a, b) for a, b in zip(results, expected)]))  # it propagates NaN


def guarded(name: str, checks: Iterator[Check]) -> Iterator[Check]:
    """The checks; if an exception ends them, a failed check is added, because a device may lack an operator."""
    try:
        yield from checks
    except Exception as error:  # whatever a device's library raises
        yield Check(name, float("inf"), 0.0, f"{type(error).__name__}: {first_line(error)}")
