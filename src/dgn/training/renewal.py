"""A second start for the appearance generator, its partner kept (beyond the paper; 5.7).

While both generators are new they race for what they could both explain, such as a turned head, and each keeps what it
won. A geometry that has learned something is ahead from the first step if the appearance starts anew beside it: more of
what both could explain then falls to the geometry.
"""

from __future__ import annotations

from typing import Callable

from mindspore import Tensor, nn, ops

from dgn.inference.latents import LatentBank
from dgn.step import restart_adam

Fresh = Callable[[int], nn.Cell]  # number of a renewal -> a model with initial weights of its own


def renew_appearance(model: nn.Cell, fresh: Fresh, optimizer: nn.Cell, beta1: float, beta2: float, bank: LatentBank,
                     number: int) -> None:
    """New initial weights for the appearance, whose chains begin again at the prior's mean; the optimiser starts anew as well."""
    place = model.branch_names.index("appearance")
    start = dict(fresh(number).branches[place].parameters_and_names())
    for name, parameter in model.branches[place].parameters_and_names():
        ops.assign(parameter, Tensor(start[name].asnumpy()))
    restart_adam(optimizer, beta1, beta2)
    bank.restart([model.groups[place]])
