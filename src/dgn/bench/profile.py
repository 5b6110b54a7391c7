"""A trace of the graphs of a training by MindSpore's profiler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mindspore as ms

from dgn import device
from dgn.bench.calls import waiting
from dgn.bench.graphs import Graph

# names of mindspore.profiler.ProfilerActivity; its members are looked up when they are needed
ACTIVITIES = {"Ascend": ("CPU", "NPU"), "GPU": ("CPU", "GPU"), "CPU": ("CPU",)}
ROUNDS = 3  # calls in a trace


def profile(graphs: Mapping[str, Graph], folder: Path) -> Path:
    """Traces ROUNDS calls of every graph of a training but the decoder's, after one each that compiles it if it is
    not compiled. Returns the folder in `folder` that the profiler made; trace_view.json in it opens in MindStudio
    Insight, chrome://tracing or Perfetto.

    graphs: of dgn.bench.graphs.training_graphs.
    """
    return trace([waiting(cell, *inputs) for name, (cell, inputs) in graphs.items() if name != "decoder"], folder)


def trace(calls: Sequence[Callable[[], object]], folder: Path) -> Path:
    """Traces calls, each once before without a trace."""
    for call in calls:
        call()
    before = set(folder.glob("*"))
    activities = [ms.profiler.ProfilerActivity[name] for name in ACTIVITIES[device.current()]]
    with ms.profiler.profile(activities=activities,
                             on_trace_ready=ms.profiler.tensorboard_trace_handler(str(folder))) as profiler:
        for _ in range(ROUNDS):
            for call in calls:
                call()
            profiler.step()
    return max(set(folder.glob("*")) - before, key=lambda path: path.stat().st_mtime)
