"""Reinitialization of the appearance generator during training (beyond the paper; 5.7).

Early in training both generators compete for variation that each of them could explain, such as a turned head, and they
keep what they explain first. If the appearance is reinitialized later, the trained geometry explains more of this
variation.
"""

from __future__ import annotations

from mindspore import Tensor, ops

from dgn.config import Config, changed
from dgn.inference.latents import LatentBank
from dgn.nets.build import make_model
from dgn.nets.model import Model
from dgn.randomness import generator


def reinitialized(config: Config, epoch: int) -> Model:
    """A model with new initial weights, which depend on the run's seed and the epoch."""
    seed = int(generator(config.training.seed, "renewal", epoch).integers(2 ** 31))
    return make_model(changed(config, training={"seed": seed}))


def reinit_appearance(model: Model, initial: Model, bank: LatentBank) -> None:
    """Copies the appearance weights of `initial` into `model` (compiled graphs see the change) and restarts the chains
    of the appearance at the prior mean. The optimizer must be reset, too (dgn.training.optim.reset_adam)."""
    g = model.branch_names.index("appearance")
    start = dict(initial.branches[g].parameters_and_names())
    for name, parameter in model.branches[g].parameters_and_names():
        ops.assign(parameter, Tensor(start[name].asnumpy()))
    bank.restart([model.groups[g]])
