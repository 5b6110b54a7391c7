"""One training in one process and in several: images per second, the exchange of gradients, and memory.

`launch` starts the processes like scripts/run_distribute_train.sh, each with one thread; each of them runs `iteration`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor, nn, ops

from dgn.bench.calls import RATE, random_images, whole_mask
from dgn.bench.measures import peak_memory
from dgn.bench.msrun import msrun
from dgn.config import Config
from dgn.distributed import ProcessGroup
from dgn.inference.chains import draw_noise, random_latents
from dgn.nets.build import make_model
from dgn.nets.layers import parameter_count
from dgn.reading import read_json
from dgn.training.build import make_trainer
from dgn.training.trainer import Batch

Result = dict[str, Any]  # of `iteration`


def iteration(config: Config, processes: ProcessGroup, rounds: int) -> Result:
    """Times whole iterations (sampler, training step, exchange of gradients) on this process's part of a batch of
    random images, and only the exchange. A collective; each process gets the slowest one's times and the largest
    memory."""
    model = make_model(config)
    trainer = make_trainer(config, model, processes)
    share, rng = config.training.batch_size // processes.size, np.random.default_rng(processes.rank)
    x, mask = random_images(config, model, share, rng), whole_mask(config, share)
    latents = random_latents(model, share, 0, "bench", processes.rank)

    def step() -> None:
        noise = draw_noise(model, trainer.draws, share, 0, "bench noise", processes.rank)
        trainer.step(Batch(x, mask, noise, 1.0, RATE, 0), latents)

    seconds, exchange = _timed(step, processes, rounds), [0.0]
    weights = trainer.optimizers["optimizer"].parameters
    if processes.size > 1:
        gradients, reducer = [ops.zeros_like(weight) for weight in weights], _Exchange(processes.gradient_reducer())
        exchange = _timed(lambda: [value.asnumpy() for value in reducer(*gradients)], processes, 5 * rounds)
    memory = float(processes.gather_values([peak_memory()])[:, 0].max())
    count = sum(parameter_count(cell) for cell in [model, *([trainer.encoder] if trainer.encoder else [])])
    return {"processes": processes.size, "batch": config.training.batch_size, "seconds": seconds, "exchange": exchange,
            "parameters": count, "memory": memory}


class _Exchange(nn.Cell):
    """Only the averaging of gradients."""

    def __init__(self, reducer: nn.Cell) -> None:
        super().__init__()
        self.reducer = reducer

    def construct(self, *gradients: Tensor) -> tuple:
        return self.reducer(gradients)


def _timed(call: Callable[[], object], processes: ProcessGroup, rounds: int) -> list[float]:
    """Seconds of each call, after two that do not count; the processes start each call together, and the slowest
    counts."""
    seconds = []
    for turn in range(rounds + 2):
        processes.barrier()
        began = time.perf_counter()
        call()
        if turn > 1:
            seconds.append(time.perf_counter() - began)
    return np.max(processes.gather_values(seconds), 0).tolist()


def launch(count: int, arguments: Sequence[str]) -> Result:
    """Runs `dgn bench processes` with these arguments in `count` processes; the result of `iteration`. Raises RunFailed
    as msrun."""
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch) / "result.json"
        msrun(count, ["bench", "processes", str(count), *arguments, "--json", str(result)])
        return read_json(result, dict)


def compare(counts: Sequence[int], arguments: Sequence[str], turns: int = 2) -> str:
    """Launches each number of processes in turn, A B A B ...; returns the summary."""
    results: dict[int, list[Result]] = {count: [] for count in counts}
    for _ in range(turns):
        for count in counts:
            results[count].append(launch(count, arguments))
    return summary(results)


def summary(results: dict[int, list[Result]]) -> str:
    """A table of the fastest iterations for each number of processes: other load on a machine slows several processes
    more than one."""
    lines = [f"{'processes':>9}  {'images/s':>9}  {'iteration':>10}  {'exchange of gradients':>24}  "
             f"{'memory a process':>16}"]
    fastest = {count: min(min(result["seconds"]) for result in several) for count, several in results.items()}
    for count, several in results.items():
        exchange = min(min(result["exchange"]) for result in several)
        lines.append(f"{count:9}  {several[0]['batch'] / fastest[count]:9.1f}  {1e3 * fastest[count]:7.1f} ms  "
                     f"{1e3 * exchange:7.2f} ms, {100 * exchange / fastest[count]:5.2f} %  "
                     f"{max(result['memory'] for result in several):12.0f} MiB")
    first, *others = fastest
    lines += [f"ratio  {count} processes / {first}, images a second: {fastest[first] / fastest[count]:.2f}"
              for count in others]
    weights = results[first][0]["parameters"]
    return "\n".join([*lines, f"exchanged in an iteration: gradients of {weights:,} weights, "
                              f"{4 * weights / 2 ** 20:.2f} MiB"])
