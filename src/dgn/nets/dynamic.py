"""The dynamic deformable generator of video: Eq. 10-12, Table 5.

A clip is T + 1 frames. The latents of a group, (Z_0, xi_1 .. xi_T), are one vector: the sampler, the bank and the energy's
prior then need to know nothing of time.
"""

from __future__ import annotations

from typing import Dict, Optional, Tuple

import numpy as np
from mindspore import Tensor, nn, ops

from dgn import config as cfg
from dgn.nets.blocks import Dense
from dgn.nets.deformable import DeformableGenerator
from dgn.nets.model import LatentGroup
from dgn.nets.recurrence import make_recurrence
from dgn.randomness import generator

HIDDEN = 20  # units of both hidden layers of a transition (Table 5)


class Transition(nn.Cell):
    """s_{t+1} = f(s_t, xi_{t+1}), s_0 = 0 (Eq. 11): dense 20, dense 20, dense d with tanh.

    (N, T, k) noise -> (N, T + 1, d) states. Only what depends on s_t runs over time; `kind` chooses how.
    Weights are scaled by He's constant, whatever the generators' are: with plain ones of std 0.1 a state is 0.03 at first,
    nothing moves, and no gradient finds the noise.
    """

    def __init__(self, states: int, noise: int, rng: np.random.Generator, kind: str = "auto") -> None:
        super().__init__()
        self.states, self.noise = states, noise
        self.first, self.second = Dense(states + noise, HIDDEN, rng, 1.0), Dense(HIDDEN, HIDDEN, rng, 1.0)
        self.third = Dense(HIDDEN, states, rng, 1.0)
        self.matmul, self.recurrence = ops.MatMul(), make_recurrence(kind)

    def construct(self, xi: Tensor) -> Tensor:
        samples, steps, _ = xi.shape
        weight = self.first.scaled_weight()
        of_state, of_noise = weight[:self.states], weight[self.states:]
        driven = self.first.bias_add(self.matmul(xi.reshape((samples * steps, self.noise)), of_noise), self.first.bias)
        return self.recurrence(driven.reshape((samples, steps, HIDDEN)), of_state, self.second.scaled_weight(), self.second.bias,
                               self.third.scaled_weight(), self.third.bias)


class FrameLatents(nn.Cell):
    """Z_t = Z_0 + s_t (Eq. 10): (Z_0, xi_1 .. xi_T) as (N, d + T k) -> (N, T + 1, d).

    transition: None if nothing changes; the latents are then Z_0, and one frame stands for all.
    """

    def __init__(self, states: int, transition: Optional[Transition]) -> None:
        super().__init__()
        self.states, self.transition = states, transition
        self.noise = 0 if transition is None else transition.noise

    def construct(self, z: Tensor) -> Tensor:
        samples, length = z.shape
        first = z[:, :self.states].reshape((samples, 1, self.states))
        if length == self.states:
            return first
        steps = (length - self.states) // self.noise
        return first + self.transition(z[:, self.states:].reshape((samples, steps, self.noise)))


class OverTime(nn.Cell):
    """A branch of an image model, run on every frame of a clip: (Z_0, xi_1 .. xi_T) as (N, d + T k) -> (N, T + 1, ...).

    The frames of all clips go through the emission network as one batch.
    """

    def __init__(self, emission: nn.Cell, latents: FrameLatents) -> None:
        super().__init__()
        self.emission, self.latents = emission, latents
        self.states, self.noise = latents.states, latents.noise

    def length(self, frames: int) -> int:
        """Dimensions of the latents of a clip of so many frames."""
        return self.states + (frames - 1) * self.noise

    def frames_affected(self, frames: int) -> np.ndarray:
        """Which frames of a clip each of its latents has a part in: Z_0 in all, xi_t in those from t on. (frames, length), 1 or 0."""
        later = np.tri(frames, frames - 1, -1, np.float32).repeat(self.noise, 1)
        return np.concatenate([np.ones((frames, self.states), np.float32), later], 1)

    def construct(self, z: Tensor) -> Tensor:
        latents = self.latents(z)
        samples, frames, _ = latents.shape
        out = self.emission(latents.reshape((samples * frames, self.states)))
        return out.reshape((samples, frames) + out.shape[1:])


class DynamicGenerator(DeformableGenerator):
    """X_t = F_w(F_a(Z_t^a), F_g(Z_t^g)), Eq. 12: the image model with both branches over time. A clip of one frame is an
    image.

    frames: T + 1. Images, appearances and displacements have a dimension of frames after that of samples. With
    model.xi_app = 0, beyond the paper, a clip has one appearance, and all that moves is geometry.
    """

    def __init__(self, model: cfg.Model, channels: int, size: int, frames: int, seed: int) -> None:
        super().__init__(model, channels, size, seed)
        self.frames = frames

        def latents(name: str, states: int, noise: int) -> FrameLatents:
            rng = generator(seed, f"{name} transition")
            return FrameLatents(states, Transition(states, noise, rng, model.recurrence) if noise else None)

        self.branches = nn.CellList([
            OverTime(branch, latents(name, group.shape[0], noise))
            for name, branch, group, noise in zip(self.branch_names, self.branches, self.groups, (model.xi_app, model.xi_geo))])
        self.groups = tuple(LatentGroup(group.name, (branch.length(frames),), frames_affected=branch.frames_affected(frames))
                            for group, branch in zip(self.groups, self.branches))

    image_channels = "branches.0.emission.stack.last."

    def names_from(self, frames: int) -> Dict[str, str]:
        """The generators of an image model are the emission networks of this one; its transitions are new."""
        if frames:
            return {"": ""}
        names = {f"branches.{k}.": f"branches.{k}.emission." for k in range(len(self.branches))}
        return {**names, "refine.": "refine."} if self.refine is not None else names

    def compose(self, parts: Tuple[Tensor, Tensor]) -> Tensor:
        """The clips (N, T + 1, C, H, W) of (appearance, displacement)."""
        appearance, displacement = self.each_frame(parts[0], parts[1]), parts[1]
        shape = appearance.shape
        images = shape[0] * shape[1]
        return self.deform(appearance.reshape((images,) + shape[2:]), displacement.reshape((images,) + displacement.shape[2:])).reshape(shape)

    def each_frame(self, appearance: Tensor, displacement: Tensor) -> Tensor:
        """The appearance of every frame, (N, T + 1, C, H, W), where one may stand for all."""
        if appearance.shape[1] == displacement.shape[1]:
            return appearance
        return ops.tile(appearance, (1, displacement.shape[1], 1, 1, 1))

    def construct(self, z_app: Tensor, z_geo: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """The three fields of Decoded."""
        image, appearance, displacement = super().construct(z_app, z_geo)
        return image, self.each_frame(appearance, displacement), displacement
