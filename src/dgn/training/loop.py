"""The epoch loop of all training methods: infer the latents of a batch, then update the weights (Algorithm 1 and 2)."""

from __future__ import annotations

import functools
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dgn import config as cfg
from dgn import device
from dgn.data.source import epoch_order, evenly_spaced, prefetch, shard_key
from dgn.distributed import ProcessGroup
from dgn.errors import Interrupted, RunFailed, Unreadable, UserError
from dgn.inference import decorrelation, langevin, preconditioner
from dgn.inference.decorrelation import Decorrelation
from dgn.inference.latents import mean_and_deviation
from dgn.inference.preconditioner import group_sigmas
from dgn.randomness import generator
from dgn.run_folder import RunFolder
from dgn.training import checkpoint
from dgn.training.build import TrainingState
from dgn.training.checkpoint import Position
from dgn.training.optim import reset_adam
from dgn.training.progress import Progress
from dgn.training.reinit import reinit_appearance, reinitialized
from dgn.training.trainer import Batch, StepMetrics


class Sums(NamedTuple):
    """Running sums of metrics over an epoch; additive over processes, and kept in checkpoints so that a resumed epoch
    reports the same values."""

    samples: int = 0
    images: int = 0  # of clips: frames
    loss: float = 0.0
    squared_error: float = 0.0
    measures: dict[str, Sequence[float]] = {}  # name -> (number of samples, sum over them); not changed in place

    def add(self, metrics: StepMetrics, images: int) -> Sums:
        """The sums with one more iteration, which had `images` images."""
        n, measures = len(metrics.squared_errors), dict(self.measures)
        for key, value in metrics.scalars.items():
            count, total = measures.get(key, (0, 0.0))
            measures[key] = (count + n, total + n * value)
        return Sums(self.samples + n, self.images + images, self.loss + n * metrics.loss,
                    self.squared_error + float(metrics.squared_errors.sum()), measures)

    def all_sum(self, processes: ProcessGroup) -> Sums:
        """The sums of all processes; a collective."""
        if processes.size == 1:
            return self
        keys = sorted(self.measures)  # equal in all processes, because they run the same steps
        values = [*self[:4], *(value for key in keys for value in self.measures[key])]
        samples, images, loss, error, *measures = processes.all_sum(values)
        return Sums(int(samples), int(images), loss, error, dict(zip(keys, zip(measures[::2], measures[1::2]))))

    def means(self) -> dict[str, float]:
        """Metrics of an epoch: loss, msre (squared error of an image), and the trainer's scalars."""
        n = max(self.samples, 1)
        return {"loss": self.loss / n, "msre": self.squared_error / max(self.images, 1),
                **{key: total / count for key, (count, total) in self.measures.items() if count}}


def run_epochs(folder: RunFolder, state: TrainingState, progress: Progress, start: Position = Position(0, 0),
               sums: Sums = Sums(), after_epoch: Callable[[int], None] | None = None) -> Path | None:
    """Trains from `start` to the config's last epoch; returns the last checkpoint, or None if nothing was left to do.

    after_epoch(epochs): called in the first process with the number of finished epochs, when all chains are in their
    files. Raises Interrupted after Ctrl-C, and Unreadable if an image can no longer be read, when the state is saved;
    RunFailed if a chain diverges.
    """
    config, processes, saved = folder.config, state.processes, None
    with _Interrupt(processes) as interrupt:
        loop = _Loop(folder, state, progress, interrupt)
        for epoch in range(start.epoch, config.training.epochs):
            first = start.step if epoch == start.epoch else 0
            if not (first and processes.is_first):  # the sums of a resumed epoch are counted in one process only
                sums = Sums(measures=dict.fromkeys(sums.measures, (0, 0.0)) if first else {})
            _set_scheduled_parameters(config.inference, state, epoch)
            if not first:
                _before_epoch(config, state, epoch)
            _fit_preconditioner(config, state, epoch, epoch_start=not first)
            began, before = time.monotonic(), sums.images
            sums, batches = _run_epoch(loop, Position(epoch, first), sums)
            seconds = time.monotonic() - began
            record = {"epoch": epoch, **sums.all_sum(processes).means(), **_schedules(config, epoch),
                      **_latent_statistics(state),
                      "images_per_second": processes.all_sum([sums.images - before])[0] / seconds, "seconds": seconds}
            if processes.is_first:
                folder.log_metrics(record)
            progress.epoch(record, batches)
            done, stop = epoch + 1, interrupt.requested()
            if done % config.training.checkpoint_every == 0 or done == config.training.epochs or stop:
                saved = _save(folder, state, Position(done, 0), Sums())
            if stop and saved:
                raise Interrupted(saved)
            if after_epoch:
                state.bank.flush()
                _set_smoothness(state, cfg.last_smoothness(config))  # a Run uses the last weight and the last sigma
                processes.barrier()
                if processes.is_first:
                    _call(after_epoch, folder, state, done, saved)
                processes.barrier()
    return saved


