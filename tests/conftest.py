"""Graph mode on CPU for every test, as the program has it."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from dgn import device as devices
from tests.training.tiny import write_images


@pytest.fixture(scope="session", autouse=True)
def device() -> str:
    name = devices.start("CPU")
    gc.freeze()  # MindSpore collects garbage before each compilation; what is loaded by now need not be visited
    return name


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A folder of ten small pictures."""
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
