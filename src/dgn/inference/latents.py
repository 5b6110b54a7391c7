"""The persistent chains: every sample's latents, by sample index, on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Dict, Iterable, Optional, Tuple

import numpy as np

from dgn.errors import RunFailed, UserError
from dgn.nets.model import LatentGroup
from dgn.randomness import generator

_BLOCK = 4096  # samples whose first latents come from one generator


class LatentBank:
    """One memory-mapped array (count, *shape) float32 for each latent group: millions of chains need no memory.

    The files are the working state between checkpoints; a checkpoint keeps a copy. owned: the samples whose chains this process
    moves; several processes share the files, and each touches its own rows alone.
    """

    def __init__(self, arrays: Dict[str, np.ndarray], owned: slice = slice(None)) -> None:
        self.arrays, self.owned = arrays, owned

    @classmethod
    def create(cls, folder: Path, groups: Iterable[LatentGroup], count: int, seed: int,
               given: Optional[Dict[str, np.ndarray]] = None) -> "LatentBank":
        """New chains in `folder`, each started from the prior; a sample's start depends on seed and index alone.

        given: the latents (count, *shape) of the groups that are not sampled.
        """
        arrays = {}
        for number, group in enumerate(groups):
            array = _allocate(folder / f"{group.name}.npy", (count, *group.shape))
            if not group.sampled:
                array[:] = given[group.name]
            else:
                for start in range(0, count, _BLOCK):
                    block = generator(seed, "first latents", number, start).standard_normal((_BLOCK, *group.shape), np.float32)
                    array[start:start + _BLOCK] = block[:count - start]
            arrays[group.name] = array
        return cls(arrays)

    @classmethod
    def open(cls, folder: Path, groups: Iterable[LatentGroup], mode: str = "r", owned: slice = slice(None)) -> "LatentBank":
        """The chains stored in `folder`; mode "r" to read, "r+" to go on with them.

        Raises UserError if a file is missing or belongs to another model.
        """
        arrays = {}
        for group in groups:
            path = folder / f"{group.name}.npy"
            try:
                array = np.load(path, mmap_mode=mode, allow_pickle=False)
            except (OSError, ValueError) as error:
                raise UserError(f"cannot read the latents {path}: {error}") from None
            if array.shape[1:] != group.shape:
                raise UserError(f"{path} holds latents of shape {array.shape[1:]}, this model's {group.name} has {group.shape}")
            arrays[group.name] = array
        return cls(arrays, owned)

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def read(self, indices: np.ndarray) -> Tuple[np.ndarray, ...]:
        """Latents of the samples at `indices`, (n, *shape) for each group."""
        return tuple(np.asarray(array[indices]) for array in self.arrays.values())

    def write(self, indices: np.ndarray, latents: Tuple[np.ndarray, ...]) -> None:
        """Keeps the new state of the chains at `indices`."""
        for array, values in zip(self.arrays.values(), latents):
            array[indices] = values

    def restart(self, groups: Iterable[LatentGroup]) -> None:
        """This process's chains of these groups begin again at the prior's mean, where inference of unseen images begins too."""
        for group in groups:
            if group.sampled:
                self.arrays[group.name][self.owned] = 0

    def flush(self) -> None:
        """What was written is in the files, where other processes see it."""
        for array in self.arrays.values():
            array.flush()

    def save(self, folder: Path) -> None:
        """A copy of every array in `folder`, as <group>.npy. Raises OSError if the disk refuses."""
        for name, array in self.arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)

    def moments(self) -> Dict[str, Tuple[float, float]]:
        """Mean and standard deviation of each group over samples and dimensions; near (0, 1) if prior and posterior agree."""
        return {name: moments(*sums) for name, sums in self.power_sums().items()}

    def power_sums(self) -> Dict[str, Tuple[float, float, float]]:
        """Number, sum and sum of squares of each group's values, of the samples that this process owns."""
        return {name: _power_sums(array[self.owned]) for name, array in self.arrays.items()}


def _allocate(path: Path, shape: Tuple[int, ...]) -> np.ndarray:
    """A mapped file whose disk space is reserved now: a full disk is an error here, not a crash at a later write."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise RunFailed(f"cannot write the latents {path}: {error.strerror or error}") from None
    return array


def _power_sums(array: np.ndarray) -> Tuple[float, float, float]:
    """Block by block, so that a mapped array need not fit into memory."""
    total, squares = 0.0, 0.0
    for start in range(0, len(array), _BLOCK):
        block = array[start:start + _BLOCK].astype(np.float64)
        total, squares = total + block.sum(), squares + np.square(block).sum()
    return float(array.size), float(total), float(squares)


def moments(count: float, total: float, squares: float) -> Tuple[float, float]:
    """Mean and standard deviation of values whose number, sum and sum of squares are known."""
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean ** 2, 0.0)))
