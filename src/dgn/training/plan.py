"""What a training would do, without doing it (`dgn train --dry-run`)."""

from __future__ import annotations

from typing import List

from mindspore import nn

from dgn import config as cfg
from dgn.nets.blocks import parameter_count
from dgn.training.loop import batch_size

MEBIBYTE = 2 ** 20
FLOAT = 4  # bytes


def activations(model: nn.Cell) -> int:
    """Values that one sample's forward pass keeps: outputs of every layer of the generators and of the warp."""
    layers = sum(channels * side ** 2 for stack in stacks(model) for channels, side in stack.plan.maps)
    return getattr(model, "frames", 1) * (layers + 2 * model.channels * model.size ** 2)


def stacks(model: nn.Cell) -> List[nn.Cell]:
    """The DeconvStack of each branch."""
    return [getattr(branch, "emission", branch).stack for branch in model.branches]


def describe(config: cfg.Config, model: nn.Cell, count: int, device: str) -> str:
    """Resolved config, parameter counts, memory and steps as text."""
    batch = batch_size(config.training, count)
    batches = -(-count // batch)
    weights = ", ".join(f"{name} {parameter_count(branch):,}" for name, branch in zip(model.branch_names, model.branches))
    inference = f"{config.inference.steps} Langevin steps" if config.training.method == "abp" else "a pass through the encoder"
    latents = sum(group.shape[0] for group in model.groups)
    # forward and gradient of every activation, live at once in the worst case; Adam keeps two moments a weight
    step = 2 * FLOAT * batch // config.training.parts * activations(model) / MEBIBYTE
    state = 4 * FLOAT * parameter_count(model) / MEBIBYTE
    chains = FLOAT * count * latents / MEBIBYTE
    what = f"clips        of {config.data.frames} frames\nsamples      " if config.data.frames else "images       "
    return (f"{cfg.dump(config)}\n"
            f"device       {device}\n"
            f"{what}{count} of {model.channels}x{model.size}x{model.size}, {batches} batches of {batch} an epoch\n"
            f"parameters   {parameter_count(model):,} ({weights})\n"
            f"steps        {config.training.epochs * batches:,} iterations, each {inference} and one step of Adam\n"
            f"memory       about {step:.0f} MiB activations, {state:.0f} MiB weights and Adam, besides MindSpore's own (about 700 MiB)\n"
            f"disk         {chains:.1f} MiB chains, as much again a checkpoint")
