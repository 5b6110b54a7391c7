"""What lets tests compile less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def batches_of(count: int) -> Iterator[None]:
    """No network decodes, encodes or infers more samples at once: it is compiled for few sizes of batch."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("nets.model", "inference.unseen"):
            patch.setattr(f"dgn.{module}.IMAGES_PER_BATCH", count)
        yield
