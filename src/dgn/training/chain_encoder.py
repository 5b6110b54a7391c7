"""An encoder that initializes Langevin chains (amortized inference).

It is trained on a finished model with fixed weights: first by regression on known latents (training images with their
chains, and generated samples), then by the energy (Eq. 8) of its own latents. The residual of a random training image
is added to each generated sample, so that samples deviate from the generator's range as real images do. Half of the
training images in a batch are augmented (shift, mirror, colour gain), because the training set may be small.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops

from dgn.data.source import Source
from dgn.errors import RunFailed
from dgn.files import replacing, sha256, write_json
from dgn.indices import evenly_spaced
from dgn.inference.chains import as_tensors
from dgn.inference.energy import Energy, mask_or_ones
from dgn.inference.fitted import FittedPrior, draw_latents
from dgn.inference.latents import given_latents
from dgn.nets.build import make_chain_encoder
from dgn.nets.encoder import ChainEncoder
from dgn.nets.model import Arrays, Model, decode
from dgn.randomness import generator
from dgn.reading import read_json
from dgn.run_folder import RunFolder
from dgn.training import checkpoint, parameters
from dgn.training.optim import TrainStep, adam, cosine

log = logging.getLogger(__name__)

FOLDER, FILE, ABOUT = "encoder", "encoder.ckpt", "encoder.json"  # in the run folder
PAIRS = 500  # largest number of training images with known latents
PAIRS_VALUES = 2 ** 24  # largest number of values in them, because they are kept in memory
SHIFT = 2  # largest shift, in pixels at 64 x 64
GAIN = 0.15  # largest relative change of a colour channel


@dataclass(frozen=True)
class EncoderOptions:
    """steps: optimizer steps. regression: fraction of the steps that use the regression loss. energy_weight: weight of
    the energy per latent dimension during those steps; 1 afterwards. seed: random seed of the samples and their
    order."""

    steps: int = 2000
    batch_size: int = 40
    learning_rate: float = 1e-3  # initial value; it falls along a cosine
    regression: float = 0.3
    energy_weight: float = 0.05
    seed: int = 1


class Pairs(NamedTuple):
    """Training images whose latents are known."""

    images: np.ndarray  # (n, C, H, W)
    latents: Arrays  # (n, d) of each group


class EncoderLoss(nn.Cell):
    """(x, sigma, weights of the two terms, known (N,), latents of each group) -> (loss, energies (N,), errors (N,)).

    The loss is the weighted sum of the mean squared error of the latents of known samples (known = 1) and the mean
    energy of the encoder's latents, summed over the encoder's rounds; energies and errors are returned for the last
    round. Groups that are not sampled have the given latents.
    """

    def __init__(self, encoder: ChainEncoder, energy: Energy, batch_size: int) -> None:
        super().__init__()
        self.encoder, self.energy = encoder, energy
        self.mask = Tensor(mask_or_ones(batch_size))
        self.sampled = tuple(group.sampled for group in energy.model.groups)

    def construct(self, x: Tensor, sigma: Tensor, weights: Tensor, known: Tensor,
                  *targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss, energies, errors = 0.0, known, known
        for encoded in self.encoder.refinements(x):
            latents, errors, k = (), 0.0, 0
            for g in range(len(self.sampled)):
                z = targets[g]
                if self.sampled[g]:
                    z = encoded[k]
                    errors = errors + ops.reduce_sum(ops.square(z - targets[g]), 1)
                    k += 1
                latents = latents + (z,)
            energies = self.energy.total(x, self.mask, latents, self.energy.outputs(latents), sigma)
            loss = loss + weights[0] * ops.reduce_mean(known * errors) + weights[1] * ops.reduce_mean(energies)
        return loss, energies, errors


def train_encoder(encoder: ChainEncoder, energy: Energy, sigma: float, source: Source, pairs: Pairs,
                  options: EncoderOptions = EncoderOptions(),
                  report: Callable[[int, float], None] | None = None) -> None:
    """Trains an encoder for the model of `energy`, whose weights stay fixed.

    source: all training images. pairs: some of them with latents. report(step, mean energy of the batch): called after
    each step. Raises RunFailed if the loss is not finite.
    """
    size = min(options.batch_size, 2 * len(source))
    loss = EncoderLoss(encoder, energy, size)
    step = TrainStep(loss, adam(encoder.networks.trainable_params()))
    dimensions = sum(group.shape[0] for group in energy.model.groups if group.sampled)
    batches = _batches(energy.model, source, pairs, size, options)
    for k, (x, known, latents) in enumerate(batches):
        early = k < options.regression * options.steps
        weights = np.array([1, options.energy_weight] if early else [0, 1], np.float32) / dimensions
        inputs = as_tensors((x, np.array(sigma, np.float32), weights, known, *latents))
        value, energies, _ = step(cosine(options.learning_rate, k / options.steps), [inputs])[0]
        if not np.isfinite(value):
            raise RunFailed(f"step {k} of the encoder: the loss is {value}; lower its learning rate")
        if report:
            report(k, float(energies.mean()))


def _batches(model: Model, source: Source, pairs: Pairs, size: int,
             options: EncoderOptions) -> Iterator[tuple[np.ndarray, np.ndarray, Arrays]]:
    """(images, 1 where the latents are known, latents of each group).

    The first half of a batch are samples of the generator, the second half training images; half of these are from
    `pairs`, the others are augmented.
    """
    rng, samples, groups = generator(options.seed, "encoder batches"), size // 2, model.groups
    residuals = pairs.images - decode(model, *pairs.latents).image
    fitted = FittedPrior.of_latents(model, pairs.latents)
    for step in range(options.steps):
        drawn = draw_latents(model, samples, rng, fitted=fitted if step % 2 else None)
        sampled = decode(model, *drawn, batch_size=samples).image
        sampled = sampled + residuals[rng.integers(len(residuals), size=samples)]
        rows = rng.integers(len(pairs.images), size=(size - samples) // 2)
        others = rng.integers(len(source), size=size - samples - len(rows))
        given = given_latents(groups, source, others)
        known = np.arange(size) < samples + len(rows)
        latents = tuple(np.concatenate([z, paired[rows], given.get(group.name, np.zeros_like(paired, shape=(
            len(others), *group.shape)))]) for group, z, paired in zip(groups, drawn, pairs.latents))
        yield (np.concatenate([sampled, pairs.images[rows], augmented(source.read(others), rng)]),
               known.astype(np.float32), latents)


def augmented(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images (n, C, H, W), mirrored with probability 1/2, shifted by a few pixels, and with random channel gains."""
    n, channels, height, width = images.shape
    most = max(SHIFT * width // 64, 1)
    gains = rng.uniform(1 - GAIN, 1 + GAIN, (n, channels, 1, 1)).astype(np.float32)
    padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)), mode="edge")
    result = np.empty_like(images)
    for k, (down, right) in enumerate(rng.integers(0, 2 * most + 1, (n, 2))):
        result[k] = padded[k, :, down:down + height, right:right + width][:, :, ::rng.choice((-1, 1))]
    return np.clip(result * gains, 0, 1)


