"""Inference networks that mirror a generator's stack: for a VAE, or to initialize Langevin chains."""

from __future__ import annotations

from collections.abc import Sequence

import mindspore as ms
from mindspore import Tensor, nn, ops

from dgn.nets.layers import Dense, truncated_normal
from dgn.nets.model import LatentGroup, Model
from dgn.nets.stack import Architecture
from dgn.randomness import generator

ERROR_GAIN = 4.0  # factor on the reconstruction error, which is an input in addition to images


class Encoder(nn.Cell):
    """Images (N, C, H, W) -> mean and log-variance of q(z | x), (N, d) each, for every sampled latent group in order.

    architecture: architecture of the mirrored generator; the layers are in reverse order, with convolutions instead of
    deconvolutions. inputs: channels of the images. seed: random seed of the initial weights. variance: False outputs
    only the means.
    """

    def __init__(self, groups: tuple[LatentGroup, ...], architecture: Architecture, inputs: int, seed: int,
                 variance: bool = True) -> None:
        super().__init__()
        self.variance = variance
        rng = generator(seed, "encoder weights")
        channels = [inputs, *reversed(architecture.inputs)]
        self.convolutions = nn.CellList([
            nn.Conv2d(a, b, k, stride=stride, pad_mode="same", has_bias=True, bias_init="zeros",
                      weight_init=ms.Tensor(truncated_normal((b, a, k, k), rng, (2 / (a * k * k)) ** 0.5)))
            for a, b, (_, k, stride) in zip(channels, channels[1:], reversed(architecture.layers))])
        features = architecture.channels * architecture.side ** 2
        self.flat = (-1, features)
        # gain 0.5: initial means and log-variances are small, so q starts near the prior
        self.heads = nn.CellList([Dense(features, (2 if variance else 1) * group.shape[0], rng, gain=0.5)
                                  for group in groups if group.sampled])

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        for layer in self.convolutions:
            x = ops.relu(layer(x))
        x = x.reshape(self.flat)  # (N, features)
        posterior = ()
        for head in self.heads:
            values = head(x)  # (N, d), or (N, 2 d)
            if self.variance:
                half = values.shape[1] // 2
                posterior = posterior + (values[:, :half], values[:, half:])
            else:
                posterior = posterior + (values,)
        return posterior

    def means(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Selects the means of each sampled group from the outputs."""
        return outputs[::2] if self.variance else outputs


class ChainEncoder(nn.Cell):
    """Amortized initial latents with iterative refinement: images (N, C, H, W) -> latents (N, d) of every sampled
    group,

      z = networks[0](x),  then `rounds` times  z += networks[1](x, ERROR_GAIN (x - F(z)), appearance of z)

    The appearance is the image before the warp; it is an input only if the model has a warp. model: the generator F,
    whose weights do not belong to the encoder. For a model with a group that is not sampled there are no networks[1]
    and no rounds.
    """

    def __init__(self, model: Model, networks: Sequence[Encoder], rounds: int) -> None:
        super().__init__()
        self.model, self.networks, self.rounds = model, nn.CellList(networks), rounds
        self.warps = model.warps

    def construct(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.refinements(x)[-1]

    def refinements(self, x: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """The latents before the first round and after each round. Gradients do not pass back to earlier rounds."""
        latents = self.networks[0](x)
        refinements = (latents,)
        for _ in range(self.rounds):
            present = ()
            for z in latents:
                present = present + (ops.stop_gradient(z),)
            latents = ()
            for z, correction in zip(present, self.networks[1](self.refiner_input(x, present))):
                latents = latents + (z + correction,)
            refinements = refinements + (latents,)
        return refinements

    def refiner_input(self, x: Tensor, latents: tuple[Tensor, ...]) -> Tensor:
        """The image, its difference from the decoded image, and the appearance, (N, channels, H, W)."""
        decoded = self.model(*latents)
        parts = (x, ERROR_GAIN * (x - decoded[0]))
        if self.warps:
            parts = parts + (decoded[1],)
        return ops.cat(parts, 1)

    def means(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The outputs, which are latents; see Encoder.means."""
        return outputs
