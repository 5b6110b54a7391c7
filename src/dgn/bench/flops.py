"""Floating-point operations counted from the networks (a multiplication and an addition are two)."""

from __future__ import annotations

import math

from mindspore import nn

from dgn.nets.model import Model
from dgn.nets.stack import stacks


def forward(stack: nn.Cell) -> int:
    """Operations of one sample's pass through a DeconvStack's dense and deconvolution layers."""
    inputs, outputs = stack.dense.weight.shape
    total = 2 * inputs * outputs
    for layer, (_, side) in zip([*stack.hidden, stack.last], stack.architecture.maps):
        total += 2 * math.prod(layer.weight.shape) * side ** 2
    return total


def langevin_step(model: Model) -> int:
    """Operations of one Langevin step of one sample: each branch forward once, and back to its latents once.

    The backward pass to the input costs as much as the forward pass. The warp is left out: it is bound by memory, not
    by arithmetic.
    """
    return sum(2 * forward(stack) for stack in stacks(model))


def training_step(model: Model) -> int:
    """Operations of a training step for one sample: forward, backward to the inputs, and to the weights."""
    return sum(3 * forward(stack) for stack in stacks(model))
