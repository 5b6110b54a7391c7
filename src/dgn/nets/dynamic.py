"""The dynamic deformable generator of video: Eq. 10-12, Table 5.

A clip has T + 1 frames. The latents of a group, (Z_0, xi_1 .. xi_T), are one vector of d + T k values, standard normal
under the prior, so clips use the same sampler, latent bank and energy as images.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from dgn import config as cfg
from dgn.nets.deformable import DeformableGenerator
from dgn.nets.layers import Dense
from dgn.nets.model import LatentGroup
from dgn.nets.recurrence import make_recurrence
from dgn.randomness import generator

HIDDEN = 20  # units of both hidden layers of a transition (Table 5)


class Transition(nn.Cell):
    """s_{t+1} = f(s_t, xi_{t+1}), s_0 = 0 (Eq. 11): dense 20, dense 20, dense d with tanh (Table 5).

    Noise (N, T, k) -> states (N, T + 1, d). Only the part that depends on s_t runs over time. kind: model.recurrence.
    The weights always follow scheme 2 of 5.7, regardless of model.scaling: with scheme 1 the initial states would be
    about 0.03, so that frames would hardly differ and the gradient with respect to the noise would vanish.
    """

    def __init__(self, state_size: int, noise_size: int, rng: np.random.Generator, kind: str = "auto") -> None:
        super().__init__()
        self.state_size, self.noise_size = state_size, noise_size
        self.first, self.second = Dense(state_size + noise_size, HIDDEN, rng, 1.0), Dense(HIDDEN, HIDDEN, rng, 1.0)
        self.third = Dense(HIDDEN, state_size, rng, 1.0)
        self.matmul, self.recurrence = ops.MatMul(), make_recurrence(kind)

    def construct(self, xi: Tensor) -> Tensor:
        samples, steps, _ = xi.shape
        weight = self.first.scaled_weight()
        state_weight, noise_weight = weight[:self.state_size], weight[self.state_size:]
        projection = self.matmul(xi.reshape((samples * steps, self.noise_size)), noise_weight)
        projection = self.first.bias_add(projection, self.first.bias).reshape((samples, steps, HIDDEN))
        return self.recurrence(projection, state_weight, self.second.scaled_weight(), self.second.bias,
                               self.third.scaled_weight(), self.third.bias)


class FrameLatents(nn.Cell):
    """Z_t = Z_0 + s_t (Eq. 10): (Z_0, xi_1 .. xi_T) as (N, d + T k) -> (N, T + 1, d).

    transition: None means Z_t = Z_0; then the latents are (N, d), and the result is a single frame, (N, 1, d).
    """

    def __init__(self, state_size: int, transition: Transition | None) -> None:
        super().__init__()
        self.state_size, self.transition = state_size, transition
        self.noise_size = 0 if transition is None else transition.noise_size

    def construct(self, z: Tensor) -> Tensor:
        samples, length = z.shape
        first = z[:, :self.state_size].reshape((samples, 1, self.state_size))
        if self.transition is None or length == self.state_size:  # a clip of one frame has no noise
            return first
        steps = (length - self.state_size) // self.noise_size
        return first + self.transition(z[:, self.state_size:].reshape((samples, steps, self.noise_size)))


class SequenceBranch(nn.Cell):
    """Base of clip branches. The latents of a clip are one vector: a state of `state_size` values, then `noise_size`
    values for each frame from index `first` on."""

    def __init__(self, state_size: int, noise_size: int, first: int) -> None:
        super().__init__()
        self.state_size, self.noise_size, self.first = state_size, noise_size, first

    def length(self, frames: int) -> int:
        """Number of latents of a clip with `frames` frames."""
        return self.state_size + (frames - self.first) * self.noise_size

    def frames_affected(self, frames: int) -> np.ndarray:
        """1 where a latent affects a frame, else 0, (frames, length). The state affects all frames; a frame's noise
        affects this frame and all later ones."""
        later = np.tri(frames, frames - self.first, -self.first, np.float32).repeat(self.noise_size, 1)
        return np.concatenate([np.ones((frames, self.state_size), np.float32), later], 1)


class ClipBranch(SequenceBranch):
    """A generator of images applied to every frame of a clip: (Z_0, xi_1 .. xi_T) as (N, d + T k) -> (N, T + 1, ...).

    emission: the generator; it is given the frames of all clips as one batch. latents: computes Z_t of every frame.
    """

    def __init__(self, emission: nn.Cell, latents: FrameLatents) -> None:
        super().__init__(latents.state_size, latents.noise_size, 1)
        self.emission, self.latents = emission, latents

    def construct(self, z: Tensor) -> Tensor:
        latents = self.latents(z)
        samples, frames, _ = latents.shape
        out = self.emission(latents.reshape((samples * frames, self.state_size)))
        return out.reshape((samples, frames) + out.shape[1:])


class DynamicGenerator(DeformableGenerator):
    """X_t = F_w(F_a(Z_t^a), F_g(Z_t^g)), Eq. 12: the image model with both branches over time.

    frames: T + 1, the second axis of images, appearances and displacements; a clip of one frame is an image. With
    model.xi_app = 0 (beyond the paper) a clip has one appearance, and only its geometry changes over time.
    """

    image_channels = "branches.0.emission.stack.last."

    def __init__(self, model: cfg.Model, channels: int, size: int, frames: int, seed: int) -> None:
        super().__init__(model, channels, size, seed)
        self.frames = frames

        def latents(name: str, state_size: int, noise_size: int) -> FrameLatents:
            rng = generator(seed, f"{name} transition")
            transition = Transition(state_size, noise_size, rng, model.recurrence) if noise_size else None
            return FrameLatents(state_size, transition)

        self.branches = nn.CellList([
            ClipBranch(branch, latents(name, group.shape[0], noise))
            for name, branch, group, noise in zip(self.branch_names, self.branches, self.groups,
                                                  (model.xi_app, model.xi_geo))])
        self.groups = tuple(
            LatentGroup(group.name, (branch.length(frames),), frames_affected=branch.frames_affected(frames))
            for group, branch in zip(self.groups, self.branches))

    def names_from(self, frames: int) -> dict[str, str]:
        """See Model. The generators of an image model (frames = 0) become the emission networks; the transitions keep
        their initial weights."""
        if frames:
            return {"": ""}
        prefixes = {f"branches.{k}.": f"branches.{k}.emission." for k in range(len(self.branches))}
        return {**prefixes, "refine.": "refine."} if self.refine is not None else prefixes

    def compose(self, outputs: tuple[Tensor, Tensor]) -> Tensor:
        """The clips (N, T + 1, C, H, W) of (appearance, displacement)."""
        appearance, displacement = self.each_frame(outputs[0], outputs[1]), outputs[1]
        shape, field_shape = appearance.shape, displacement.shape
        count = (shape[0] * shape[1],)  # frames of all clips, as one batch
        images = self.deform(appearance.reshape(count + shape[2:]), displacement.reshape(count + field_shape[2:]))
        return images.reshape(shape)

    def each_frame(self, appearance: Tensor, displacement: Tensor) -> Tensor:
        """The appearance of every frame, (N, T + 1, C, H, W); a single appearance (N, 1, C, H, W) is repeated."""
        if appearance.shape[1] == displacement.shape[1]:
            return appearance
        return ops.tile(appearance, (1, displacement.shape[1], 1, 1, 1))

    def construct(self, z_app: Tensor, z_geo: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The fields of Decoded: image, appearance, displacement."""
        image, appearance, displacement = super().construct(z_app, z_geo)
        return image, self.each_frame(appearance, displacement), displacement
