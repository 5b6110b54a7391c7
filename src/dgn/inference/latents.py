"""The persistent chains: every sample's latents, by sample index, on disk, in one shard or several."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

import numpy as np

from dgn.data.source import Source, one_hot
from dgn.errors import RunFailed, UserError
from dgn.nets.model import LatentGroup
from dgn.randomness import generator

_BLOCK = 4096  # samples whose first latents come from one generator


class LatentBank:
    """For each latent group a memory-mapped array (n, *shape) float32 a shard: millions of chains need no memory.

    Shard s of S holds the samples s, s + S, s + 2 S ... of `count`. A process of a training holds one of as many shards as
    there are processes, in files that no other process writes, so the processes may be on several hosts; a checkpoint holds
    all shards. One shard of one is <group>.npy, others are <group>-00002-of-00004.npy.

    In a run folder the files are the working state between checkpoints; a checkpoint keeps a copy.
    """

    def __init__(self, count: int, shards: int, held: Dict[int, Dict[str, Any]]) -> None:
        self.count, self.shards, self.held = count, shards, held

    @classmethod
    def create(cls, folder: Path, groups: Iterable[LatentGroup], count: int, seed: int,
               given: Optional[Dict[str, np.ndarray]] = None, shard: int = 0, shards: int = 1) -> "LatentBank":
        """New chains of a shard in `folder`, each started from the prior; a sample's start depends on seed and index alone.

        given: the latents of the groups that are not sampled, of the shard's samples.
        """
        bank = cls._empty(folder, groups, count, shard, shards)
        for number, group in enumerate(groups):
            array = bank.held[shard][group.name]
            if not group.sampled:
                array[:] = (given or {})[group.name]
                continue
            for start in range(0, count, _BLOCK):
                block = generator(seed, "first latents", number, start).standard_normal((_BLOCK, *group.shape), np.float32)
                own = np.arange(start + (shard - start) % shards, min(start + _BLOCK, count), shards)
                array[own // shards] = block[own - start]
        return bank

    @classmethod
    def open(cls, folder: Path, groups: Iterable[LatentGroup], shards: Optional[int] = None) -> "LatentBank":
        """The chains of all samples that are stored in `folder`, to read. shards: of how many; without it there is one set.

        Raises UserError if a file is missing or belongs to another model.
        """
        groups = tuple(groups)
        shards = shards or _stored_shards(folder, groups[0].name)
        held = {shard: {group.name: _open(folder / file_name(group.name, shard, shards), group) for group in groups} for shard in range(shards)}
        return cls(sum(len(arrays[groups[0].name]) for arrays in held.values()), shards, held)

    def copy_shard(self, folder: Path, groups: Iterable[LatentGroup], shard: int, shards: int) -> "LatentBank":
        """A copy in `folder` of the samples of a shard, of however many shards these chains are."""
        bank = LatentBank._empty(folder, groups, self.count, shard, shards)
        own = range(shard, self.count, shards)
        for start in range(0, len(own), _BLOCK):
            indices = np.array(own[start:start + _BLOCK])
            bank.write(indices, self.read(indices))
        return bank

    @classmethod
    def _empty(cls, folder: Path, groups: Iterable[LatentGroup], count: int, shard: int, shards: int) -> "LatentBank":
        n = len(range(shard, count, shards))
        return cls(count, shards, {shard: {group.name: _allocate(folder / file_name(group.name, shard, shards), (n, *group.shape))
                                           for group in groups}})

    def __len__(self) -> int:
        return self.count

    def read(self, indices: np.ndarray) -> Tuple[np.ndarray, ...]:
        """Latents of the samples at `indices`, (n, *shape) for each group. They must be of shards that are held."""
        parts = list(self._places(indices))
        found = {name: np.empty((len(indices), *array.shape[1:]), np.float32) for name, array in next(iter(self.held.values())).items()}
        for arrays, mine, places in parts:
            for name, values in found.items():
                values[mine] = arrays[name][places]
        return tuple(found.values())

    def write(self, indices: np.ndarray, latents: Tuple[np.ndarray, ...]) -> None:
        """Keeps the new state of the chains at `indices`, which must be of shards that are held."""
        for arrays, mine, places in self._places(indices):
            for array, values in zip(arrays.values(), latents):
                array[places] = values[mine]

    def _places(self, indices: np.ndarray) -> Iterator[Tuple[Dict[str, np.ndarray], np.ndarray, np.ndarray]]:
        """(arrays, which of the indices, their rows there) of each shard that the indices are of."""
        indices = np.asarray(indices)
        of_shard = indices % self.shards
        for shard in np.unique(of_shard):
            mine = of_shard == shard
            yield self.held[int(shard)], mine, indices[mine] // self.shards

    def restart(self, groups: Iterable[LatentGroup]) -> None:
        """The chains of these groups begin again at the prior's mean, where inference of unseen images begins too."""
        for group in groups:
            if group.sampled:
                for arrays in self.held.values():
                    arrays[group.name][:] = 0

    def flush(self) -> None:
        """What was written is in the files, where who opens them sees it."""
        for arrays in self.held.values():
            for array in arrays.values():
                array.flush()

    def save(self, folder: Path) -> List[Path]:
        """A copy of every array in `folder`; its files. Raises OSError if the disk refuses."""
        files = []
        for shard, arrays in self.held.items():
            for name, array in arrays.items():
                files.append(folder / file_name(name, shard, self.shards))
                np.save(files[-1], array, allow_pickle=False)
        return files

    def moments(self) -> Dict[str, Tuple[float, float]]:
        """Mean and standard deviation of each group over samples and dimensions; near (0, 1) if prior and posterior agree."""
        return {name: moments(*sums) for name, sums in self.power_sums().items()}

    def power_sums(self) -> Dict[str, Tuple[float, float, float]]:
        """Number, sum and sum of squares of each group's values, of the shards that are held."""
        found: Dict[str, Tuple[float, float, float]] = {}
        for arrays in self.held.values():
            for name, array in arrays.items():
                found[name] = tuple(np.add(found.get(name, (0.0, 0.0, 0.0)), _power_sums(array)))
        return found


