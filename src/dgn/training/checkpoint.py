"""Checkpoints, written atomically.

A checkpoint is a folder that holds

  weights.ckpt, optimizer.ckpt ...  the networks and optimizers of the trainer (MindSpore's protobuf)
  <group>.npy                       the chains of each latent group; with several processes one file for each
  state.json                        position, running sums, version (see VERSION); the position determines all random
                                    numbers
  manifest.json                     SHA-256 of every other file
  axes.npz                          only of a finished training: principal axes (d, d) of latent groups, by name; see
                                    load_model. The other files hold the model and the chains before this rotation

It is written to a hidden folder, flushed, and renamed. Each process writes its own chains, the first process everything
else.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore.train.checkpoint_pb2 import Checkpoint

from dgn import device
from dgn.config import Config, last_sigma
from dgn.distributed import ProcessGroup
from dgn.errors import RunFailed, UserError, first_line
from dgn.files import disk_errors, sha256, sync, write_arrays, write_json
from dgn.inference.axes import rotate
from dgn.inference.latents import LatentBank, file_name
from dgn.inference.preconditioner import Preconditioner, group_sigmas
from dgn.nets.model import LatentGroup, Model
from dgn.reading import read_arrays, read_json

log = logging.getLogger(__name__)
AXES, MANIFEST = "axes.npz", "manifest.json"
SIGMAS = "preconditioner_sigmas"  # in state.json
VERSION = 2  # of the training's definition; version 1, not recorded: R1 with respect to images in [0, 1]
_UNFINISHED = ".unfinished-"
_STATE = {"epoch": int, "step": int, "images": str, "sums": dict}  # types of values in state.json
_READERS = 8  # threads that compute digests of files


class Position(NamedTuple):
    """A position in a training: `step` batches of `epoch` are done."""

    epoch: int
    step: int

    @property
    def name(self) -> str:
        return f"epoch_{self.epoch:05d}" + (f"_step_{self.step:06d}" if self.step else "")

    @classmethod
    def of(cls, name: str) -> Position | None:
        """The position with this name; None for another name."""
        match = re.fullmatch(r"epoch_([0-9]+)(?:_step_([0-9]+))?", name)
        position = match and cls(int(match[1]), int(match[2] or 0))
        return position if position and position.name == name else None


class Content(NamedTuple):
    """The content of a checkpoint besides its position."""

    state: dict[str, Any]  # JSON: running sums, identity of the images
    cells: Mapping[str, nn.Cell]  # networks and optimizers by file name
    bank: LatentBank  # the chains of this process


def save(folder: Path, position: Position, content: Content, keep: int,
         processes: ProcessGroup = ProcessGroup()) -> Path:
    """Writes a checkpoint below `folder`, removes all but the newest `keep`, and returns its path. A collective; state
    and cells are taken from the first process.

    Raises RunFailed if it cannot be written (a full disk); older checkpoints are then unchanged.
    """
    final = folder / position.name
    content.state.update(epoch=position.epoch, step=position.step, version=VERSION)
    # True if the training is stopped at the position where it was resumed
    there = processes.is_first and final.exists() and damage(final) is None
    if not processes.any(there and read_state(final) == json.loads(json.dumps(content.state))):
        _write(final, folder / (_UNFINISHED + final.name), content, processes)
    if processes.is_first:
        prune(folder, final, keep)
    processes.barrier()
    return final


def _write(final: Path, fresh: Path, content: Content, processes: ProcessGroup) -> None:
    try:
        if processes.is_first:
            for old in (final, fresh):
                shutil.rmtree(old, ignore_errors=True)
            fresh.mkdir(parents=True)
        processes.barrier()
        digests = _gathered(_digests(content.bank.save(fresh)), content.bank, processes)
        if processes.is_first:
            for name, cell in content.cells.items():
                save_parameters(fresh / f"{name}.ckpt", cell)
            write_json(fresh / "state.json", content.state)
            digests.update(_digests([fresh / "state.json", *(fresh / f"{name}.ckpt" for name in content.cells)]))
            write_json(fresh / MANIFEST, dict(sorted(digests.items())))
            for path in (fresh / MANIFEST, fresh):
                sync(path)
            os.replace(fresh, final)
            sync(final.parent)
    except (OSError, RuntimeError, ValueError, RunFailed) as error:
        if processes.is_first:
            shutil.rmtree(fresh, ignore_errors=True)
        raise RunFailed(f"cannot write the checkpoint {final}: {first_line(error)}; earlier checkpoints are "
                        "unchanged") from None


def _digests(files: list[Path]) -> dict[str, str]:
    """Flushes files to disk and returns their SHA-256 by name."""
    for file in files:
        sync(file)
    return {file.name: sha256(file) for file in files}


def _gathered(digests: dict[str, str], bank: LatentBank, processes: ProcessGroup) -> dict[str, str]:
    """Digests of the chains of all processes, each of which holds one shard. They are exchanged, so that no process
    reads files of others."""
    names = list(next(iter(bank.held.values())))
    if processes.size == 1:
        return digests
    gathered = processes.all_gather(b"".join(bytes.fromhex(digest) for digest in digests.values()))
    return {file_name(name, shard, bank.shards): data[32 * place:32 * (place + 1)].hex()
            for shard, data in enumerate(gathered) for place, name in enumerate(names)}


def prune(folder: Path, written: Path, keep: int) -> None:
    """Removes unfinished folders, checkpoints later than the one just `written` (damaged ones that this run skipped
    when it was resumed), and all but the newest `keep`."""
    _sweep(folder)
    checkpoints = listed(folder)
    later = checkpoints[:checkpoints.index(written)]
    for old in later + checkpoints[len(later):][keep:]:
        # renamed first: an interrupted removal must not look like a checkpoint
        os.replace(old, folder / (_UNFINISHED + old.name))
    _sweep(folder)


def _sweep(folder: Path) -> None:
    for path in folder.glob(_UNFINISHED + "*"):
        shutil.rmtree(path, ignore_errors=True)


def listed(folder: Path) -> list[Path]:
    """All checkpoints, also damaged ones, the newest first; folders of other names are the user's."""
    found = {Position.of(path.name): path for path in folder.glob("epoch_*") if path.is_dir()}
    return [found[position] for position in sorted(filter(None, found), reverse=True)]


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint; None if every file exists and has the recorded digest."""
    try:
        manifest = read_manifest(checkpoint)
        if "state.json" not in manifest:
            return "manifest.json does not list state.json"
        with ThreadPoolExecutor(_READERS) as readers:
            for name, digest in zip(manifest, readers.map(lambda name: sha256(checkpoint / name), manifest)):
                if digest != manifest[name]:
                    return f"{name} is not as it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError) as error:
        return f"{Path(getattr(error, 'filename', None) or MANIFEST).name} cannot be read ({first_line(error)})"
    return None


def read_manifest(checkpoint: Path) -> dict[str, str]:
    """The digests of a checkpoint's files, by name. Raises OSError if manifest.json cannot be read, ValueError if it is
    damaged or names anything outside of the checkpoint."""
    manifest = read_json(checkpoint / MANIFEST, dict)
    for name in manifest:
        if Path(name).name != name:
            raise ValueError(f"{name!r} is no name of a file")
    return manifest


def newest_valid(folder: Path) -> Path:
    """The newest valid checkpoint; damaged ones are skipped, with a warning. Raises UserError if there is none."""
    for checkpoint in listed(folder):
        reason = damage(checkpoint)
        if reason is None:
            return checkpoint
        log.warning("skipping damaged checkpoint %s: %s", checkpoint, reason)
    raise UserError(f"no usable checkpoint in {folder}")


def read_state(checkpoint: Path, *needed: str) -> dict[str, Any]:
    """state.json of a checkpoint. Raises UserError if it is malformed, or lacks a key in `needed`."""
    try:
        state = read_json(checkpoint / "state.json", dict)
    except (OSError, ValueError) as error:
        raise malformed(checkpoint, error) from None
    for key in needed:
        if not isinstance(state.get(key), _STATE[key]):
            raise malformed(checkpoint, f"{key} is {state.get(key)!r}")
    return state


def malformed(checkpoint: Path, reason: object) -> UserError:
    """The error for a checkpoint whose files agree with its manifest, but whose state.json is malformed."""
    return UserError(f"{checkpoint / 'state.json'} is not as it was written ({reason}); restore it, or remove "
                     f"{checkpoint}, so that an earlier checkpoint is used")


class Conversion(NamedTuple):
    """How parameters of one model become initial parameters of another.

    prefixes: {prefix in the checkpoint: prefix in the Cell}; parameters without such a prefix keep their values.
    image_channels: prefix of the layer that outputs the image's channels, where the weights of a greyscale model are
        repeated for a colour model (5.2: greyscale expressions to colour faces); empty: never.
    """

    prefixes: Mapping[str, str] = {"": ""}
    image_channels: str = ""


def load(checkpoint: Path, cells: Mapping[str, nn.Cell], conversion: Conversion = Conversion()) -> None:
    """Loads `cells`, by file name, from a checkpoint. Call this before their first compiled call, which may not see
    later changes.

    Raises UserError if the checkpoint belongs to another model.
    """
    for name, cell in cells.items():
        _load_parameters(checkpoint / f"{name}.ckpt", cell, conversion)


def save_axes(checkpoint: Path, rotations: Mapping[str, np.ndarray]) -> None:
    """Adds rotations (d, d), by group name, to a checkpoint and to its manifest."""
    write_arrays(checkpoint / AXES, **rotations)
    write_json(checkpoint / MANIFEST, {**read_manifest(checkpoint), AXES: sha256(checkpoint / AXES)})


def read_axes(checkpoint: Path) -> dict[str, np.ndarray]:
    """The rotations of a checkpoint, by group name; {} if its training was not finished.

    Raises UserError for a damaged file, because `damage` does not check it in early checkpoints, whose manifests do not
    list it.
    """
    try:
        return read_arrays(checkpoint / AXES)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{checkpoint / AXES} is not as it was written ({error}); restore it") from None


def load_model(checkpoint: Path, model: Model) -> None:
    """Loads a model from a checkpoint, and rotates its latents to the principal axes. Raises UserError if weights or
    axes are damaged, or belong to another model."""
    load(checkpoint, {"weights": model})
    axes = read_axes(checkpoint)
    for group in model.groups:
        own, shape = axes.get(group.name, np.zeros(2 * group.shape)), 2 * group.shape
        if own.shape != shape or own.dtype.kind != "f" or not np.isfinite(own).all():
            raise UserError(f"{checkpoint / AXES}: the axes of {group.name} must be a matrix of {shape[0]} x "
                            f"{shape[1]} finite numbers; restore the file")
    rotate(model, axes)


def load_preconditioner(checkpoint: Path, preconditioner: Preconditioner | None, config: Config) -> None:
    """Loads the preconditioner of a sampler, if it has one, for the latents of `load_model` and the config's last
    sigma."""
    if preconditioner is not None:
        load(checkpoint, {"preconditioner": preconditioner})
        preconditioner.recover_curvatures(read_sigmas(checkpoint, preconditioner, config))
        preconditioner.rotate(read_axes(checkpoint))
        preconditioner.adapt([last_sigma(config)] * len(preconditioner.names))


def read_sigmas(checkpoint: Path, preconditioner: Preconditioner, config: Config) -> tuple[float, ...]:
    """The sigmas for which the preconditioner of a checkpoint was computed: as recorded, or for early checkpoints as
    their config says. Raises UserError if they are malformed."""
    state = read_state(checkpoint, "epoch", "step")
    epoch = state["epoch"] - (0 if state["step"] else 1)  # the last epoch that was begun
    sigmas = state.get(SIGMAS, group_sigmas(config.inference, preconditioner.names, epoch))
    if not isinstance(sigmas, list) or len(sigmas) != len(preconditioner.names) or not all(
            isinstance(sigma, (int, float)) and sigma > 0 for sigma in sigmas):
        raise malformed(checkpoint, f"{SIGMAS} is {sigmas!r}")
    return tuple(sigmas)


def restore_bank(checkpoint: Path, folder: Path, groups: Iterable[LatentGroup],
                 processes: ProcessGroup = ProcessGroup()) -> LatentBank:
    """Copies this process's chains from a checkpoint, which any number of processes may have written, to working files
    in `folder`. Raises UserError if they are damaged."""
    with disk_errors(folder):
        bank = LatentBank.open(checkpoint, groups).copy_shard(folder, groups, processes.rank, processes.size)
    if not np.isfinite([*bank.power_sums().values()]).all():
        raise UserError(f"{checkpoint} holds latents that are not finite; remove it, so that an earlier one is used")
    return bank


def _named(cell: nn.Cell) -> dict[str, ms.Parameter]:
    """Parameters by their path in the Cell: Parameter.name depends on the Cells that hold it."""
    return dict(cell.parameters_and_names())


def save_parameters(path: Path, cell: nn.Cell, half: bool = False) -> None:
    """Writes the parameters of a Cell to a .ckpt file. half: whether to store float16."""
    parameters = [{"name": name, "data": ms.Tensor(p.asnumpy().astype(np.float16)) if half else p}
                  for name, p in _named(cell).items()]
    with device.silenced():  # the exception has the reason; its log repeats it over several lines
        ms.save_checkpoint(parameters, str(path))


def _check_sizes(path: Path) -> None:
    """Raises ValueError if a parameter in a .ckpt file has more or fewer bytes than its shape: MindSpore would write
    beyond the end of its memory. Other exceptions are raised for a damaged file."""
    for name, parts in itertools.groupby(Checkpoint.FromString(path.read_bytes()).value, lambda part: part.tag):
        tensors = [part.tensor for part in parts]  # several of a large parameter
        shape = [1] if tensors[-1].dims == [0] else tensors[-1].dims  # [0]: a scalar
        size = math.prod(shape) * np.dtype(tensors[-1].tensor_type.lower()).itemsize
        if min(shape, default=0) < 0 or sum(len(tensor.tensor_content) for tensor in tensors) != size:
            raise ValueError(f"{name} has not the size of its shape")


def _load_parameters(path: Path, cell: nn.Cell, conversion: Conversion) -> None:
    if not path.is_file():
        raise UserError(f"{path.parent} holds no {path.name}: it belongs to another training method, or to a packaged "
                        "model, which has no optimizer and cannot be resumed")
    try:
        _check_sizes(path)
        loaded = ms.load_checkpoint(str(path))
    except Exception as error:  # damaged files make MindSpore raise exceptions of many kinds
        raise UserError(f"{path} is damaged, or no checkpoint of MindSpore ({first_line(error)}); restore it") from None
    prefixes = conversion.prefixes
    stored = {here + name[len(there):]: p for name, p in loaded.items()
              for there, here in prefixes.items() if name.startswith(there)}
    wanted = {name: p for name, p in _named(cell).items() if name.startswith(tuple(prefixes.values()))}
    if isinstance(cell, nn.Optimizer) and set(stored) != set(wanted) and len(stored) == len(wanted):
        # MindSpore names moments after the Cells that held the weights: the names differ between versions, but not
        # their order
        stored = dict(zip(wanted, stored.values()))
    extra = [name for name in stored if name not in wanted]
    if extra:
        raise UserError(f"{path} belongs to another model: it holds {extra[0]}, which this config does not have")
    for name, parameter in wanted.items():
        if name not in stored:
            raise UserError(f"{path} belongs to another model: {name} {tuple(parameter.shape)} is missing")
        values, shape = stored[name].asnumpy(), tuple(parameter.shape)
        if conversion.image_channels and name.startswith(conversion.image_channels):
            for axis, (have, want) in enumerate(zip(values.shape, shape)):
                if (have, want) == (1, 3):
                    values = values.repeat(3, axis)
        if values.size != parameter.size or (values.shape != shape and shape):  # a scalar is stored with one dimension
            raise UserError(f"{path} belongs to another model: {name} has shape {tuple(stored[name].shape)} there, not "
                            f"{shape}")
        parameter.set_data(ms.Tensor(np.ascontiguousarray(values).reshape(shape), parameter.dtype))
