"""A second start for the appearance generator, its partner kept (beyond the paper; 5.7).

While both generators are new they race for what they could both explain, such as a turned head, and each keeps what it
won. A geometry that has learned something is ahead from the first step if the appearance starts anew beside it: more of
what both could explain then falls to the geometry.
"""

from __future__ import annotations

from typing import Callable

import mindspore as ms
import numpy as np
from mindspore import nn

from dgn.inference.latents import LatentBank

Fresh = Callable[[int], nn.Cell]  # number of a renewal -> a model with initial weights of its own


def renew_appearance(model: nn.Cell, fresh: Fresh, optimizer: nn.Cell, bank: LatentBank, seed: int, number: int) -> None:
    """New initial weights and new chains from the prior for the appearance; the optimiser forgets what it knew of these weights."""
    place = model.branch_names.index("appearance")
    start = dict(fresh(number).branches[place].parameters_and_names())
    renewed = set()
    for name, parameter in model.branches[place].parameters_and_names():
        parameter.set_data(ms.Tensor(start[name].asnumpy()))
        renewed.add(id(parameter))
    for weight, *moments in zip(optimizer.parameters, optimizer.moment1, optimizer.moment2):
        if id(weight) in renewed:
            for moment in moments:
                moment.set_data(ms.Tensor(np.zeros(moment.shape, np.float32)))
    bank.renew(model.groups[place], seed, number)
