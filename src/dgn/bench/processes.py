"""One training split over processes: how much faster so many are than one, and what they exchange and hold.

`launch` starts them as scripts/run_distribute_train.sh does, each with one thread; `iteration` is what each of them measures.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from dgn import build
from dgn import config as cfg
from dgn.bench.memory import peak_memory
from dgn.errors import RunFailed
from dgn.inference.langevin import draw_noise
from dgn.nets.layers import parameter_count
from dgn.ranks import Ranks


def iteration(config: cfg.Config, device: str, ranks: Ranks, rounds: int) -> Dict[str, Any]:
    """Times whole iterations (sampler, learning step, exchange of gradients) on this process's part of a batch of random
    images, and the exchange alone. All processes call it; each gets the first one's times and the largest memory of all."""
    model = build.make_model(config, device)
    method = build.make_method(config, model, device, ranks)
    share, rng = config.training.batch_size // ranks.count, np.random.default_rng(ranks.rank)
    frames = (config.data.frames,) if config.data.frames else ()
    x = rng.random((share, *frames, model.channels, model.size, model.size), np.float32)
    latents = tuple(z[0] for z in draw_noise(model, 1, share, 0, "bench", ranks.rank))

    def visit() -> None:
        noise = draw_noise(model, method.draws, share, 0, "bench noise", ranks.rank)
        method.visit(x, latents, noise, 1.0, 1e-12, lambda diagnostics, state: None)

    seconds, exchange = _timed(visit, ranks, rounds), [0.0]
    weights = method.learning.step.optimizer.parameters
    if ranks.count > 1:
        slopes, reducer = [ms.ops.zeros_like(weight) for weight in weights], _Exchange(ranks.reducer(weights))
        exchange = _timed(lambda: [value.asnumpy() for value in reducer(*slopes)], ranks, 5 * rounds)
    memory = float(ranks.values([peak_memory()])[:, 0].max())
    count = sum(parameter_count(cell) for cell in [model, *([method.encoder] if method.encoder else [])])
    return {"processes": ranks.count, "batch": config.training.batch_size, "seconds": seconds, "exchange": exchange,
            "parameters": count, "memory": memory}


class _Exchange(nn.Cell):
    """The averaging of gradients alone."""

    def __init__(self, reducer: nn.Cell) -> None:
        super().__init__()
        self.reducer = reducer

    def construct(self, *slopes: Tensor) -> tuple:
        return self.reducer(slopes)


def _timed(call: Callable[[], object], ranks: Ranks, rounds: int) -> List[float]:
    """Seconds of each call, after two that are not counted; the processes begin each together, and it ends when all have."""
    seconds = []
    for turn in range(rounds + 2):
        ranks.wait()
        began = time.perf_counter()
        call()
        if turn > 1:
            seconds.append(time.perf_counter() - began)
    return np.max(np.reshape(ranks.values(seconds), (ranks.count, -1)), 0).tolist()


def launch(count: int, arguments: List[str]) -> Dict[str, Any]:
    """Runs `dgn bench` with these arguments in `count` processes of one thread each; what `iteration` gave there."""
    program = str(Path(__file__).parents[1] / "__main__.py")
    with tempfile.TemporaryDirectory() as scratch, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        told = Path(scratch) / "told.json"
        line = [program, "bench", *arguments, "--json", str(told)]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # msrun starts what is called python there
        done = subprocess.run([str(Path(sys.executable).with_name("msrun")), f"--worker_num={count}", f"--local_worker_num={count}",
                               "--master_addr=127.0.0.1", f"--master_port={port}", "--join=True", f"--log_dir={scratch}", *line],
                              env={**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "DGN_THREADS": "1"},
                              capture_output=True, text=True)
        if done.returncode:
            lines = [line for log in sorted(Path(scratch).glob("worker_*.log")) for line in log.read_text().splitlines()]
            said = [line for line in lines if line.startswith("dgn: ")] or done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise RunFailed(f"{count} processes failed: {said[0].removeprefix('dgn: ')}")
        return json.loads(told.read_text())


def compare(counts: List[int], arguments: List[str], turns: int = 2) -> str:
    """Launches each number of processes in turn, A B A B ..., and says what came of it."""
    found: Dict[int, List[Dict[str, Any]]] = {count: [] for count in counts}
    for _ in range(turns):
        for count in counts:
            found[count].append(launch(count, arguments))
    return report(found)


def report(found: Dict[int, List[Dict[str, Any]]]) -> str:
    """What `launch` gave for each number of processes, as a table of the fastest iterations: what else runs on a machine slows
    several processes more than one."""
    lines = [f"{'processes':>9}  {'images/s':>9}  {'iteration':>10}  {'exchange of gradients':>24}  {'memory a process':>16}"]
    fastest = {count: min(min(result["seconds"]) for result in results) for count, results in found.items()}
    for count, results in found.items():
        exchange = min(min(result["exchange"]) for result in results)
        lines.append(f"{count:9}  {results[0]['batch'] / fastest[count]:9.1f}  {1e3 * fastest[count]:7.1f} ms  {1e3 * exchange:7.2f} ms, "
                     f"{100 * exchange / fastest[count]:5.2f} %  {max(result['memory'] for result in results):12.0f} MiB")
    first, *others = fastest
    lines += [f"ratio  {count} processes / {first}, images a second: {fastest[first] / fastest[count]:.2f}" for count in others]
    weights = results[0]["parameters"]
    return "\n".join([*lines, f"exchanged an iteration: gradients of {weights:,} weights, {4 * weights / 2 ** 20:.2f} MiB"])
