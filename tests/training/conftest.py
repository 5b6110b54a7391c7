"""Runs that several files compare with."""

from __future__ import annotations

import pytest

from tests.training.processes import OPTIONS, launch
from tests.training.tiny import arguments


@pytest.fixture(scope="module")
def alone(images, tmp_path_factory):
    """One process, the whole batch: 8 images in batches of 4, one of each of 4 shards; 10 epochs, 20 steps."""
    folder = tmp_path_factory.mktemp("alone")
    launch(1, folder, arguments(images, folder / "run", 10, *OPTIONS))
    return folder / "run"
