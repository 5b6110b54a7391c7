"""What a training would do, without doing it (`dgn train --dry-run`)."""

from __future__ import annotations

from typing import List

from mindspore import nn

from dgn import config as cfg
from dgn.nets.blocks import parameter_count
from dgn.training.loop import batch_size
from dgn.training.method import Method

MEBIBYTE = 2 ** 20
FLOAT = 4  # bytes


def activations(model: nn.Cell) -> int:
    """Values that one sample's forward pass keeps: outputs of every layer of the generators and of the warp."""
    layers = sum(channels * side ** 2 for stack in stacks(model) for channels, side in stack.plan.maps)
    return getattr(model, "frames", 1) * (layers + 2 * model.channels * model.size ** 2)


def stacks(model: nn.Cell) -> List[nn.Cell]:
    """The DeconvStack of each branch."""
    return [getattr(branch, "emission", branch).stack for branch in model.branches]


def step_values(config: cfg.Config, method: Method) -> int:
    """Values that a learning step holds for each sample: the forward pass and the gradient of every activation, live at once in
    the worst case. A critic's step has two pictures to judge, and of the real one R1 keeps the backward pass too, for a second
    derivative; the actor's has a picture from the prior beside the reconstruction, and the critic above it."""
    generators = activations(method.cells["weights"])
    if "critic" not in method.cells:
        return 2 * generators
    judged = method.cells["critic"].activations
    return 2 * max((3 if config.training.r1_weight > 0 else 2) * judged, 2 * generators + judged)


def describe(config: cfg.Config, method: Method, count: int, device: str) -> str:
    """Resolved config, parameter counts, memory and steps as text."""
    model = method.cells["weights"]
    batch = batch_size(config.training, count)
    batches = -(-count // batch)
    counts = {name: parameter_count(part) for name, part in
              [*zip(model.branch_names, model.branches), *((key, method.cells[key]) for key in ("encoder", "critic") if key in method.cells)]}
    weights = ", ".join(f"{name} {number:,}" for name, number in counts.items())
    inference = f"{config.inference.steps} Langevin steps" if config.training.method == "abp" else "a pass through the encoder"
    latents = sum(group.shape[0] for group in model.groups)
    optimisers = "a step of Adam for the critic and one for the generators" if "critic" in counts else "one step of Adam"
    step = FLOAT * batch // config.training.parts * step_values(config, method) / MEBIBYTE
    state = 4 * FLOAT * sum(counts.values()) / MEBIBYTE  # gradients, and Adam's two moments
    chains = FLOAT * count * latents / MEBIBYTE
    what = f"clips        of {config.data.frames} frames\nsamples      " if config.data.frames else "images       "
    return (f"{cfg.dump(config)}\n"
            f"device       {device}\n"
            f"{what}{count} of {model.channels}x{model.size}x{model.size}, {batches} batches of {batch} an epoch\n"
            f"parameters   {sum(counts.values()):,} ({weights})\n"
            f"steps        {config.training.epochs * batches:,} iterations, each {inference} and {optimisers}\n"
            f"memory       about {step:.0f} MiB activations, {state:.0f} MiB weights and Adam, besides MindSpore's own (about 700 MiB)\n"
            f"disk         {chains:.1f} MiB chains, as much again a checkpoint")
