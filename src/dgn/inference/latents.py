"""The persistent chains: the latents of every training sample by its index, in memory-mapped files."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from dgn.data.source import Source, one_hot
from dgn.errors import RunFailed, UserError, first_line
from dgn.nets.model import LatentGroup
from dgn.randomness import generator
from dgn.reading import read_arrays

_BLOCK = 4096  # samples whose initial latents come from one random generator


class LatentBank:
    """A memory-mapped array (n, *shape) float32 for each latent group and shard, so that chains need little memory.

    Shard s of S holds the samples s, s + S, s + 2 S ... of `count` samples. Each process of a training holds one shard,
    in files that no other process writes, so processes may run on several hosts; a checkpoint holds all shards. A
    single shard is named <group>.npy, one of several <group>-00002-of-00004.npy.

    The files in a run folder are the working state between checkpoints; checkpoints hold copies.
    """

    def __init__(self, count: int, shards: int, held: dict[int, dict[str, np.memmap]],
                 rotations: Mapping[str, np.ndarray] | None = None) -> None:
        self.count, self.shards, self.held, self.rotations = count, shards, held, rotations or {}

    @classmethod
    def create(cls, folder: Path, groups: Iterable[LatentGroup], count: int, seed: int,
               given: dict[str, np.ndarray] | None = None, shard: int = 0, shards: int = 1) -> LatentBank:
        """New chains of a shard in `folder`, drawn from the prior; a sample's initial latents depend only on seed and
        index.

        given: latents of the groups that are not sampled, for the shard's samples.
        """
        bank = cls._empty(folder, groups, count, shard, shards)
        for number, group in enumerate(groups):
            array = bank.held[shard][group.name]
            if not group.sampled:
                array[:] = (given or {})[group.name]
                continue
            for start in range(0, count, _BLOCK):
                rng = generator(seed, "first latents", number, start)
                block = rng.standard_normal((_BLOCK, *group.shape), np.float32)
                indices = np.arange(start + (shard - start) % shards, min(start + _BLOCK, count), shards)
                array[indices // shards] = block[indices - start]
        return bank

    @classmethod
    def open(cls, folder: Path, groups: Iterable[LatentGroup], shards: int | None = None,
             rotations: Mapping[str, np.ndarray] | None = None) -> LatentBank:
        """The chains of all samples in `folder`, read-only.

        shards: number of shards (default: as the file names say). rotations: (d, d) by group name; latents are
        multiplied by them when they are read. Raises UserError if a file is missing or damaged, or belongs to another
        model.
        """
        groups = tuple(groups)
        shards = shards or _stored_shards(folder, groups[0].name)
        held = {shard: {group.name: _open(folder / file_name(group.name, shard, shards), group) for group in groups}
                for shard in range(shards)}
        count = sum(len(arrays[groups[0].name]) for arrays in held.values())
        for shard, name in itertools.product(held, held[0]):
            if len(held[shard][name]) != (wanted := len(range(shard, count, shards))):
                raise UserError(f"{folder / file_name(name, shard, shards)} holds latents of "
                                f"{len(held[shard][name])} samples, not {wanted} as the others")
        return cls(count, shards, held, rotations)

    def copy_shard(self, folder: Path, groups: Iterable[LatentGroup], shard: int, shards: int) -> LatentBank:
        """Copies one of `shards` shards to `folder`; this bank may have another number of shards."""
        bank = LatentBank._empty(folder, groups, self.count, shard, shards)
        of_shard = range(shard, self.count, shards)
        for start in range(0, len(of_shard), _BLOCK):
            indices = np.array(of_shard[start:start + _BLOCK])
            bank.write(indices, self.read(indices))
        return bank

    @classmethod
    def _empty(cls, folder: Path, groups: Iterable[LatentGroup], count: int, shard: int, shards: int) -> LatentBank:
        n = len(range(shard, count, shards))
        arrays = {group.name: _allocate(folder / file_name(group.name, shard, shards), (n, *group.shape))
                  for group in groups}
        return cls(count, shards, {shard: arrays})

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        arrays = next(iter(self.held.values()))
        return f"LatentBank({self.count} samples, {', '.join(f'{name} {z.shape[1]}' for name, z in arrays.items())})"

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, ...]:
        """Latents of the samples at `indices`, (n, *shape) for each group; this process must hold their shards."""
        parts = list(self._by_shard(indices))
        first = next(iter(self.held.values()))
        latents = {name: np.empty((len(indices), *array.shape[1:]), np.float32) for name, array in first.items()}
        for arrays, chosen, rows in parts:
            for name, values in latents.items():
                values[chosen] = arrays[name][rows]
        return tuple(values @ self.rotations[name] if name in self.rotations else values
                     for name, values in latents.items())

    def write(self, indices: np.ndarray, latents: tuple[np.ndarray, ...]) -> None:
        """Replaces the latents of the samples at `indices`; this process must hold their shards."""
        for arrays, chosen, rows in self._by_shard(indices):
            for array, values in zip(arrays.values(), latents):
                array[rows] = values[chosen]

    def _by_shard(self, indices: np.ndarray) -> Iterator[tuple[dict[str, np.memmap], np.ndarray, np.ndarray]]:
        """(arrays, mask over the indices, their rows in the arrays) of each shard."""
        indices = np.asarray(indices)
        of_shard = indices % self.shards
        for shard in np.unique(of_shard):
            chosen = of_shard == shard
            yield self.held[int(shard)], chosen, indices[chosen] // self.shards

    def restart(self, groups: Iterable[LatentGroup]) -> None:
        """Sets the chains of these groups to the prior mean, where the inference of unseen images starts, too."""
        for group in groups:
            if group.sampled:
                for arrays in self.held.values():
                    arrays[group.name][:] = 0

    def flush(self) -> None:
        """Flushes the memory maps to disk."""
        for arrays in self.held.values():
            for array in arrays.values():
                array.flush()

    def save(self, folder: Path) -> list[Path]:
        """Writes a copy of every array to `folder` and returns the files. Raises OSError if that fails."""
        files = []
        for shard, arrays in self.held.items():
            for name, array in arrays.items():
                files.append(folder / file_name(name, shard, self.shards))
                np.save(files[-1], array, allow_pickle=False)
        return files

    def power_sums(self) -> dict[str, tuple[float, float, float]]:
        """Number, sum and sum of squares of each group's values in the shards of this process."""
        result: dict[str, tuple[float, float, float]] = {}
        for arrays in self.held.values():
            for name, array in arrays.items():
                result[name] = tuple(np.add(result.get(name, (0.0, 0.0, 0.0)), _power_sums(array)))
        return result


