"""A Gaussian fitted to the inferred training latents, to sample from (beyond the paper).

The aggregate posterior is not N(0, I): dimensions correlate, within and between groups, and the noise xi_t of a clip
correlates over time. Prior samples therefore look less like the data, and clips move too fast. The fit has two parts:

  states (Z; Z_0 of clips)   a Gaussian with full covariance over all sampled groups
  noise (xi_1 .. xi_T)       a stationary VAR(1): xi_t = mean + basis y_t,  y_t = r y_{t-1} + sqrt(1 - r^2) e_t

Estimation of the noise: xi is whitened. The directions are the eigenvectors of the symmetrized lag-1 autocovariance, c1
its eigenvalues, c2 the lag-2 autocovariances along these directions. Then r = c2 / c1, and c1 / r is the variance
without the white noise of Langevin dynamics, which contributes only at lag 0. In its training clip the other latents
compensate for this noise; in a new clip it would appear as motion. A variance up to 1 needs |c1| <= |r| <= 1 and the
sign of c1, so r is limited to this range: at |r| = |c1| the variance is 1, and there is no white noise. If |c1| is
below twice its sampling error, r = c1 and the variance is 1.

Covariances are shrunk towards the prior by d pseudo-observations, so that they are positive definite for few samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dgn.errors import UserError
from dgn.files import write_arrays
from dgn.indices import evenly_spaced
from dgn.inference.latents import LatentBank
from dgn.nets.model import Model, state_sizes
from dgn.reading import read_arrays

SAMPLES = 20_000  # largest number of samples in a fit; they are evenly spaced
Mask = Callable[[np.ndarray], np.ndarray | None]  # sample indices (n,) -> the frames that clips have (n, F)


class FittedPrior(NamedTuple):
    """States: mean + basis e with e standard normal. Noise: the VAR(1) described above. The dimensions of all sampled
    groups are concatenated in order."""

    mean: np.ndarray  # (d,)
    basis: np.ndarray  # (d, d)
    noise_mean: np.ndarray  # (k,); k is 0 for images
    noise_basis: np.ndarray  # (k, k)
    correlation: np.ndarray  # (k,) r of each direction: correlation of successive frames

    @classmethod
    def fit(cls, model: Model, bank: LatentBank, mask: Mask) -> FittedPrior:
        """The fit to a bank that holds all shards. mask is called only for clips."""
        chosen = evenly_spaced(len(bank), SAMPLES)
        return cls.of_latents(model, bank.read(chosen), mask(chosen) if model.frames else None)

    @classmethod
    def of_latents(cls, model: Model, latents: Sequence[np.ndarray],
                   mask: np.ndarray | None = None) -> FittedPrior:
        """The fit to latents (n, d) of each group. mask: (n, F), 1 where a clip has the frame (default: all ones)."""
        states, noise = split(model, latents)
        steps = noise.shape[1]  # of the last frames: of all frames, or of all but the first
        have = np.ones(noise.shape[:2], bool) if mask is None else np.asarray(mask)[:, mask.shape[1] - steps:] > 0
        return cls.of_arrays(states, noise, have)

    @classmethod
    def of_arrays(cls, states: np.ndarray, noise: np.ndarray, have: np.ndarray) -> FittedPrior:
        """The fit to states (n, d) and noise (n, T, k).

        have: (n, T), whether the noise belongs to a frame that the clip has.
        """
        noise_mean, root = _gaussian(noise[have])
        white = (noise - noise_mean) @ np.linalg.inv(root).T
        c1, directions = np.linalg.eigh(_lagged(white, have, 1))
        correlation, variance = np.clip(c1, -1, 1), np.ones_like(c1)
        if have[:, 2:].any():
            c2 = np.diagonal(directions.T @ _lagged(white, have, 2) @ directions)
            # if frames are independent, as under the prior, c1 and c2 are about 0 and their ratio is meaningless
            clear = np.abs(c1) > 2 * math.sqrt(len(c1) / have[:, 1:].sum())
            size = np.minimum(np.abs(c1[clear]), 1)
            correlation[clear] = np.sign(c1[clear]) * np.clip(c2[clear] / np.abs(c1[clear]), size, 1)
            variance[clear] = size / np.abs(correlation[clear])
        return cls(*_gaussian(states), noise_mean, root @ directions * np.sqrt(variance), correlation)

    def transform(self, states: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Transforms standard normal values (n, d) and (n, T, k), for any T, into samples of the fit."""
        moving, fresh = np.empty_like(noise), np.sqrt(1 - np.square(self.correlation))
        for t in range(noise.shape[1]):
            moving[:, t] = noise[:, t] if t == 0 else self.correlation * moving[:, t - 1] + fresh * noise[:, t]
        return self.mean + states @ self.basis.T, self.noise_mean + moving @ self.noise_basis.T

    def save(self, path: Path, checkpoint: str) -> None:
        """Writes the fit, and the name of the checkpoint whose latents it was fitted to, to an .npz file."""
        write_arrays(path, checkpoint=np.array(checkpoint), **self._asdict())

    @classmethod
    def load(cls, path: Path, checkpoint: str) -> FittedPrior | None:
        """The fit in a file; None if the file is missing or damaged, or belongs to another checkpoint."""
        try:
            stored = read_arrays(path)
            return cls(*(stored[name] for name in cls._fields)) if stored["checkpoint"] == checkpoint else None
        except (OSError, ValueError, KeyError):
            return None


