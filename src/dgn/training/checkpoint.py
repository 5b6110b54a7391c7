"""Checkpoints, written atomically.

A checkpoint is a folder that holds

  weights.ckpt, optimizer.ckpt ...  the networks and optimizers of the trainer (MindSpore's protobuf): also a
                                    preconditioner, decorrelation, critic, encoder
  <group>.npy                       the chains of each latent group; with several processes one file for each
  state.json                        position, running sums, sigmas of the preconditioner, version (see VERSION); the
                                    position determines all random numbers
  manifest.json                     SHA-256 of every other file
  axes.npz                          only of a finished training: principal axes (d, d) of latent groups, by name (see
                                    restore.load_model). The other files hold model and chains before this rotation

It is written to a hidden folder, flushed, and renamed. Each process writes its own chains, the first process everything
else.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from mindspore import nn

from dgn.distributed import ProcessGroup
from dgn.errors import RunFailed, UserError, first_line
from dgn.files import sha256, sync, write_json
from dgn.inference.latents import LatentBank, file_name
from dgn.reading import read_json
from dgn.training import parameters

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


def save(folder: Path, position: Position, state: Mapping[str, Any], cells: Mapping[str, nn.Cell], bank: LatentBank,
         keep: int, processes: ProcessGroup = ProcessGroup()) -> Path:
    """Writes a checkpoint below `folder`, removes all but the newest `keep`, and returns its path. A collective; state
    and cells are taken from the first process.

    state: values for state.json besides the position: running sums, identity of the images. cells: networks and
    optimizers by file name. bank: the chains of this process.
    Raises RunFailed if it cannot be written (a full disk); older checkpoints are then unchanged.
    """
    final = folder / position.name
    state = {**state, "epoch": position.epoch, "step": position.step, "version": VERSION}
    valid = processes.is_first and final.exists() and find_damage(final) is None
    # does not rewrite an identical checkpoint: the training is stopped where it was resumed
    if not processes.any(valid and read_state(final) == json.loads(json.dumps(state))):
        _write(final, state, cells, bank, processes)
    if processes.is_first:
        prune(folder, final, keep)
    processes.barrier()
    return final


def _write(final: Path, state: dict[str, Any], cells: Mapping[str, nn.Cell], bank: LatentBank,
           processes: ProcessGroup) -> None:
    fresh = final.with_name(_UNFINISHED + final.name)
    try:
        if processes.is_first:
            for old in (final, fresh):
                shutil.rmtree(old, ignore_errors=True)
            fresh.mkdir(parents=True)
        processes.barrier()
        digests = _all_digests(_digests(bank.save(fresh)), bank, processes)
        if processes.is_first:
            for name, cell in cells.items():
                parameters.save(fresh / f"{name}.ckpt", cell)
            write_json(fresh / "state.json", state)
            digests.update(_digests([fresh / "state.json", *(fresh / f"{name}.ckpt" for name in cells)]))
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


def _all_digests(digests: dict[str, str], bank: LatentBank, processes: ProcessGroup) -> dict[str, str]:
    """Digests of the chains of all processes, each of which holds one shard. They are exchanged, so that no process
    reads files of others."""
    if processes.size == 1:
        return digests
    names = list(next(iter(bank.held.values())))
    gathered = processes.all_gather(b"".join(bytes.fromhex(digest) for digest in digests.values()))
    return {file_name(name, shard, bank.shards): data[32 * k:32 * (k + 1)].hex()
            for shard, data in enumerate(gathered) for k, name in enumerate(names)}


def prune(folder: Path, written: Path, keep: int) -> None:
    """Removes unfinished folders, checkpoints later than the one just `written` (damaged ones that this run skipped
    when it was resumed), and all but the newest `keep`."""
    _sweep(folder)
    checkpoints = all_checkpoints(folder)
    later = checkpoints[:checkpoints.index(written)]
    for old in later + checkpoints[len(later):][keep:]:
        # renamed first: an interrupted removal must not look like a checkpoint
        os.replace(old, folder / (_UNFINISHED + old.name))
    _sweep(folder)


def _sweep(folder: Path) -> None:
    for path in folder.glob(_UNFINISHED + "*"):
        shutil.rmtree(path, ignore_errors=True)


def all_checkpoints(folder: Path) -> list[Path]:
    """All checkpoints, also damaged ones, the newest first; folders of other names are the user's."""
    found = {Position.of(path.name): path for path in folder.glob("epoch_*") if path.is_dir()}
    return [found[position] for position in sorted(filter(None, found), reverse=True)]


def find_damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint; None if every file exists and has the recorded digest."""
    try:
        manifest = read_manifest(checkpoint)
        if "state.json" not in manifest:
            return "manifest.json does not list state.json"
        with ThreadPoolExecutor(_READERS) as readers:
            digests = readers.map(lambda name: sha256(checkpoint / name), manifest)
            changed = next((name for name, digest in zip(manifest, digests) if digest != manifest[name]), None)
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError) as error:
        return f"{Path(getattr(error, 'filename', None) or MANIFEST).name} cannot be read ({first_line(error)})"
    return f"{changed} is not as it was written" if changed else None


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
    for checkpoint in all_checkpoints(folder):
        reason = find_damage(checkpoint)
        if reason is None:
            return checkpoint
        log.warning("skipping damaged checkpoint %s: %s", checkpoint, reason)
    raise UserError(f"no usable checkpoint in {folder}")


def newest(folder: Path) -> Path | None:
    """The newest valid checkpoint; None if there is no checkpoint. Raises UserError if all are damaged."""
    return newest_valid(folder) if all_checkpoints(folder) else None


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
