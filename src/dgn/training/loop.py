"""The epoch loop of all training methods: infer the latents of a batch, then update the weights (Algorithm 1 and 2)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dgn import config as cfg
from dgn import device, interrupts
from dgn.errors import Interrupted, RunFailed, Unreadable
from dgn.inference.chains import check_chains, energy_limit
from dgn.inference.latents import mean_and_deviation
from dgn.run_folder import RunFolder
from dgn.training import checkpoint
from dgn.training.batches import batches, order_of_epoch
from dgn.training.before_epoch import prepare_epoch, set_smoothness
from dgn.training.build import TrainingState
from dgn.training.checkpoint import Position
from dgn.training.progress import Progress
from dgn.training.trainer import Batch, StepMetrics, Sums


class Due(NamedTuple):
    """What is due after an iteration, in all processes alike."""

    stop: bool  # a signal was received by any of them
    save: bool  # training.checkpoint_minutes have passed in the first one


class CheckpointClock:
    """The time since the last checkpoint. minutes: training.checkpoint_minutes; 0: never due."""

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes
        self.restart()

    def restart(self) -> None:
        """Counts from now on: a checkpoint was written."""
        self._since = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether so many minutes have passed."""
        return 0 < self._seconds <= time.monotonic() - self._since


def run_epochs(folder: RunFolder, state: TrainingState, progress: Progress, start: Position = Position(0, 0),
               sums: Sums = Sums(), after_epoch: Callable[[int], None] | None = None) -> Path | None:
    """Trains from `start` to the config's last epoch; returns the last checkpoint, or None if nothing was left to do.

    after_epoch(epochs): called in the first process with the number of finished epochs, when all chains are in their
    files. Raises Interrupted after Ctrl-C, and Unreadable if an image can no longer be read, when the state is saved;
    RunFailed if a chain diverges.
    """
    config, processes, saved = folder.config, state.processes, None
    clock = CheckpointClock(config.training.checkpoint_minutes)
    with interrupts.Deferred() as interrupt:
        def requests() -> Due:
            of_processes = processes.gather_values([interrupt.received, clock.due])  # one collective for both
            return Due(bool(of_processes[:, 0].any()), bool(of_processes[0, 1]))

        def save(position: Position, sums: Sums) -> Path:
            path = _save(folder, state, position, sums)
            clock.restart()
            return path

        for epoch in range(start.epoch, config.training.epochs):
            first = start.step if epoch == start.epoch else 0
            if not (first and processes.is_first):  # the sums of a resumed epoch are counted in one process only
                sums = Sums(measures=dict.fromkeys(sums.measures, (0, 0.0)) if first else {})
            prepare_epoch(config, state, epoch, resumed=first > 0)
            began, before = time.monotonic(), sums.images
            order = order_of_epoch(config.training, state, epoch)
            sums = _run_epoch(config, state, progress, order, Position(epoch, first), sums, requests, save)
            seconds = time.monotonic() - began
            record = {"epoch": epoch, **sums.all_sum(processes).means(), **_schedules(config, epoch),
                      **_latent_statistics(state),
                      "images_per_second": processes.all_sum([sums.images - before])[0] / seconds, "seconds": seconds}
            if processes.is_first:
                folder.log_metrics(record)
            progress.epoch(record, len(order), first)
            done, due = epoch + 1, requests()
            if done % config.training.checkpoint_every == 0 or done == config.training.epochs or any(due):
                saved = save(Position(done, 0), Sums())
            if due.stop and saved:
                raise Interrupted(saved)
            if after_epoch:
                state.bank.flush()
                set_smoothness(state, cfg.last_smoothness(config))  # a Run uses the last weight and the last sigma
                processes.barrier()
                if processes.is_first:
                    _call_after_epoch(after_epoch, folder, state, done, saved)
                processes.barrier()
    return saved


def _call_after_epoch(after_epoch: Callable[[int], None], folder: RunFolder, state: TrainingState, done: int,
                      saved: Path | None) -> None:
    """Calls after_epoch; an exception of the user's code does not lose the training."""
    try:
        after_epoch(done)
    except Exception:
        position = Position(done, 0)
        if state.processes.size == 1 and (saved is None or saved.name != position.name):
            _save(folder, state, position, Sums())
        raise


