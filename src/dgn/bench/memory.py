"""Memory of this process."""

from __future__ import annotations

import resource


def peak_memory() -> float:
    """The largest resident size of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def private_memory() -> float:
    """Memory of this process that is not backed by a file, MiB."""
    with open("/proc/self/smaps_rollup", encoding="utf-8") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith(("Anonymous:", "Swap:"))) / 1024
