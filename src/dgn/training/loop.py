"""Epochs of visits: infer the latents of a batch, then learn from them (Algorithm 1 and 2). The only epoch loop."""

from __future__ import annotations

import signal
import time
from typing import Any, Callable, Dict, NamedTuple, Optional

import numpy as np
from mindspore import nn

from dgn import config as cfg
from dgn.data.source import Source, batches, count_images, epoch_order
from dgn.errors import Interrupted
from dgn.inference import langevin
from dgn.inference.latents import LatentBank
from dgn.randomness import generator
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


class Sums(NamedTuple):
    """Running sums over the batches of an epoch; kept in checkpoints, so that a resumed epoch reports the same."""

    batches: int = 0
    images: int = 0
    loss: float = 0.0
    squared_error: float = 0.0
    measures: Dict[str, float] = {}  # never changed in place

    def add(self, visit: Visit, images: int) -> "Sums":
        return Sums(self.batches + 1, self.images + images, self.loss + visit.loss,
                    self.squared_error + float(visit.errors.sum()),
                    {**self.measures, **{key: self.measures.get(key, 0.0) + value for key, value in visit.measures.items()}})

    def means(self) -> Dict[str, float]:
        n = max(self.batches, 1)
        return {"loss": self.loss / n, "msre": self.squared_error / max(self.images, 1),
                **{key: value / n for key, value in self.measures.items()}}


def train(run: RunFolder, learner: Learner, progress: Progress, start: Position = Position(0, 0),
          sums: Sums = Sums(), after_epoch: Optional[Callable[[int], None]] = None) -> None:
    """Runs the epochs from `start` to the config's last and leaves a checkpoint there.

    after_epoch(epoch) is called with the number of finished epochs (for figures).
    Raises Interrupted after Ctrl-C, once the state is saved; RunFailed if a chain diverges.
    """
    config, source = run.config, learner.source
    size = min(config.training.batch_size, len(source))
    with _Interrupt() as interrupt:
        for epoch in range(start.epoch, config.training.epochs):
            order = epoch_order(len(source), size, generator(config.training.seed, "order", epoch))
            first = start.step if epoch == start.epoch else 0
            sums = sums if first else Sums()
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
                if interrupt.asked and step + 1 < len(order):
                    raise Interrupted(_save(run, learner, Position(epoch, step + 1), sums))
            seconds = time.monotonic() - began
            record = {"epoch": epoch, **sums.means(), "sigma": sigma, "learning_rate": rate,
                      **{f"{name}_{moment}": value for name, pair in learner.bank.moments().items()
                         for moment, value in zip(("mean", "std"), pair)},
                      "images_per_second": (sums.images - before) / seconds, "seconds": seconds}
            run.log(record)
            progress.epoch(record, len(order))
            done = epoch + 1
            if done % config.training.checkpoint_every == 0 or done == config.training.epochs or interrupt.asked:
                saved = _save(run, learner, Position(done, 0), Sums())
            if interrupt.asked:
                raise Interrupted(saved)
            if after_epoch:
                after_epoch(done)


def visit(learner: Learner, config: cfg.Config, position: Position, indices: np.ndarray, x: np.ndarray, sigma: float,
          rate: float, sums: Sums) -> Sums:
    """One iteration on the samples at `indices`; their new latents go into the bank."""
    where = f"epoch {position.epoch}, batch {position.step}"

    def check(diagnostics: langevin.Diagnostics, latents) -> None:
        langevin.check_chains(diagnostics, latents, where, lambda row: learner.source.name(indices[row]))

    noise = langevin.draw_noise(learner.model, learner.method.draws, len(indices), config.training.seed, "noise", *position)
    done = learner.method.visit(x, learner.bank.read(indices), noise, sigma, rate, check)
    learner.bank.write(indices, done.latents)
    langevin.check_errors(done.errors, where)
    return sums.add(done, count_images(x))


def _save(run: RunFolder, learner: Learner, position: Position, sums: Sums):
    state: Dict[str, Any] = {"sums": sums._asdict(), "images": learner.source.identity()}
    return checkpoint.save(run.checkpoints, position, state, learner.method.cells, learner.bank,
                           run.config.training.checkpoints_kept)


class _Interrupt:
    """Turns the first SIGINT or SIGTERM into a wish to stop after this batch; a second one acts at once."""

    def __enter__(self) -> "_Interrupt":
        self.asked = False
        self.previous = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _note(self, number: int, frame) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def __exit__(self, *_) -> None:
        self._restore()
