"""What this process holds."""

from __future__ import annotations

import resource


def peak_memory() -> float:
    """The most memory that this process has held, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def private_memory() -> float:
    """MiB that this process holds and that are not pages of a file."""
    with open("/proc/self/smaps_rollup", encoding="utf-8") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith(("Anonymous:", "Swap:"))) / 1024