def _call(after_epoch: Callable[[int], None], folder: RunFolder, state: TrainingState, done: int,
          saved: Path | None) -> None:
    """Calls after_epoch; an exception of the user's code does not lose the training."""
    try:
        after_epoch(done)
    except Exception:
        position = Position(done, 0)
        if state.processes.size == 1 and (saved is None or saved.name != position.name):
            _save(folder, state, position, Sums())
        raise


class _Loop(NamedTuple):
    folder: RunFolder
    state: TrainingState
    progress: Progress
    interrupt: _Interrupt


def _run_epoch(loop: _Loop, start: Position, sums: Sums) -> tuple[Sums, int]:
    """Trains on the batches of an epoch from `start` on; returns the new sums and the epoch's number of batches."""
    folder, state, config = loop.folder, loop.state, loop.folder.config
    schedules, order = _schedules(config, start.epoch), _order(config.training, loop.state, start.epoch)
    source, position = state.source, start

    def load(number: int, indices: np.ndarray) -> tuple[np.ndarray, Batch]:
        step = start.step + number
        noise = _noise(state, config.training, Position(start.epoch, step), len(indices))
        return indices, Batch(source.read(indices), source.mask(indices), noise, schedules["sigma"],
                              schedules["learning_rate"], start.epoch * len(order) + step)

    try:
        for indices, batch in prefetch(load, order[start.step:]):
            sums = sums.add(_iteration(state, indices, batch, position), _images(batch))
            position = position._replace(step=position.step + 1)
            loop.progress.step(*position, len(order), sums.means())
            if position.step < len(order) and loop.interrupt.requested():
                raise Interrupted(_save(folder, state, position, sums))
    except Unreadable as error:
        if state.processes.size > 1:
            raise
        raise Unreadable(f"{error}. The training was saved before: {_save(folder, state, position, sums)}; --resume "
                        "continues it when the image can be read again") from None
    return sums, len(order)


def _schedules(config: cfg.Config, epoch: int) -> dict[str, float]:
    """The values of the config's schedules in an epoch, as recorded in the log."""
    inference = config.inference
    schedules = {"sigma": inference.sigma, "sigma_app": inference.sigma_app, "smoothness": inference.smoothness,
                 "decorrelation": inference.decorrelation, "learning_rate": config.training.learning_rate}
    return {name: cfg.value_at(schedule, epoch) for name, schedule in schedules.items()}


def batch_size(training: cfg.Training, count: int) -> int:
    """Number of samples in a batch: as in the config, or fewer if there are fewer samples. Raises UserError if
    micro-batches would be empty."""
    unit = training.shards * training.micro_batches
    size = min(training.batch_size, count - count % unit)
    if not size:
        raise UserError(f"{count} samples cannot be divided into {training.shards} shards of {training.micro_batches} "
                        "micro-batches (training.shards, training.micro_batches)")
    return size


