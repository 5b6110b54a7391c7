"""Time on a noisy machine (candidates take turns, ratios are taken within a turn), and memory of this process."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Mapping


def measure(candidates: Mapping[str, Callable[[], object]], rounds: int = 7,
            warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds of every call by candidate, after uncounted warm-up calls. The candidates are called in turn, A B A B
    ..."""
    for _ in range(warm_up):
        for call in candidates.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, call in candidates.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(seconds: Mapping[str, list[float]], slow: str, fast: str) -> float:
    """The factor by which `fast` is faster than `slow`: the median over turns."""
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast]))


def peak_memory() -> float:
    """The largest resident size of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def private_memory() -> float:
    """Memory of this process that is not backed by a file, MiB."""
    with open("/proc/self/smaps_rollup", encoding="utf-8") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith(("Anonymous:", "Swap:"))) / 1024