def file_name(group: str, shard: int, shards: int) -> str:
    """Of the latents of a group, of one shard."""
    return f"{group}.npy" if shards == 1 else f"{group}-{shard:05d}-of-{shards:05d}.npy"


def remove_other_shards(folder: Path, groups: Iterable[LatentGroup], shards: int) -> None:
    """Removes the files of other numbers of shards than this: of a training that went on with more or fewer processes."""
    for group in groups:
        wanted = {file_name(group.name, shard, shards) for shard in range(shards)}
        for path in (folder / f"{group.name}.npy", *folder.glob(f"{group.name}-*-of-*.npy")):
            if path.name not in wanted:
                path.unlink(missing_ok=True)


def _stored_shards(folder: Path, group: str) -> int:
    if (folder / file_name(group, 0, 1)).exists():
        return 1
    sets = [int(path.stem.rsplit("-", 1)[1]) for path in folder.glob(f"{group}-00000-of-*.npy")]
    return sets[0] if sets else 1


def _open(path: Path, group: LatentGroup) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the latents {path}: {error}") from None
    if array.shape[1:] != group.shape:
        raise UserError(f"{path} holds latents of shape {array.shape[1:]}, this model's {group.name} has {group.shape}")
    return array


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


def given_latents(groups: Iterable[LatentGroup], source: Source, indices: Optional[np.ndarray] = None) -> Dict[str, np.ndarray]:
    """Latents that come with the data: one-hot labels (n, *shape) of each group that is not sampled.

    indices: of the samples; None: all. Raises UserError if the samples have no labels, or more classes than the group
    has dimensions.
    """
    given = {}
    for group in groups:
        if not group.sampled:
            labels = source.labels(np.arange(len(source)) if indices is None else indices)
            if labels is None:
                raise UserError("model.appearance is label, but these images have no labels; data.format mnist and cifar10 "
                                "have them")
            given[group.name] = one_hot(labels, group.shape[0])
    return given
