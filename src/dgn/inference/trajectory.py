"""The course of Langevin chains, recorded while they run: for mixing, effective sample sizes and energies."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from dgn.inference.chains import Diagnostics
from dgn.nets.model import Arrays


class Trajectory(NamedTuple):
    """N chains over K steps, which C calls of the compiled graph run.

    latents: arrays (C, N, d) of each group, named as those of `Run.infer`: the state after each call. The last are the
    result. energy: (K, N), E(x, z) before each step, at the sigma of that step (evaluation.sigma_factor).
    gradient_norms: (K, G, N), the norm of dE/dz of each of the G sampled groups, before the step of that group.
    """

    latents: Any
    energy: np.ndarray
    gradient_norms: np.ndarray


class Recorder:
    """Keeps what dgn.inference.unseen.infer reports of every call (its `observe`)."""

    def __init__(self) -> None:
        self.batches: dict[int, list[tuple[Arrays, Diagnostics]]] = {}  # by the position of the first sample

    def __call__(self, position: int, latents: Arrays, diagnostics: Diagnostics) -> None:
        self.batches.setdefault(position, []).append((latents, diagnostics))

    def trajectory(self, latents_type: type) -> Trajectory:
        """All that was kept. latents_type: of the model."""
        batches = [[*zip(*calls)] for calls in self.batches.values()]
        latents = [[np.stack(group) for group in zip(*states)] for states, _ in batches]
        energy = [np.concatenate([record.energy for record in records]) for _, records in batches]
        gradient = [np.concatenate([record.gradient for record in records]) for _, records in batches]
        return Trajectory(latents_type(*(np.concatenate(group, 1) for group in zip(*latents))),
                          np.concatenate(energy, 1), np.concatenate(gradient, 2))