def draw_latents(model: Model, count: int, rng: np.random.Generator, frames: int | None = None,
                 fitted: FittedPrior | None = None) -> list[np.ndarray]:
    """New latents (count, d) float32 of each group, from the prior or from `fitted`; groups that are not sampled cycle
    through their labels. frames: of each clip (default: as in training).

    Raises UserError for count < 1, frames < 1, or frames for a model of images.
    """
    if not isinstance(count, (int, np.integer)) or count < 1:
        raise UserError(f"count is {count}; it must be an integer, at least 1")
    if frames is not None and not model.frames:
        raise UserError(f"frames is {frames}, and this model makes images")
    if frames is not None and (not isinstance(frames, (int, np.integer)) or frames < 1):
        raise UserError(f"frames is {frames}; it must be an integer, at least 1")
    latents = []
    for group, branch in zip(model.groups, model.branches):
        shape = (branch.length(frames or model.frames),) if model.frames else group.shape
        latents.append(rng.standard_normal((count, *shape), np.float32) if group.sampled
                       else np.resize(np.eye(group.shape[0], dtype=np.float32), (count, *group.shape)))
    return latents if fitted is None else join(model, latents, *fitted.transform(*split(model, latents)))


def split(model: Model, latents: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Splits latents of each group into states (n, d) (Z; Z_0 of clips) and noise (n, T, k) of all sampled groups,
    float64."""
    parts = _parts(model)
    states = [latents[g][:, :size] for g, size, _ in parts]
    steps = max(((latents[g].shape[1] - size) // noise for g, size, noise in parts if noise), default=0)
    noise = [latents[g][:, size:].reshape(len(latents[g]), steps, noise) for g, size, noise in parts if noise]
    none = np.zeros((len(states[0]), steps, 0))
    return np.concatenate(states, 1).astype(np.float64), np.concatenate([*noise, none], 2)


def join(model: Model, latents: Sequence[np.ndarray], states: np.ndarray, noise: np.ndarray) -> list[np.ndarray]:
    """The inverse of `split`, float32; groups that are not sampled are copied from `latents`."""
    joined, parts = list(latents), _parts(model)
    for g, size, width in parts:
        state, states = np.split(states, [size], 1)
        moving, noise = np.split(noise, [width], 2)
        joined[g] = np.concatenate([state, moving.reshape(len(state), -1)], 1).astype(np.float32)
    return joined


def _parts(model: Model) -> list[tuple[int, int, int]]:
    """(index, dimensions of Z or Z_0, dimensions of xi_t) of the sampled groups."""
    noise = [branch.noise_size if model.frames else 0 for branch in model.branches]
    return [(g, size, noise[g]) for g, size in enumerate(state_sizes(model)) if model.groups[g].sampled]


def _lagged(values: np.ndarray, have: np.ndarray, lag: int) -> np.ndarray:
    """Symmetrized covariance of values (n, T, k), of mean 0, with the values `lag` frames later; 0 without pairs."""
    pairs = have[:, lag:]  # a clip that has a frame has all earlier frames
    covariance = values[:, :values.shape[1] - lag][pairs].T @ values[:, lag:][pairs] / max(pairs.sum(), 1)
    return (covariance + covariance.T) / 2


def _gaussian(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (d,) of values (n, d), and a lower triangular root (d, d) of their covariance."""
    n, d = values.shape
    mean = values.sum(0) / max(n, 1)
    centred = values - mean
    return mean, np.linalg.cholesky((centred.T @ centred + d * np.eye(d)) / max(n + d, 1))
