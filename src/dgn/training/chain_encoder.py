"""An encoder beside the chains: its latents of an image are the first values of the image's Langevin chain.

It is trained on a finished model: first by regression on latents that are known, those of training images from their
chains and those of samples of the generator; then by the energy (Eq. 8) of its own latents through the generator, whose
weights stay as they are. The residual of a training image is added to a sample, which then differs from the
generator's images as a real one does. Half of the training images are shifted, mirrored and changed in color: there may
be few of them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mindspore import Tensor, nn, ops

from dgn.data.source import Source, evenly_spaced
from dgn.errors import RunFailed
from dgn.files import replacing, sha256, write_json
from dgn.inference.energy import Energy, full_mask
from dgn.inference.fitted import FittedPrior, draw_latents
from dgn.inference.langevin import Arrays, as_tensors
from dgn.inference.latents import given_latents
from dgn.nets.build import make_chain_encoder
from dgn.nets.encoder import ChainEncoder
from dgn.nets.model import Model, decode
from dgn.randomness import generator
from dgn.run_folder import RunFolder
from dgn.training import checkpoint
from dgn.training.optim import TrainStep, adam, cosine

log = logging.getLogger(__name__)

FOLDER, FILE, ABOUT = "encoder", "encoder.ckpt", "encoder.json"  # in the run folder
PAIRS = 500  # training images with known latents, at most
PAIRS_VALUES = 2 ** 24  # and values in them: they are held in memory
SHIFT = 2  # pixels at 64 x 64
GAIN = 0.15  # largest relative change of a color channel


@dataclass(frozen=True)
class EncoderOptions:
    """steps: of the optimizer; regression: the share of them in which known latents count; energy_weight: of the energy
    of a latent dimension meanwhile; seed: of samples and order."""

    steps: int = 2000
    batch_size: int = 40
    learning_rate: float = 1e-3  # at first; it falls along a cosine
    regression: float = 0.3
    energy_weight: float = 0.05
    seed: int = 1


class Pairs(NamedTuple):
    """Training images whose latents are known."""

    images: np.ndarray  # (n, C, H, W)
    latents: Arrays  # (n, d) of each group


class EncoderLoss(nn.Cell):
    """(x, sigma, weights of the two terms, known (N,), latents of each group) -> (loss, energies (N,), errors (N,)).

    The loss is the mean squared error of the latents of known samples, and the mean energy of the encoder's latents,
    summed over its rounds; the energies and errors are those of the last one. Groups that are not sampled have the
    given latents.
    """

    def __init__(self, encoder: ChainEncoder, energy: Energy, batch_size: int) -> None:
        super().__init__()
        self.encoder, self.energy = encoder, energy
        self.mask = Tensor(full_mask(batch_size))
        self.sampled = tuple(group.sampled for group in energy.model.groups)

    def construct(self, x: Tensor, sigma: Tensor, weights: Tensor, known: Tensor,
                  *targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss, energies, errors = 0.0, known, known
        for encoded in self.encoder.refinements(x):
            latents, errors, place = (), 0.0, 0
            for g in range(len(self.sampled)):
                z = targets[g]
                if self.sampled[g]:
                    z = encoded[place]
                    errors = errors + ops.reduce_sum(ops.square(z - targets[g]), 1)
                    place += 1
                latents = latents + (z,)
            energies = self.energy.total(x, self.mask, latents, self.energy.outputs(latents), sigma)
            loss = loss + weights[0] * ops.reduce_mean(known * errors) + weights[1] * ops.reduce_mean(energies)
        return loss, energies, errors


def train_encoder(encoder: ChainEncoder, energy: Energy, sigma: float, source: Source, pairs: Pairs,
                  options: EncoderOptions = EncoderOptions(),
                  report: Callable[[int, float], None] | None = None) -> None:
    """Trains an encoder for the model of `energy`, whose weights stay as they are.

    source: all training images; pairs: some of them with latents; report(step, mean energy of the batch).
    Raises RunFailed if the energy is not finite.
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
    """(images, 1 where the latents are known, latents of each group): samples of the generator in the first half,
    training images in the second; of these, half are from `pairs`, the others changed."""
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
        latents = tuple(np.concatenate([z, own[rows], given.get(group.name, np.zeros_like(own, shape=(
            len(others), *group.shape)))]) for group, z, own in zip(groups, drawn, pairs.latents))
        yield (np.concatenate([sampled, pairs.images[rows], changed(source.read(others), rng)]),
               known.astype(np.float32), latents)


def changed(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Images (n, C, H, W), each mirrored in half of the cases, shifted by a few pixels, and with other gains of its
    channels."""
    n, channels, height, width = images.shape
    most = max(SHIFT * width // 64, 1)
    gains = rng.uniform(1 - GAIN, 1 + GAIN, (n, channels, 1, 1)).astype(np.float32)
    padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)), mode="edge")
    result = np.empty_like(images)
    for k, (down, right) in enumerate(rng.integers(0, 2 * most + 1, (n, 2))):
        result[k] = padded[k, :, down:down + height, right:right + width][:, :, ::rng.choice((-1, 1))]
    return np.clip(result * gains, 0, 1)


def pairs_of(run_images: Source, latents: Callable[[np.ndarray], Arrays]) -> Pairs:
    """Evenly spaced training images, as many as fit PAIRS and PAIRS_VALUES; latents(indices) gives theirs."""
    chosen = evenly_spaced(len(run_images), max(min(PAIRS, PAIRS_VALUES // int(np.prod(run_images.shape))), 1))
    return Pairs(run_images.read(chosen), latents(chosen))


def save_chain_encoder(folder: Path, saved: Path, encoder: ChainEncoder, about: dict[str, Any],
                       half: bool = False) -> Path:
    """Writes an encoder of the weights of the checkpoint `saved` into a run folder, half: as float16; returns its
    file."""
    path = folder / FOLDER / FILE
    with replacing(path) as temporary:
        checkpoint.save_parameters(temporary, encoder.networks, half)
    write_json(path.with_name(ABOUT), {**_model_of(saved), "encoder": sha256(path), **about})
    return path


def load_chain_encoder(folder: RunFolder, model: Model, saved: Path) -> ChainEncoder | None:
    """The encoder of a run; None if it has none, or one of other weights than those of the checkpoint `saved`."""
    path = folder.path / FOLDER / FILE
    try:
        about = json.loads(path.with_name(ABOUT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        about = {}
    other = any(about.get(name) != digest for name, digest in _model_of(saved).items())
    if other or not path.is_file() or about.get("encoder") != sha256(path):
        log.warning("%s is damaged, or was trained for other weights than those of %s, and is not used; `python -m dgn "
                    "encoder` trains it again", path, saved)
        return None
    encoder = make_chain_encoder(folder.config, model)
    checkpoint.load(path.parent, {"encoder": encoder.networks})
    return encoder


def _model_of(saved: Path) -> dict[str, str | None]:
    """Digests of the weights of a checkpoint and of its principal axes: the latents depend on both."""
    manifest = json.loads((saved / checkpoint.MANIFEST).read_text(encoding="utf-8"))
    return {"weights": manifest["weights.ckpt"], "axes": manifest.get(checkpoint.AXES)}
