"""Epochs of visits: infer the latents of a batch, then learn from them (Algorithm 1 and 2). The only epoch loop."""

from __future__ import annotations

import functools
import signal
import time
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
from mindspore import nn

from dgn import config as cfg
from dgn.data.source import Source, batches, count_images, epoch_order, shard_place
from dgn.errors import Interrupted, UserError
from dgn.inference import langevin
from dgn.inference.latents import LatentBank, moments
from dgn.randomness import generator
from dgn.ranks import Ranks
from dgn.run_folder import RunFolder
from dgn.training import checkpoint
from dgn.training.checkpoint import Position
from dgn.training.method import Method, Visit
from dgn.training.progress import Progress
from dgn.training.renewal import Fresh, renew_appearance


class Learner(NamedTuple):
    """A training: what is learned, how, and from what."""

    model: nn.Cell
    method: Method
    bank: LatentBank
    source: Source  # the images that the chains of the bank belong to
    fresh: Fresh  # number of a renewal -> a model with initial weights
    ranks: Ranks


class Sums(NamedTuple):
    """Running sums over the samples of an epoch; kept in checkpoints, so that a resumed epoch reports the same. They add up
    over processes."""

    samples: int = 0
    images: int = 0  # frames, of clips
    loss: float = 0.0
    squared_error: float = 0.0
    measures: Dict[str, Sequence[float]] = {}  # samples of the visits that told it, sum over them; never changed in place

    def add(self, visit: Visit, images: int) -> "Sums":
        n, measures = len(visit.errors), dict(self.measures)
        for key, value in visit.measures.items():
            told, total = measures.get(key, (0, 0.0))
            measures[key] = (told + n, total + n * value)
        return Sums(self.samples + n, self.images + images, self.loss + n * visit.loss,
                    self.squared_error + float(visit.errors.sum()), measures)

    def over(self, ranks: Ranks) -> "Sums":
        """The sums of all processes."""
        if ranks.count == 1:
            return self
        keys = sorted(self.measures)  # the same everywhere: processes take the same steps
        samples, images, loss, error, *measures = ranks.total([*self[:4], *(value for key in keys for value in self.measures[key])])
        return Sums(int(samples), int(images), loss, error, dict(zip(keys, zip(measures[::2], measures[1::2]))))

    def means(self) -> Dict[str, float]:
        n = max(self.samples, 1)
        return {"loss": self.loss / n, "msre": self.squared_error / max(self.images, 1),
                **{key: total / told for key, (told, total) in self.measures.items() if told}}


def train(run: RunFolder, learner: Learner, progress: Progress, start: Position = Position(0, 0),
          sums: Sums = Sums(), after_epoch: Optional[Callable[[int], None]] = None) -> Optional[Path]:
    """Runs the epochs from `start` to the config's last and leaves a checkpoint there, which it returns; None if there was
    nothing left to do.

    after_epoch(epoch) is called with the number of finished epochs (for figures), all chains being in their files.
    Raises Interrupted after Ctrl-C, once the state is saved; RunFailed if a chain diverges.
    """
    config, source, ranks = run.config, learner.source, learner.ranks
    size, saved = batch_size(config.training, len(source)), None
    with _Interrupt(ranks) as interrupt:
        for epoch in range(start.epoch, config.training.epochs):
            draw = functools.partial(generator, config.training.seed, "order", epoch)
            order = epoch_order(len(source), size, draw, config.training.shards, ranks.shards(config.training.shards))
            first = start.step if epoch == start.epoch else 0
            if not (first and ranks.first):  # what was summed before the stop is told once, by names that all know
                sums = Sums(measures=dict.fromkeys(sums.measures, (0, 0.0)) if first else {})
            if epoch in config.training.renew_appearance and not first:
                renew_appearance(learner.model, learner.fresh, learner.method.cells["optimizer"], config.training.adam_beta1,
                                 config.training.adam_beta2, learner.bank, epoch)
            if not first and epoch and config.inference.restart_every and epoch % config.inference.restart_every == 0:
                learner.bank.restart(learner.model.groups)
            sigma = cfg.at_epoch(config.inference.sigma, epoch)
            rate = cfg.at_epoch(config.training.learning_rate, epoch)
            began, before = time.monotonic(), sums.images
            for step, (indices, x) in enumerate(batches(source, order[first:]), first):
                sums = visit(learner, config, Position(epoch, step), indices, x, sigma, rate, sums)
                progress.step(epoch, step + 1, len(order), sums.means())
                if step + 1 < len(order) and interrupt.asked():
                    raise Interrupted(_save(run, learner, Position(epoch, step + 1), sums))
            seconds = time.monotonic() - began
            speed = ranks.total([sums.images - before])[0] / seconds
            record = {"epoch": epoch, **sums.over(ranks).means(), "sigma": sigma, "learning_rate": rate, **_moments(learner),
                      "images_per_second": speed, "seconds": seconds}
            if ranks.first:
                run.log(record)
            progress.epoch(record, len(order))
            done, stop = epoch + 1, interrupt.asked()
            if done % config.training.checkpoint_every == 0 or done == config.training.epochs or stop:
                saved = _save(run, learner, Position(done, 0), Sums())
            if stop:
                raise Interrupted(saved)
            if after_epoch:
                learner.bank.flush()
                ranks.wait()
                if ranks.first:
                    after_epoch(done)
                ranks.wait()
    return saved


