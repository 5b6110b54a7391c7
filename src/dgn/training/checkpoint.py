"""Checkpoints that are whole or absent.

A checkpoint is a folder with weights.ckpt, optimizer.ckpt and whatever other Cells the method has (MindSpore's
protobuf), one <group>.npy of chains a latent group, state.json (position and running sums; all randomness follows from
the position) and manifest.json with the SHA-256 of every other file. It is written in a hidden folder, flushed, and renamed.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

import mindspore as ms
import numpy as np
from mindspore import nn

from dgn.errors import RunFailed, UserError
from dgn.files import disk_errors, sha256, sync, write_json
from dgn.inference.latents import LatentBank

log = logging.getLogger(__name__)
_UNFINISHED = ".unfinished-"
CHANNELS = re.compile(r"branches\.0\.(emission\.)?stack\.last\.")  # the layer whose outputs are the channels of the image
WHOLE = {"": ""}


class Position(NamedTuple):
    """Where a training stands: `step` batches of `epoch` are done."""

    epoch: int
    step: int

    @property
    def name(self) -> str:
        return f"epoch_{self.epoch:05d}" + (f"_step_{self.step:06d}" if self.step else "")


def save(folder: Path, position: Position, state: Dict[str, Any], cells: Dict[str, nn.Cell], bank: LatentBank,
         keep: int) -> Path:
    """Writes a checkpoint of `cells`, by file name, below `folder`, removes all but the newest `keep`, returns its path.

    Raises RunFailed if it cannot be written (a full disk); older checkpoints are then untouched.
    """
    final = folder / position.name
    if not (final.exists() and damage(final) is None):  # else a run stopped again where it was resumed
        shutil.rmtree(final, ignore_errors=True)
        _write(folder, final, {**state, "epoch": position.epoch, "step": position.step}, cells, bank)
    prune(folder, final, keep)
    return final


def _write(folder: Path, final: Path, state: Dict[str, Any], cells: Dict[str, nn.Cell], bank: LatentBank) -> None:
    fresh = folder / (_UNFINISHED + final.name)
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        for name, cell in cells.items():
            _save_parameters(fresh / f"{name}.ckpt", cell)
        bank.save(fresh)
        write_json(fresh / "state.json", state)
        files = sorted(fresh.iterdir())
        write_json(fresh / "manifest.json", {file.name: sha256(file) for file in files})
        for file in [*files, fresh / "manifest.json", fresh]:
            sync(file)
        os.replace(fresh, final)
        sync(folder)
    except (OSError, RuntimeError, ValueError, RunFailed) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).strip().splitlines()[0]
        raise RunFailed(f"cannot write the checkpoint {final}: {reason}; earlier ones are untouched") from None


def prune(folder: Path, written: Path, keep: int) -> None:
    """Removes unfinished folders, checkpoints named later than the one just `written` (damaged ones that this run passed
    over and has not reached again), and all but the newest `keep`."""
    _sweep(folder)
    found = listed(folder)
    later = [path for path in found if path.name > written.name]
    for old in later + found[len(later):][keep:]:  # renamed first: a removal that is cut short must not look like a checkpoint
        os.replace(old, folder / (_UNFINISHED + old.name))
    _sweep(folder)


def _sweep(folder: Path) -> None:
    for path in folder.glob(_UNFINISHED + "*"):
        shutil.rmtree(path, ignore_errors=True)


def listed(folder: Path) -> List[Path]:
    """Checkpoints, the newest first, whole or not."""
    return sorted((p for p in folder.glob("epoch_*") if p.is_dir()), reverse=True)


def damage(checkpoint: Path) -> Optional[str]:
    """What is wrong with a checkpoint; None if every file is there and as it was written."""
    try:
        manifest = json.loads((checkpoint / "manifest.json").read_text(encoding="utf-8"))
        for name, digest in manifest.items():
            if sha256(checkpoint / name) != digest:
                return f"{name} is not as it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError) as error:
        return f"manifest.json cannot be read ({error})"
    return None


def newest_whole(folder: Path) -> Path:
    """The newest undamaged checkpoint; damaged ones are named in the log and passed over. Raises UserError if none."""
    for checkpoint in listed(folder):
        reason = damage(checkpoint)
        if reason is None:
            return checkpoint
        log.warning("checkpoint %s is damaged and passed over: %s", checkpoint, reason)
    raise UserError(f"no usable checkpoint in {folder}")


def read_state(checkpoint: Path) -> Dict[str, Any]:
    """state.json of a checkpoint."""
    return json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))


def load(checkpoint: Path, cells: Dict[str, nn.Cell], spread_channels: bool = False, parts: Mapping[str, str] = WHOLE) -> None:
    """Fills `cells` from a checkpoint, by file name: before their first compiled call, which may not see a later change.

    spread_channels: what was learned for grey images may fill a Cell for colour: each channel gets the grey one's
    weights (5.2: grey expressions to colour faces).
    parts: beginnings of the places that parameters have there, each with what stands for it here; others stay as they are.
    Raises UserError if the checkpoint is of another model.
    """
    for name, cell in cells.items():
        _load_parameters(checkpoint / f"{name}.ckpt", cell, spread_channels, parts)


def restore_bank(checkpoint: Path, folder: Path, groups) -> LatentBank:
    """The chains of a checkpoint as working files in `folder`."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for group in groups:
            shutil.copyfile(checkpoint / f"{group.name}.npy", folder / f"{group.name}.npy")
    return LatentBank.open(folder, groups, "r+")


def _named(cell: nn.Cell) -> Dict[str, ms.Parameter]:
    """Parameters by their place in the Cell: Parameter.name changes with whatever holds the Cell."""
    return dict(cell.parameters_and_names())


def _save_parameters(path: Path, cell: nn.Cell) -> None:
    ms.save_checkpoint([{"name": name, "data": p} for name, p in _named(cell).items()], str(path))


def _load_parameters(path: Path, cell: nn.Cell, spread_channels: bool, parts: Mapping[str, str]) -> None:
    if not path.is_file():
        raise UserError(f"{path.parent} holds no {path.name}; it is of another learning method")
    stored = {here + name[len(there):]: p for name, p in ms.load_checkpoint(str(path)).items()
              for there, here in parts.items() if name.startswith(there)}
    wanted = {name: p for name, p in _named(cell).items() if name.startswith(tuple(parts.values()))}
    extra = [name for name in stored if name not in wanted]
    if extra:
        raise UserError(f"{path} is of another model: it holds {extra[0]}, which this config has not")
    for name, parameter in wanted.items():
        if name not in stored:
            raise UserError(f"{path} is of another model: {name} {tuple(parameter.shape)} is not there")
        values, shape = stored[name].asnumpy(), tuple(parameter.shape)
        if spread_channels and CHANNELS.match(name):
            for axis, (have, want) in enumerate(zip(values.shape, shape)):
                if (have, want) == (1, 3):
                    values = values.repeat(3, axis)
        if values.size != parameter.size or (values.shape != shape and shape):  # a scalar comes back with one dimension
            raise UserError(f"{path} is of another model: {name} {shape} has shape {tuple(stored[name].shape)} there")
        parameter.set_data(ms.Tensor(np.ascontiguousarray(values).reshape(shape)))
