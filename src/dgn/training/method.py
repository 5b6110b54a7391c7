"""What a learning method gives to the loop: one iteration on a batch, and the Cells that a checkpoint must hold."""

from __future__ import annotations

from typing import Callable, Dict, NamedTuple, Optional, Protocol, Tuple

import numpy as np
from mindspore import nn

from dgn.inference.langevin import Diagnostics, Langevin

Latents = Tuple[np.ndarray, ...]
Check = Callable[[Diagnostics, Latents], None]  # raises RunFailed if a chain ran away


class Visit(NamedTuple):
    """What came of one iteration on n samples."""

    latents: Latents  # (n, *shape) of each group, as inferred
    loss: float
    errors: np.ndarray  # (n,) squared reconstruction errors, before the weights changed
    measures: Dict[str, float]  # what else is worth a curve


class Method(Protocol):
    """A way to learn a model.

    draws: how many standard normal values a visit needs for each latent dimension;
    cells: what a checkpoint keeps, by file name: "weights" is the model, "optimizer" the optimiser;
    encoder: the network that infers latents, if the method has one; else Langevin dynamics does;
    sampler: Langevin dynamics on the model, compiled when it is first called.
    """

    draws: int
    cells: Dict[str, nn.Cell]
    encoder: Optional[nn.Cell]
    sampler: Langevin

    def visit(self, x: np.ndarray, latents: Latents, noise: Latents, sigma: float, rate: float, check: Check) -> Visit:
        """Infers the latents of x (n, C, H, W), starting from `latents`, with noise (draws, n, *shape) of each group; then
        changes the weights."""