def pairs_of(run_images: Source, latents: Callable[[np.ndarray], Arrays]) -> Pairs:
    """Evenly spaced training images, limited by PAIRS and PAIRS_VALUES. latents(indices): latents of the images."""
    indices = evenly_spaced(len(run_images), max(min(PAIRS, PAIRS_VALUES // int(np.prod(run_images.shape))), 1))
    return Pairs(run_images.read(indices), latents(indices))


def save_chain_encoder(folder: Path, saved: Path, encoder: ChainEncoder, about: dict[str, Any],
                       half: bool = False) -> Path:
    """Writes an encoder for the weights of the checkpoint `saved` to a run folder; returns its file.

    half: whether to store float16.
    """
    path = folder / FOLDER / FILE
    with replacing(path) as temporary:
        parameters.save(temporary, encoder.networks, half)
    write_json(path.with_name(ABOUT), {**_model_of(saved), "encoder": sha256(path), **about})
    return path


def load_chain_encoder(folder: RunFolder, model: Model, saved: Path) -> ChainEncoder | None:
    """The encoder of a run; None if there is none, or if it was trained for other weights than those of `saved`."""
    path = folder.path / FOLDER / FILE
    try:
        about = read_json(path.with_name(ABOUT), dict)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        about = {}
    other = any(about.get(name) != digest for name, digest in _model_of(saved).items())
    if other or not path.is_file() or about.get("encoder") != sha256(path):
        log.warning("%s is not used: it is damaged, or was trained for other weights than those of %s; `python -m dgn "
                    "encoder` trains it again", path, saved)
        return None
    encoder = make_chain_encoder(folder.config, model)
    parameters.load(path.parent, {"encoder": encoder.networks})
    return encoder


def _model_of(saved: Path) -> dict[str, str | None]:
    """Digests of a checkpoint's weights and principal axes; the latents depend on both."""
    manifest = checkpoint.read_manifest(saved)
    return {"weights": manifest.get("weights.ckpt"), "axes": manifest.get(checkpoint.AXES)}