def file_name(group: str, shard: int, shards: int) -> str:
    """File of one shard of a group's latents."""
    return f"{group}.npy" if shards == 1 else f"{group}-{shard:05d}-of-{shards:05d}.npy"


def remove_other_shards(folder: Path, groups: Iterable[LatentGroup], shards: int) -> None:
    """Removes the files of another number of shards, which remain when a training is resumed with other processes."""
    for group in groups:
        wanted = {file_name(group.name, shard, shards) for shard in range(shards)}
        for path in (folder / f"{group.name}.npy", *folder.glob(f"{group.name}-*-of-*.npy")):
            if path.name not in wanted:
                path.unlink(missing_ok=True)


def _stored_shards(folder: Path, group: str) -> int:
    if (folder / file_name(group, 0, 1)).exists():
        return 1
    sets = [path.stem.rsplit("-", 1)[1] for path in folder.glob(f"{group}-00000-of-*.npy")]
    return next((int(shards) for shards in sets if shards.isdecimal() and int(shards)), 1)


def _open(path: Path, group: LatentGroup) -> np.memmap:
    try:
        array = read_arrays(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the latents {path}: {first_line(error)}") from None
    if array.dtype != np.float32 or array.shape[1:] != group.shape:
        raise UserError(f"{path} holds latents of shape {array.shape[1:]} in {array.dtype}, but this model's "
                        f"{group.name} has {group.shape} in float32")
    return array


def _allocate(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new memory-mapped file with reserved disk space, so that a full disk is an error here, not a crash at a later
    write."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # it may be a link to another file
        array = np.lib.format.open_memmap(path, "w+", np.float32, shape)
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise RunFailed(f"cannot write the latents {path}: {error.strerror or error}") from None
    return array


def _power_sums(array: np.ndarray) -> tuple[float, float, float]:
    """Number, sum and sum of squares, computed in blocks, because a mapped array may exceed the memory."""
    total, squares = 0.0, 0.0
    for start in range(0, len(array), _BLOCK):
        block = array[start:start + _BLOCK].astype(np.float64)
        total, squares = total + block.sum(), squares + np.square(block).sum()
    return float(array.size), float(total), float(squares)


def mean_and_deviation(count: float, total: float, squares: float) -> tuple[float, float]:
    """Mean and standard deviation from number, sum and sum of squares."""
    mean = total / count
    return mean, float(np.sqrt(max(squares / count - mean ** 2, 0.0)))


def given_latents(groups: Iterable[LatentGroup], source: Source,
                  indices: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Latents from the data: one-hot labels (n, *shape) for each group that is not sampled.

    indices: indices of the samples (default: all). Raises UserError if the samples have no labels, or if the number of
    classes differs from the group's number of dimensions.
    """
    given = {}
    for group in groups:
        if not group.sampled:
            labels = source.labels(source.indices() if indices is None else indices)
            if labels is None:
                raise UserError("model.appearance is label, but these images have no labels; data.format mnist and "
                                "cifar10 have them")
            if source.classes() not in (None, group.shape[0]):
                raise UserError(f"model.z_app is {group.shape[0]}; with model.appearance label it must be the number "
                                f"of labels, {source.classes()}")
            given[group.name] = one_hot(labels, group.shape[0])
    return given
