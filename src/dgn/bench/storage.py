"""Time, disk and memory of the chains of one process, which do not depend on the size of the images."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dgn.bench.measures import private_memory
from dgn.files import disk_errors, sha256, sync
from dgn.inference.latents import LatentBank
from dgn.nets.model import LatentGroup
from dgn.randomness import generator
from dgn.training.batches import epoch_order

BATCH = 100


def costs(groups: Sequence[LatentGroup], samples: int, folder: Path) -> str:
    """Times everything that a training does with the chains of `samples` samples; as text.

    The files are in a temporary folder within `folder`. Raises RunFailed if the disk refuses.
    """
    laps: list[tuple[str, float]] = []
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        laps.append((name, time.perf_counter() - began))
        began = time.perf_counter()

    with disk_errors(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".bench-") as scratch:
        root = Path(scratch)
        before, began = private_memory(), time.perf_counter()
        bank = LatentBank.create(root / "first", groups, samples, seed=1)
        lap("first chains drawn from the prior and written")
        (root / "checkpoint").mkdir()
        files = bank.save(root / "checkpoint")
        lap("checkpoint: copied")
        for file in files:
            sync(file)
        lap("checkpoint: flushed to disk")
        for file in files:
            sha256(file)
        lap("checkpoint: digests")
        LatentBank.open(root / "checkpoint", groups, 1).copy_shard(root / "again", groups, 0, 1)
        lap("resumed: read and copied to the shard")
        bank.power_sums()
        lap("an epoch's mean and deviation")
        order = epoch_order(samples, min(BATCH, samples), functools.partial(generator, 1, "order", 0))
        lap(f"an epoch's order ({order.nbytes / 2 ** 20:.0f} MiB)")
        for indices in order[:100]:
            bank.write(indices, bank.read(indices))
        lap(f"a batch of {order.shape[1]} read and written, 100 times")
        size, grown = sum(file.stat().st_size for file in files), private_memory() - before
    lines = [f"{name:52} {1e3 * seconds:10.1f} ms" for name, seconds in laps]
    return "\n".join([f"chains of {samples:,} samples, {size / 1e9:.2f} GB", *lines,
                      f"memory that is not backed by files: {grown:.0f} MiB more"])
