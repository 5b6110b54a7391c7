"""Operators and compile time of the graphs of a training: on an accelerator every operator is a launch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from dgn.bench.calls import RATE, batch_inputs, chosen_frames, random_images
from dgn.config import Config
from dgn.inference.chains import as_tensors, draw_noise
from dgn.nets.build import make_model
from dgn.training.adversarial import Adversarial
from dgn.training.build import make_trainer
from dgn.training.optim import TrainStep

# nodes of a graph that launch nothing: values, order, tuples
STRUCTURE = ("Constant", "Load", "Depend", "UpdateState", "MakeTuple", "TupleGetItem")

Graph = tuple[nn.Cell, tuple[Tensor, ...]]


class Size(NamedTuple):
    """A compiled graph."""

    operators: dict[str, int]  # number of each kind
    seconds: float  # to compile it

    @property
    def total(self) -> int:
        """Operators in the graph."""
        return sum(self.operators.values())


def training_graphs(config: Config, batch: int) -> Iterator[tuple[str, Graph]]:
    """Every graph that a training with a config compiles, by name, with inputs for `batch` samples in each
    micro-batch."""
    model = make_model(config)
    trainer = make_trainer(config, model)
    x = random_images(config, model, batch, np.random.default_rng(0))
    inputs = batch_inputs(config, x)
    noise = draw_noise(model, trainer.sampler.steps, batch, 0, "bench")
    latents = as_tensors(tuple(n[0] for n in noise))
    yield "decoder", (model, latents)
    yield f"sampler, {trainer.sampler.steps} steps", (trainer.sampler, (*inputs, *latents, *as_tensors(noise)))
    if isinstance(trainer, Adversarial):
        frames = chosen_frames(model, batch)
        images = (inputs[0], model(*latents)[0], *frames)
        yield from _step_graphs("actor step", trainer.update, (*inputs, *latents, *latents, *frames))
        yield from _step_graphs("critic step with R1", trainer.critic_with_r1, images)
        if trainer.critic_without_r1 is not None:
            yield from _step_graphs("critic step", trainer.critic_without_r1, images)
    else:
        yield from _step_graphs("training step", trainer.update, (*inputs, *latents))


def _step_graphs(name: str, step: TrainStep, inputs: tuple[Tensor, ...]) -> Iterator[tuple[str, Graph]]:
    """One graph, or with micro-batches the graphs of accumulation and update."""
    rate, one, count = (ms.Tensor(value, ms.float32) for value in (RATE, 1.0, step.micro_batches))
    if step.micro_batches == 1:
        yield name, (step.whole, (rate, *inputs))
    else:
        yield f"{name}, accumulation", (step.accumulate, (one, *inputs))
        yield f"{name}, update", (step.update, (rate, count))


def compiled_size(cell: nn.Cell, inputs: tuple[Tensor, ...]) -> Size:
    """Compiles a Cell and counts the operators of its graph after the front end's passes."""
    began = time.perf_counter()
    cell.compile(*inputs)
    return Size(operators(cell), time.perf_counter() - began)


def operators(cell: nn.Cell) -> dict[str, int]:
    """The number of operators of each kind in a compiled Cell."""
    # imported here, because they are not MindSpore's public interface: without them `dgn check` lacks only this count
    from mindspore.train import mind_ir_pb2
    try:
        from mindspore.graph.api import _cell_graph_executor
    except ImportError:  # its place before MindSpore 2.9
        from mindspore.common.api import _cell_graph_executor

    phase = next(iter(cell.compile_cache))
    stored = mind_ir_pb2.ModelProto.FromString(_cell_graph_executor._get_func_graph_proto(cell, phase, "mind_ir"))
    kinds = {f"REF::{primitive.name}": primitive.op_type for primitive in stored.primitives}
    found = (kinds.get(node.op_type, node.op_type).split("::")[-1]
             for graph in (stored.graph, *stored.functions) for node in graph.node)
    return Counter(kind for kind in found if kind not in STRUCTURE)


def summary(sizes: dict[str, Size], title: str) -> str:
    """A table of the graphs with their five most frequent operators; title: in its first line."""
    lines = [f"{title:36} {'operators':>9} {'compiled in':>11}   most frequent"]
    for name, size in sizes.items():
        frequent: list[tuple[str, int]] = sorted(size.operators.items(), key=lambda item: (-item[1], item[0]))[:5]
        lines.append(f"{name:36} {size.total:9} {size.seconds:9.1f} s   "
                     + ", ".join(f"{kind} {number}" for kind, number in frequent))
    return "\n".join(lines)
