"""Graph mode on CPU for every test, as the program has it."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from dgn import device as devices
from tests import sources
from tests.training.tiny import write_images

LONGEST = ("test_scripts.py", "test_platforms.py", "test_distributed.py", "test_quality.py", "test_program.py",
           "test_clips.py", "test_hosts.py")  # minutes each, though some have few tests


def pytest_configure(config) -> None:
    config.option.loadscopereorder = False  # xdist would start the files with the fewest tests last
    sources.remember()


def pytest_collection_modifyitems(items) -> None:
    """The longest files first: of several processes none is left with one of them at the end."""
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def few_steps_for_pages():
    """A page is written within most trainings; its samples are shown after fewer noiseless steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dgn.page.samples.DESCENT_STEPS", 10)
        yield


@pytest.fixture(scope="session", autouse=True)
def device(few_steps_for_pages) -> str:
    return devices.start("CPU")


@pytest.fixture(scope="module", autouse=True)
def frozen(device) -> None:
    """MindSpore collects garbage before each compilation; what was loaded before this file need not be visited."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def frozen_again(frozen) -> None:
    """Nor what the fixtures and the tests before this one in its file left."""
    gc.freeze()


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A folder of ten small pictures."""
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
