"""Trains a run folder's config, from the start or from its newest checkpoint."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dgn import console, device
from dgn.config import Config
from dgn.data.source import Source
from dgn.distributed import ProcessGroup
from dgn.errors import RunFailed, UserError
from dgn.files import append_line, open_log
from dgn.inference.latents import LatentBank
from dgn.provenance import origin
from dgn.run_folder import RENAMED, RunFolder
from dgn.training import checkpoint
from dgn.training.build import TrainingState, make_state
from dgn.training.loop import run_epochs
from dgn.training.progress import Progress
from dgn.training.trainer import Sums


class Trained(NamedTuple):
    """The state at the end of a training, or after one of its epochs."""

    state: TrainingState
    checkpoint: Path | None  # None before the first one of a new run
    bank: LatentBank  # the chains of all processes, read-only


AfterEpoch = Callable[[Trained, int], None]  # with the number of finished epochs; called in the first process


def fit(folder: RunFolder, config: Config, source: Source, after_epoch: AfterEpoch | None = None,
        processes: ProcessGroup = ProcessGroup()) -> Trained:
    """Trains from the newest valid checkpoint, or from the start, to the config's last epoch. With several processes
    only the first one writes; all return when the run is complete.

    Raises Interrupted after Ctrl-C, when the state is saved; RunFailed if a chain diverges or the disk is full. Errors
    of the first process are also written to train.log, unexpected ones with their traceback.
    """
    if not processes.is_first:
        return _fit(folder, config, source, after_epoch, processes)
    with folder.locked(), open_log(folder.train_log) as log:
        handler = logging.StreamHandler(log)
        handler.setFormatter(console.Formatter())
        logging.getLogger().addHandler(handler)
        append_line(folder.train_log, ", ".join(f"{name} {text}" for name, text in origin()["versions"].items()))
        try:
            return _fit(folder, config, source, after_epoch, processes)
        except Exception as error:
            expected = isinstance(error, (RunFailed, UserError))
            with suppress(RunFailed):  # of a full disk, which may be the error itself
                append_line(folder.train_log, console.escape_controls(
                    f"dgn: {error}" if expected else traceback.format_exc().rstrip()))
            raise
        finally:
            logging.getLogger().removeHandler(handler)
            handler.close()


def _fit(folder: RunFolder, config: Config, source: Source, after_epoch: AfterEpoch | None,
         processes: ProcessGroup) -> Trained:
    saved = _newest(folder, processes)
    state = make_state(config, folder, source, saved, processes)
    start, sums = _start(saved, config) if saved else (checkpoint.Position(0, 0), Sums())
    if processes.is_first:
        folder.change_config(config)
        folder.rewind(start.epoch, continued=start.epoch < config.training.epochs)
    folder.config = config
    groups = state.trainer.model.groups
    progress = Progress(start.epoch, config.training.epochs, folder.train_log, quiet=not processes.is_first)
    several = f", {processes.size} processes" if processes.size > 1 else ""
    progress.say(f"dgn train on {device.current()}{several}: {len(source)} "
                 f"{'clips' if config.data.frames else 'images'}, "
                 f"{config.training.epochs} epochs" + (f", resumed from {saved}" if saved else "")
                 + f"; run folder {folder.path}")

    def report(done: int) -> None:
        newest = next(iter(checkpoint.all_checkpoints(folder.checkpoints)), None)
        if after_epoch:
            after_epoch(Trained(state, newest, LatentBank.open(folder.latents, groups, processes.size)), done)

    try:
        last = run_epochs(folder, state, progress, start, sums, report if after_epoch else None) or saved
    finally:
        progress.close()
    return Trained(state, last, LatentBank.open(last or folder.latents, groups))


def _start(saved: Path, config: Config) -> tuple[checkpoint.Position, Sums]:
    """Where a training continues from the checkpoint `saved`, and the metrics of the epoch so far. Raises UserError if
    that is beyond the config's last epoch."""
    record = checkpoint.read_state(saved, "epoch", "step", "sums")
    start = checkpoint.Position(record["epoch"], record["step"])
    try:
        sums = Sums(**record["sums"])
        sums = sums._replace(measures={RENAMED.get(key, key): value for key, value in sums.measures.items()})
    except (TypeError, AttributeError) as error:
        raise checkpoint.malformed(saved, error) from None
    if start.step and record.get("shards") != config.training.shards:
        start, sums = checkpoint.Position(start.epoch, 0), Sums()  # other batches: the epoch is repeated
    if start > checkpoint.Position(config.training.epochs, 0):
        raise UserError(f"training.epochs is {config.training.epochs}, but {saved} is beyond that; it must be at least "
                        f"{start.epoch + (start.step > 0)}")
    return start, sums


def _newest(folder: RunFolder, processes: ProcessGroup) -> Path | None:
    """The checkpoint to resume from, or None. The first process verifies it and sends its position to the others."""
    position = (-1, -1)
    if processes.is_first and (saved := checkpoint.newest(folder.checkpoints)):
        record = checkpoint.read_state(saved, "epoch", "step")
        position = (record["epoch"], record["step"])
    epoch, step = (int(value) for value in processes.gather_values(position)[0])
    return folder.checkpoints / checkpoint.Position(epoch, step).name if epoch >= 0 else None