def _order(training: cfg.Training, state: TrainingState, epoch: int) -> np.ndarray:
    """Indices of this process's samples in each batch of an epoch, (batches, samples)."""
    count, draw = len(state.source), functools.partial(generator, training.seed, "order", epoch)
    own = state.processes.shards(training.shards)
    return epoch_order(count, batch_size(training, count), draw, training.shards, own)


def _before_epoch(config: cfg.Config, state: TrainingState, epoch: int) -> None:
    """Reinitializes the appearance generator, restarts chains, and updates the decorrelation, if the config says so."""
    trainer, training, restart_every = state.trainer, config.training, config.inference.restart_every
    if epoch in training.reinit_appearance:
        reinit_appearance(trainer.model, reinitialized(config, epoch), state.bank)
        reset_adam(trainer.optimizers["optimizer"])
    if epoch and restart_every and epoch % restart_every == 0:
        state.bank.restart(trainer.model.groups)
    if trainer.decorrelation is not None:
        _update_decorrelation(trainer.decorrelation, state, cfg.value_at(config.inference.decorrelation, epoch))


def _set_scheduled_parameters(inference: cfg.Inference, state: TrainingState, epoch: int) -> None:
    """Sets the parameters of the compiled graphs that follow a schedule: inference.sigma_app, inference.smoothness."""
    sampler = state.trainer.sampler
    _set_smoothness(state, cfg.value_at(inference.smoothness, epoch))
    if sampler.sigma_factors is not None:
        g = state.trainer.model.branch_names.index("appearance")
        sampler.set_sigma_factor(g, cfg.value_at(inference.sigma_app, epoch))


def _set_smoothness(state: TrainingState, weight: float) -> None:
    """Sets the weight of the smoothness, if the energy has one."""
    energy = state.trainer.sampler.energy
    if energy.smooth:
        energy.set_smoothness(weight)


def _fit_preconditioner(config: cfg.Config, state: TrainingState, epoch: int, epoch_start: bool) -> None:
    """Re-estimates the preconditioner, if there is one, from the present weights, and the chains of evenly spaced
    samples of all processes.

    This happens at the start of each of the first EARLY epochs, of every EARLY-th later epoch, and of epochs that
    reinitialize the appearance generator; and whenever sigma differs from the sigma of the last estimate. epoch_start:
    False if the training is resumed within an epoch.
    """
    target = state.trainer.sampler.preconditioner
    if target is None:
        return
    sigmas = group_sigmas(config.inference, target.names, epoch)
    due = epoch_start and (epoch < preconditioner.EARLY or epoch % preconditioner.EARLY == 0
                           or epoch in config.training.reinit_appearance)
    if not due and target.sigmas == tuple(sigmas):
        return
    chosen = evenly_spaced(len(state.source), preconditioner.SAMPLES)
    sums = preconditioner.curvatures(state.trainer.model, _own_latents(state, chosen))
    target.update([_all_sum(state.processes, total) / len(chosen) for total in sums], sigmas)


def _update_decorrelation(target: Decorrelation, state: TrainingState, fraction: float) -> None:
    """Updates the decorrelation from the present chains of evenly spaced samples of all processes."""
    chosen = evenly_spaced(len(state.source), decorrelation.SAMPLES)
    target.update(_all_sum(state.processes, decorrelation.moments(*_own_latents(state, chosen))), fraction)


