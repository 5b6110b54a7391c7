"""From a config to a trained run, anew or from where it stands."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Callable, Optional

from dgn import build
from dgn import config as cfg
from dgn.build import Sources, Trained
from dgn.errors import RunFailed, UserError
from dgn.files import append_line, sha256, write_text
from dgn.inference.latents import LatentBank
from dgn.ranks import Ranks
from dgn.run_folder import RunFolder
from dgn.training import checkpoint
from dgn.training.loop import Sums, train
from dgn.training.progress import Progress, Silence

AfterEpoch = Callable[[Trained, int], None]  # the run as it stands, number of finished epochs


def learn(folder: RunFolder, config: cfg.Config, device: str, sources: Sources, after_epoch: Optional[AfterEpoch] = None,
          ranks: Ranks = Ranks()) -> Trained:
    """Trains from the newest whole checkpoint, or from the start, to the config's last epoch. Of several processes the first
    writes; all return when the run is whole.

    Raises Interrupted after Ctrl-C, once the state is saved; RunFailed if a chain diverges or the disk refuses; what the
    first process raises is also in the run's log.
    """
    if not ranks.first:
        return _learn(folder, config, device, sources, after_epoch, ranks)
    handler = logging.FileHandler(folder.text_log, encoding="utf-8")
    logging.getLogger().addHandler(handler)
    try:
        return _learn(folder, config, device, sources, after_epoch, ranks)
    except (RunFailed, UserError) as error:
        append_line(folder.text_log, f"dgn: {error}")
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _learn(folder: RunFolder, config: cfg.Config, device: str, sources: Sources, after_epoch: Optional[AfterEpoch],
           ranks: Ranks) -> Trained:
    saved = _newest(folder, ranks)
    learner = build.make_learner(config, device, folder, sources.train, saved, ranks)
    start, sums = checkpoint.Position(0, 0), Sums()
    if saved:
        state = checkpoint.read_state(saved)
        start, sums = checkpoint.Position(state["epoch"], state["step"]), Sums(**state["sums"])
        if start.step and state["shards"] != config.training.shards:
            start, sums = checkpoint.Position(start.epoch, 0), Sums()  # other batches: what is half done is done again
    if ranks.first:
        folder.change_config(config)
        folder.rewind(start.epoch)
    folder.config = config
    groups = learner.model.groups
    trained = Trained(folder, saved, learner.model, learner.method.sampler, learner.method.encoder, learner.bank, lambda: sources)
    progress = Progress(start.epoch, config.training.epochs, folder.text_log) if ranks.first else Silence()
    several = f", {ranks.count} processes" if ranks.count > 1 else ""
    progress.say(f"dgn train on {device}{several}: {len(sources.train)} {'clips' if config.data.frames else 'images'}, "
                 f"{config.training.epochs} epochs" + (f", going on from {saved}" if saved else "") + f"; run folder {folder.path}")

    def show(done: int) -> None:  # the chains of all processes, from their files
        after_epoch(trained._replace(bank=LatentBank.open(folder.latents, groups, ranks.count)), done)

    try:
        saved = train(folder, learner, progress, start, sums, after_epoch and show) or saved
    finally:
        progress.close()
    return trained._replace(checkpoint=saved, bank=LatentBank.open(saved, groups))


def _newest(folder: RunFolder, ranks: Ranks) -> Optional[Path]:
    """The checkpoint to go on from, if there is one: the first process reads it whole and tells the others which it is."""
    place = (-1, -1)
    if ranks.first and checkpoint.listed(folder.checkpoints):
        state = checkpoint.read_state(checkpoint.newest_whole(folder.checkpoints))
        place = (state["epoch"], state["step"])
    epoch, step = (int(value) for value in ranks.values(place)[0])
    return folder.checkpoints / checkpoint.Position(epoch, step).name if epoch >= 0 else None


def finished(path: Path, config: cfg.Config, device: str) -> Trained:
    """The run of `config` in `path`: as it is if it has ended, trained on if it has not, begun if there is none.

    What does not change a training (evaluation, caches) may differ and is taken from `config`.
    Raises UserError if the folder holds a run of another config, or one that started from weights that have changed since.
    """
    sources = build.make_sources(config.data)  # first: a mistake in the data should leave no folder behind
    if not (path / "config.yaml").exists():
        folder = RunFolder.create(path, config)
        if config.training.start:
            write_text(path / START, _start_digest(config))
        return learn(folder, config, device, sources)
    folder = RunFolder.open(path)
    different = cfg.first_difference(folder.config, config)
    if different:
        raise UserError(f"{path} holds a run of other settings ({different}); remove it, or choose another --output")
    began = path / START
    if config.training.start and not (began.exists() and began.read_text(encoding="utf-8") == _start_digest(config)):
        raise UserError(f"{path} was not begun from {config.training.start} as it is now; remove it, so that it is trained anew")
    folder.change_config(config)
    saved = checkpoint.listed(folder.checkpoints)
    if saved and checkpoint.read_state(checkpoint.newest_whole(folder.checkpoints))["epoch"] >= config.training.epochs:
        return build.load_run(path, device, sources)
    return learn(folder, config, device, sources)


START = "start.sha256"  # in a run folder: of the manifest of the checkpoint that the run began with


def _start_digest(config: cfg.Config) -> str:
    return sha256(checkpoint.newest_whole(RunFolder.open(Path(config.training.start)).checkpoints) / "manifest.json")