def batch_size(training: cfg.Training, count: int) -> int:
    """Samples of a batch: as the config says, or what fewer samples allow. Raises UserError if there is not one for each part."""
    unit = training.shards * training.parts
    size = min(training.batch_size, count - count % unit)
    if not size:
        raise UserError(f"{count} samples cannot be divided into {training.shards} shards of {training.parts} parts "
                        "(training.shards, training.parts)")
    return size


def visit(learner: Learner, config: cfg.Config, position: Position, indices: np.ndarray, x: np.ndarray, sigma: float, rate: float,
          sums: Sums) -> Sums:
    """One iteration on the samples at `indices`, this process's part of a batch; their new latents go into the bank."""
    where = f"epoch {position.epoch}, batch {position.step}"

    def check(diagnostics: langevin.Diagnostics, latents) -> None:
        langevin.check_chains(diagnostics, latents, x[0].size, sigma, where, lambda row: learner.source.name(indices[row]))

    noise = _noise(learner, config.training, position, len(indices))
    done = learner.method.visit(x, learner.bank.read(indices), noise, sigma, rate, check)
    learner.bank.write(indices, done.latents)
    langevin.check_errors([*done.errors, done.loss], where)
    return sums.add(done, count_images(x))


def _noise(learner: Learner, training: cfg.Training, position: Position, count: int) -> Tuple[np.ndarray, ...]:
    """For `count` samples. A sample's noise depends on its shard and its place there, not on the number of processes, and a
    process draws for its own shards alone."""
    own = learner.ranks.shards(training.shards)
    parts = [langevin.draw_noise(learner.model, learner.method.draws, count // len(own), training.seed, "noise", *position,
                                 *shard_place(shard, training.shards)) for shard in own]
    return parts[0] if len(parts) == 1 else tuple(np.concatenate(group, 1) for group in zip(*parts))


def _save(run: RunFolder, learner: Learner, position: Position, sums: Sums) -> Path:
    """One checkpoint for all processes."""
    sums = sums.over(learner.ranks)
    state: Dict[str, Any] = {"sums": sums._asdict(), "images": learner.source.identity(),
                             "shards": run.config.training.shards} if learner.ranks.first else {}
    return checkpoint.save(run.checkpoints, position, state, learner.method.cells, learner.bank, run.config.training.checkpoints_kept,
                           learner.ranks)


def _moments(learner: Learner) -> Dict[str, float]:
    """Mean and deviation of each group's latents over all processes."""
    found = {}
    for name, sums in learner.bank.power_sums().items():
        found[f"{name}_mean"], found[f"{name}_std"] = moments(*learner.ranks.total(sums))
    return found


class _Interrupt:
    """Turns the first SIGINT or SIGTERM into a wish to stop after this batch; a second one acts at once."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks, self.wish = ranks, False

    def asked(self) -> bool:
        """Whether any process was asked to stop: they stop together."""
        return self.ranks.any(self.wish)

    def __enter__(self) -> "_Interrupt":
        self.previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number: int, frame) -> None:
        self.wish = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def __exit__(self, *_) -> None:
        self._restore()