def _own_latents(state: TrainingState, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    """The latents of the samples at `indices` whose chains this process owns."""
    return state.bank.read(indices[indices % state.processes.size == state.processes.rank])


def _all_sum(processes: ProcessGroup, array: np.ndarray) -> np.ndarray:
    """The sum of the arrays of all processes."""
    return processes.all_sum(array.ravel()).reshape(array.shape)


@device.one_at_a_time
def _iteration(state: TrainingState, indices: np.ndarray, batch: Batch, position: Position) -> StepMetrics:
    """Runs one step of the trainer on the samples at `indices` and writes their new latents to the bank. Raises
    RunFailed if chains or weights diverge."""
    latents, metrics = state.trainer.step(batch, state.bank.read(indices))
    where = f"epoch {position.epoch + 1}, batch {position.step + 1}"
    if metrics.diagnostics is not None:
        limit = langevin.energy_limit(batch.x[0].size, batch.sigma)
        langevin.check_chains(metrics.diagnostics, latents, limit, where,
                              lambda row: state.source.name(indices[row]))
    _check_finite([*metrics.squared_errors, metrics.loss], where)
    state.bank.write(indices, latents)
    return metrics


def _check_finite(errors: Sequence[float], where: str) -> None:
    """Raises RunFailed if an error or a loss is not finite although the chains were: the weights diverged."""
    if not np.isfinite(errors).all():
        raise RunFailed(f"{where}: the errors or losses are not finite, so the weights diverged; lower "
                        "training.learning_rate")


def _images(batch: Batch) -> int:
    return len(batch.x) if batch.mask is None else int(batch.mask.sum())


def _noise(state: TrainingState, training: cfg.Training, position: Position, count: int) -> tuple[np.ndarray, ...]:
    """Noise for `count` samples. It depends on shard and position, not on the number of processes; a process draws only
    the noise of its own shards."""
    own, model = state.processes.shards(training.shards), state.trainer.model
    parts = [langevin.draw_noise(model, state.trainer.draws, count // len(own), training.seed, "noise", *position,
                                 *shard_key(shard, training.shards)) for shard in own]
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(noise, 1) for noise in zip(*parts))


def _save(folder: RunFolder, state: TrainingState, position: Position, sums: Sums) -> Path:
    """Writes one checkpoint for all processes; returns its path."""
    sums = sums.all_sum(state.processes)
    record: dict[str, Any] = {"sums": sums._asdict(), "images": state.source.identity(),
                              "shards": folder.config.training.shards} if state.processes.is_first else {}
    if state.processes.is_first and state.trainer.sampler.preconditioner is not None:
        record[checkpoint.SIGMAS] = list(state.trainer.sampler.preconditioner.sigmas)
    for name, cell in state.trainer.networks.items():
        if not all(np.isfinite(parameter.asnumpy()).all() for parameter in cell.get_parameters()):
            raise RunFailed(f"epoch {position.epoch + (position.step > 0)}: {name} is not finite after the last "
                            "update, and is not saved; lower training.learning_rate")
    cells = {**state.trainer.networks, **state.trainer.optimizers}
    return checkpoint.save(folder.checkpoints, position, record, cells, state.bank,
                           folder.config.training.checkpoints_kept, state.processes)


def _latent_statistics(state: TrainingState) -> dict[str, float]:
    """Mean and standard deviation of each group's latents over all processes; with a preconditioner also the numbers of
    used dimensions."""
    result = {}
    for name, sums in state.bank.power_sums().items():
        result[f"{name}_mean"], result[f"{name}_std"] = mean_and_deviation(*state.processes.all_sum(sums))
    if state.trainer.sampler.preconditioner is not None:
        result.update(state.trainer.sampler.preconditioner.used_dimensions())
    return result


class _Interrupt:
    """Turns the first SIGINT, SIGTERM or SIGHUP into a request to stop after this batch; a second one acts at once.

    SIGHUP stays ignored if the parent process ignored it (nohup).
    """

    def __init__(self, processes: ProcessGroup) -> None:
        self.processes, self.flag = processes, False

    def requested(self) -> bool:
        """Whether any process received a signal: all stop together."""
        return self.processes.any(self.flag)

    def __enter__(self) -> _Interrupt:
        self.previous: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
            return self
        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signals.append(signal.SIGHUP)
        self.previous = {number: signal.signal(number, self._receive) for number in signals}
        return self

    def _receive(self, number: int, frame) -> None:
        self.flag = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def __exit__(self, *_) -> None:
        self._restore()
