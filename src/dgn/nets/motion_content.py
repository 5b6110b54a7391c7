"""MoCoGAN's generator of clips, without a warp (reference [50] of the paper, Table 3):

S. Tulyakov, M.-Y. Liu, X. Yang, J. Kautz, MoCoGAN: Decomposing Motion and Content for Video Generation, CVPR 2018.

  h_t = GRU(xi_t, h_{t-1}),  X_t = F(z, h_t),  t = 1 .. T

z, h_0 and all xi_t are standard normal under the prior. z is the content of the clip, h_t its motion at frame t.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from dgn import config as cfg
from dgn.nets.dynamic import SequenceBranch
from dgn.nets.layers import Dense
from dgn.nets.model import LatentGroup, Model, MotionLatents
from dgn.nets.plain import image_generator
from dgn.randomness import generator

GAIN = 0.5 ** 0.5  # initial weights have standard deviation 1 / sqrt(inputs)


class GatedRecurrence(nn.Cell):
    """A gated recurrent unit (Cho et al. 2014), as in PyTorch: h_0 (N, m), xi (N, T, k) -> h_1 .. h_T (N, T, m).

      r = sigmoid(U_r xi_t + W_r h),  u = sigmoid(U_u xi_t + W_u h),  c = tanh(U_c xi_t + r * (W_c h)),
      h_t = c + u * (h - c),  h = h_{t-1}; every U and W has a bias

    of_noise: U_r, U_u, U_c; of_state: W_r, W_u, W_c.
    """

    def __init__(self, state_size: int, noise_size: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.state_size = state_size
        self.of_noise = nn.CellList([Dense(noise_size, state_size, rng, GAIN) for _ in range(3)])
        self.of_state = nn.CellList([Dense(state_size, state_size, rng, GAIN) for _ in range(3)])

    def construct(self, state: Tensor, xi: Tensor) -> Tensor:
        for_reset, for_update = self.input_projection(0, xi), self.input_projection(1, xi)
        for_candidate = self.input_projection(2, xi)
        states = ()
        for t in range(xi.shape[1]):
            reset = ops.sigmoid(for_reset[t] + self.of_state[0](state))
            update = ops.sigmoid(for_update[t] + self.of_state[1](state))
            candidate = ops.tanh(for_candidate[t] + reset * self.of_state[2](state))
            state = candidate + update * (state - candidate)
            states = states + (state,)
        return ops.stack(states, 1)

    def input_projection(self, gate: int, xi: Tensor) -> tuple[Tensor, ...]:
        """U xi_t + bias of one gate for every frame, (N, m) each."""
        samples, frames, noise = xi.shape
        return ops.unstack(self.of_noise[gate](xi.reshape((samples * frames, noise))).reshape(
            (samples, frames, self.state_size)), 1)


class Content(SequenceBranch):
    """z (N, d) -> the content of every frame, (N, 1, d)."""

    def __init__(self, state_size: int) -> None:
        super().__init__(state_size, 0, 0)

    def construct(self, z: Tensor) -> Tensor:
        return z.reshape((-1, 1, self.state_size))


class Motion(SequenceBranch):
    """(h_0, xi_1 .. xi_T) (N, m + T k) -> the motion h_1 .. h_T of every frame, (N, T, m)."""

    def __init__(self, state_size: int, noise_size: int, rng: np.random.Generator) -> None:
        super().__init__(state_size, noise_size, 0)
        self.recurrence = GatedRecurrence(state_size, noise_size, rng)

    def construct(self, z: Tensor) -> Tensor:
        samples, length = z.shape
        xi = z[:, self.state_size:].reshape((samples, (length - self.state_size) // self.noise_size, self.noise_size))
        return self.recurrence(z[:, :self.state_size], xi)


class MotionContentGenerator(Model):
    """The generator of clips for model.kind plain, with the image generator of plain.PlainGenerator.

    The content has model.z_app dimensions, the motion model.z_geo, and each xi_t model.xi_geo. frames: T, the second
    axis of images.
    """

    branch_names = ("content", "motion")
    latents_type = MotionLatents
    image_channels = "generator.stack.last."

    def __init__(self, model: cfg.Model, channels: int, size: int, frames: int, seed: int) -> None:
        super().__init__()
        self.channels, self.size, self.frames = channels, size, frames
        self.branches = nn.CellList([
            Content(model.z_app), Motion(model.z_geo, model.xi_geo, generator(seed, "motion weights"))])
        self.groups = tuple(LatentGroup(name, (branch.length(frames),), frames_affected=branch.frames_affected(frames))
                            for name, branch in zip(("z_content", "z_motion"), self.branches))
        self.generator, self.matmul = image_generator(model, channels, size, seed), ops.MatMul()
        places = np.eye(model.z_app + model.z_geo, dtype=np.float32)
        self.places = Tensor(places[:model.z_app]), Tensor(places[model.z_app:])

    def names_from(self, frames: int) -> dict[str, str]:
        """See Model. The generator of a plain model of images (frames = 0) becomes the image generator."""
        return {"": ""} if frames else {"branches.0.": "generator."}

    def compose(self, outputs: tuple[Tensor, Tensor]) -> Tensor:
        """The clips (N, T, C, H, W) of (content, motion)."""
        (content, motion), (content_places, motion_places) = outputs, self.places
        samples, frames, _ = motion.shape
        latents = self.placed(content, content_places) + self.placed(motion, motion_places)
        images = self.generator(latents.reshape((samples * frames, -1)))
        return images.reshape((samples, frames) + images.shape[1:])

    def placed(self, z: Tensor, places: Tensor) -> Tensor:
        """Puts z (N, F, d) at its positions in the generator's latents, (N, F, d + m), which are 0 elsewhere. (A
        concatenation would be simpler, but its gradient has no GPU kernel.)"""
        samples, frames, states = z.shape
        return self.matmul(z.reshape((samples * frames, states)), places).reshape((samples, frames, -1))

    def construct(self, z_content: Tensor, z_motion: Tensor) -> tuple[Tensor]:
        """The first field of Decoded: the clips."""
        return (self.compose((self.branches[0](z_content), self.branches[1](z_motion))),)
