"""Graph mode on CPU for every test, as the program has it."""

from __future__ import annotations

import os

os.environ.setdefault("GLOG_v", "3")

import numpy as np
import pytest

from dgn import runtime


@pytest.fixture(scope="session", autouse=True)
def device() -> str:
    return runtime.start("CPU")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