def _run_epoch(config: cfg.Config, state: TrainingState, progress: Progress, order: np.ndarray, position: Position,
               sums: Sums, requests: Callable[[], Due], save: Callable[[Position, Sums], Path]) -> Sums:
    """Trains on the batches of an epoch from `position` on; returns the new sums. order: see order_of_epoch."""
    try:
        for indices, batch in batches(config, state, order, position):
            metrics = _iteration(state, indices, batch, position)
            sums = sums.add(metrics, len(batch.x) if batch.mask is None else int(batch.mask.sum()))
            position = position._replace(step=position.step + 1)
            progress.step(*position, len(order), sums.means())
            due = requests() if position.step < len(order) else Due(False, False)
            if any(due):
                written = save(position, sums)
                if due.stop:
                    raise Interrupted(written)
    except Unreadable as error:
        # a file that is removed or left out now would be missed by --resume
        advice = "; restore it, or put any readable file of its kind under this name" if error.advice else ""
        fault = f"{error.fault}{advice}"
        if state.processes.size > 1:
            raise Unreadable(fault) from None
        raise Unreadable(f"{fault}. The training was saved before: {save(position, sums)}; --resume then continues "
                         "it") from None
    return sums


def _schedules(config: cfg.Config, epoch: int) -> dict[str, float]:
    """The values of the config's schedules in an epoch, as recorded in the log."""
    inference = config.inference
    schedules = {"sigma": inference.sigma, "sigma_app": inference.sigma_app, "smoothness": inference.smoothness,
                 "decorrelation": inference.decorrelation, "learning_rate": config.training.learning_rate}
    return {name: cfg.value_at(schedule, epoch) for name, schedule in schedules.items()}


@device.one_at_a_time
def _iteration(state: TrainingState, indices: np.ndarray, batch: Batch, position: Position) -> StepMetrics:
    """Runs one step of the trainer on the samples at `indices` and writes their new latents to the bank. Raises
    RunFailed if chains or weights diverge."""
    latents, metrics = state.trainer.step(batch, state.bank.read(indices))
    where = f"epoch {position.epoch + 1}, batch {position.step + 1}"
    if metrics.diagnostics is not None:
        limit = energy_limit(batch.x[0].size, batch.sigma)
        check_chains(metrics.diagnostics, latents, limit, where, lambda row: state.source.name(indices[row]))
    if not np.isfinite([*metrics.squared_errors, metrics.loss]).all():  # although the chains are
        raise RunFailed(f"{where}: the errors or losses are not finite, so the weights diverged; lower "
                        "training.learning_rate")
    state.bank.write(indices, latents)
    return metrics


def _save(folder: RunFolder, state: TrainingState, position: Position, sums: Sums) -> Path:
    """Writes one checkpoint for all processes; returns its path."""
    trainer, training = state.trainer, folder.config.training
    record: dict[str, Any] = {"sums": sums.all_sum(state.processes)._asdict(), "images": state.source.identity(),
                              "shards": training.shards}
    if trainer.sampler.preconditioner is not None:
        record[checkpoint.SIGMAS] = list(trainer.sampler.preconditioner.sigmas)
    for name, cell in trainer.networks.items():
        if not all(np.isfinite(parameter.asnumpy()).all() for parameter in cell.get_parameters()):
            raise RunFailed(f"epoch {position.epoch + (position.step > 0)}: {name} is not finite after the last "
                            "update, and is not saved; lower training.learning_rate")
    return checkpoint.save(folder.checkpoints, position, record, {**trainer.networks, **trainer.optimizers},
                           state.bank, training.checkpoints_kept, state.processes)


def _latent_statistics(state: TrainingState) -> dict[str, float]:
    """Mean and standard deviation of each group's latents over all processes; with a preconditioner also the numbers of
    used dimensions."""
    result: dict[str, float] = {}
    for name, sums in state.bank.power_sums().items():
        result[f"{name}_mean"], result[f"{name}_std"] = mean_and_deviation(*state.processes.all_sum(sums))
    preconditioner = state.trainer.sampler.preconditioner
    return result | (preconditioner.used_dimensions() if preconditioner is not None else {})
