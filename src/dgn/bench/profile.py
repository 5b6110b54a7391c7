"""A trace of the sampler and of the training step by MindSpore's profiler."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Sequence

import mindspore as ms
import numpy as np
from mindspore.profiler import ProfilerActivity

from dgn import device
from dgn.bench import calls as parts
from dgn.config import Config
from dgn.nets.build import make_model

ACTIVITIES = {"Ascend": [ProfilerActivity.CPU, ProfilerActivity.NPU],
              "GPU": [ProfilerActivity.CPU, ProfilerActivity.GPU], "CPU": [ProfilerActivity.CPU]}


def profile(config: Config, batch: int, steps: int, folder: Path, rounds: int = 3) -> Path:
    """Traces `rounds` calls of the sampler (`steps` Langevin steps) and of the training step, after one each that
    compiles them. Returns the folder in `folder` that the profiler made; trace_view.json in it opens in MindStudio
    Insight, chrome://tracing or Perfetto."""
    model = make_model(config)
    x = parts.random_images(config, model, batch, np.random.default_rng(0))
    return trace([parts.sampler(model, config, x, steps), parts.training_step(model, config, x)], folder, rounds)


def trace(calls: Sequence[Callable[[], object]], folder: Path, rounds: int = 3) -> Path:
    """Traces calls, each once before without a trace."""
    for call in calls:
        call()
    before = set(folder.glob("*"))
    with ms.profiler.profile(activities=ACTIVITIES[device.current()],
                             on_trace_ready=ms.profiler.tensorboard_trace_handler(str(folder))) as profiler:
        for _ in range(rounds):
            for call in calls:
                call()
            profiler.step()
    return max(set(folder.glob("*")) - before, key=lambda path: path.stat().st_mtime)
