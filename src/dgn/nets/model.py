"""What every model here is made of: latent groups, branches that decode them, and a composition.

A model is a Cell with `groups`, `branches` (one for each group), `compose(parts)` which makes the image of what the
branches give, and `construct(*latents)` which gives the fields of Decoded.
"""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple, Union

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

IMAGES_AT_ONCE = 100


class Decoded(NamedTuple):
    """What latents decode to, arrays of N samples; those of clips have their frames as a second dimension."""

    image: Tensor  # (N, C, H, W) in [0, 1], after the warp
    appearance: Optional[Tensor] = None  # (N, C, H, W) in [0, 1], before the warp; None: the model has no warp
    displacement: Optional[Tensor] = None  # (N, 2, H, W) in pixels: (dx, dy)


def rows(decoded: Decoded, chosen: Union[int, slice, np.ndarray]) -> Decoded:
    """Some of the samples, or one."""
    return Decoded(*[part if part is None else part[chosen] for part in decoded])


class LatentGroup(NamedTuple):
    """One group of latents of a model, a standard normal under the prior."""

    name: str
    shape: Tuple[int, ...]
    sampled: bool = True  # False: given with the data (a label), never moved by the sampler
    part_in: Optional[np.ndarray] = None  # of a clip: (F, d), 1 where a latent has a part in a frame


def samples_at_once(model: nn.Cell) -> int:
    """How many samples make a batch of about 100 images."""
    return max(IMAGES_AT_ONCE // getattr(model, "frames", 1), 1)


def apply(net: nn.Cell, *latents: np.ndarray, batch_size: int) -> Tuple[np.ndarray, ...]:
    """What a network, a model or one of its branches, makes of latents: NumPy in and out, in batches of one compiled size."""
    count, parts = len(latents[0]), []
    for start in range(0, count, batch_size):
        rows = [z[start:start + batch_size] for z in latents]
        short = batch_size - len(rows[0]) if count > batch_size else 0  # a last smaller batch would compile anew
        padded = [np.concatenate([z, z[:1].repeat(short, 0)]) if short else z for z in rows]
        made = net(*[ms.Tensor(np.ascontiguousarray(z)) for z in padded])
        parts.append([t.asnumpy()[:len(rows[0])] for t in (made if isinstance(made, tuple) else (made,))])
    return tuple(np.concatenate(p) for p in zip(*parts))


def decode(model: nn.Cell, *latents: np.ndarray, batch_size: Optional[int] = None) -> Decoded:
    """NumPy latents -> Decoded of NumPy arrays."""
    return Decoded(*apply(model, *latents, batch_size=batch_size or samples_at_once(model)))
