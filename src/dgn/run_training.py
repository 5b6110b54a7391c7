"""Creates runs: trains new ones, resumes them, trains what an experiment needs, and adds an encoder."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dgn import config as cfg
from dgn import device as devices
from dgn import packaged, recipe
from dgn.config import Config
from dgn.data.open import check_output, check_sources, described, open_sources
from dgn.data.source import Sources, originals
from dgn.distributed import ProcessGroup
from dgn.errors import UserError
from dgn.files import expanded, write_json, write_text
from dgn.inference.axes import principal_axes, rotate
from dgn.inference.langevin import Langevin, make_inference_sampler
from dgn.inference.latents import LatentBank, given_latents
from dgn.launcher import check_launcher
from dgn.nets.build import make_chain_encoder, make_model
from dgn.nets.model import LatentGroup
from dgn.provenance import provenance
from dgn.run import Run, open_run
from dgn.run_folder import HELD_OUT, TRAINED, RunFolder
from dgn.training import checkpoint, restore
from dgn.training.build import check_version, initial_digest, initial_run, make_trainer
from dgn.training.chain_encoder import EncoderOptions, pairs_of, save_chain_encoder, train_encoder
from dgn.training.dry_run import describe
from dgn.training.fit import Trained, fit

ENCODER_DESCENT_STEPS = 50  # steps without noise after which an encoder is trained on the chains
AXES_SAMPLES = 200  # approximate number of evenly spaced chains that are read for principal axes
INITIAL = "start.sha256"  # in a run folder: digest of the checkpoint that the run was initialized from

AfterEpoch = Callable[[Run, int], None]  # arguments: the run in its present state, number of finished epochs


def fit_encoder(run: Run, options: EncoderOptions = EncoderOptions(),
                report: Callable[[int, float], None] | None = None) -> Run:
    """Trains an encoder that initializes the chains of unseen images (dgn.training.chain_encoder), for a finished run,
    and writes it to the run folder.

    report(step, mean energy of a batch): called after each step. Returns the run with its encoder. Raises UserError for
    a run on clips, a run trained as VAE or autoencoder, or a packaged model.
    """
    began, config, path = time.monotonic(), run.config, run.folder.path
    if config.data.frames:
        raise UserError(f"{path} is a run on clips; an encoder for Langevin chains needs images (data.frames 0)")
    if run.encoder is not None:
        raise UserError(f"{path} was trained as VAE or autoencoder and already has an encoder")
    if run.checkpoint is None or run.folder.output != path:
        raise UserError(f"{path} is {'a packaged model' if run.checkpoint else 'a run without a checkpoint'}; give the "
                        "output folder of a finished training")
    pairs = pairs_of(run.sources.train, lambda chosen: run.training_latents(ENCODER_DESCENT_STEPS, chosen))
    encoder = make_chain_encoder(config, run.model)
    train_encoder(encoder, run.sampler.energy, cfg.last_sigma(config), run.sources.train, pairs, options, report)
    about = {"steps": options.steps, **provenance(time.monotonic() - began)}
    save_chain_encoder(path, run.checkpoint, encoder, about)
    return replace(run, chain_encoder=encoder)


def fit_run(folder: RunFolder, config: Config, sources: Sources, after_epoch: AfterEpoch | None = None,
            processes: ProcessGroup = ProcessGroup()) -> Run:
    """Trains a run folder to the config's last epoch; see dgn.training.fit.

    The returned run has its latents along principal axes (dgn.inference.axes). Its checkpoint holds these axes in
    addition to the trained model, its folder the distribution of its latents (dgn.inference.fitted).
    """
    if processes.is_first and not checkpoint.all_checkpoints(folder.checkpoints):
        record_files(folder, sources)

    @functools.lru_cache  # a new Cell would be compiled again
    def inference_sampler(of_training: Langevin) -> Langevin:
        return make_inference_sampler(of_training.energy, config, of_training)

    def as_run(trained: Trained) -> Run:
        trainer = trained.state.trainer
        sampler, trained_with = inference_sampler(trainer.sampler), trainer.sampler.preconditioner
        if trained_with is not None and sampler.preconditioner is not None:
            sampler.preconditioner.copy(trained_with)
            sampler.preconditioner.adapt_all(cfg.last_sigma(config))
        return Run(folder, trained.checkpoint, trainer.model, sampler, trainer.encoder, trained.bank, lambda: sources)

    def report(trained: Trained, done: int) -> None:
        if after_epoch:
            after_epoch(as_run(trained), done)

    run = as_run(fit(folder, config, sources.train, report if after_epoch else None, processes))
    newest = run.checkpoint
    if processes.is_first and newest is not None:
        if run.encoder is None and not run.model.frames:  # an encoder's outputs and the states of clips are not rotated
            run = along_principal_axes(run)
        run.fitted_prior.save(folder.fitted_prior, newest.name)
    return run


def record_files(folder: RunFolder, sources: Sources) -> None:
    """Writes the names of the files that are trained on and held out, if the samples are files."""
    for name, source in ((TRAINED, originals(sources.train)), (HELD_OUT, sources.held_out)):
        files = source.files(source.indices()) if source is not None else None
        if files is not None:
            write_json(folder.path / name, files)


def along_principal_axes(run: Run) -> Run:
    """Rotates the latents of a run to principal axes after the training, and adds the axes to its checkpoint."""
    saved, model = run.checkpoint, run.model
    assert saved is not None
    rotations = restore.read_axes(saved)
    if not rotations:
        indices = np.arange(0, len(run.bank), max(len(run.bank) // AXES_SAMPLES, 1))  # all may exceed the memory
        axes = principal_axes(model, run.bank.read(indices))
        rotations = {group.name: found.directions for group, found in zip(model.groups, axes) if found is not None}
        restore.save_axes(saved, rotations)
    rotate(model, rotations)
    if run.sampler.preconditioner is not None:
        run.sampler.preconditioner.rotate(rotations)
    return replace(run, bank=LatentBank.open(saved, model.groups, rotations=rotations))


def train(config: str | Path | Config, output: str | Path, overrides: Mapping[str, Any] | None = None,
          device: str = "auto", after_epoch: AfterEpoch | None = None) -> Run:
    """Trains a new run in the folder `output` and returns it.

    config: path of a recipe, or a Config. overrides: values by section.key, such as {"training.epochs": 20}. device:
    see `load`. after_epoch(run, epochs): called after each epoch. Raises UserError for an invalid config or a folder
    that is not empty, Interrupted after Ctrl-C (the state is saved), RunFailed if a chain diverges.
    """
    check_launcher()
    if not isinstance(config, (str, Path, Config)):
        raise UserError(f"config is {type(config).__name__}; it must be the path of a recipe or a dgn.Config, and "
                        'single values go into overrides, such as {"training.epochs": 20}')
    config = config if isinstance(config, Config) else recipe.load(expanded(config))
    config = recipe.absolute_paths(recipe.with_overrides(config, overrides or {}))
    devices.start(device, config.numerics)
    folder, sources = prepare(expanded(output), config)
    return fit_run(folder, config, sources, after_epoch)


def resume(path: str | Path, overrides: Mapping[str, Any] | None = None, device: str = "auto",
           data: str | Path | None = None, after_epoch: AfterEpoch | None = None) -> Run:
    """Continues the training in a run folder from its newest valid checkpoint, to its last epoch, and returns the run.

    overrides: new values by section.key, such as {"training.epochs": 400}. data: new location of the run's images, if
    they were moved. device, after_epoch: see `train`. Earlier results are kept as metrics_epoch_NNNNN.json. Raises
    UserError for a folder without a run or a value that must not change, and the errors of `train`.
    """
    check_launcher()
    folder = RunFolder.open(expanded(path))
    config = recipe.absolute_paths(recipe.with_overrides(recipe.relocated(folder.config, data), overrides or {}))
    devices.start(device, config.numerics)
    folder, sources = prepare(folder, config)
    return fit_run(folder, config, sources, after_epoch)


def checked_sources(target: Path | RunFolder, config: Config, is_first: bool = True) -> Sources:
    """The samples of the training that `prepare` begins. Checks everything that it needs, so that an error leaves no
    folder behind. is_first: whether this process creates the folder. Raises UserError."""
    if isinstance(target, RunFolder):
        cfg.check_resumable(target.config, config)
        sources = restore.recorded_sources(target, config)
        check_sources(sources, config.data)
        return sources
    if is_first:
        packaged.check_free(target)
    check_output(target, config.data)
    sources = open_sources(config.data)
    check_sources(sources, config.data)
    if config.model.appearance == "label":
        given_latents([LatentGroup("z_app", (config.model.z_app,), sampled=False)], sources.train, np.arange(1))
    if config.training.init_from:
        initial_run(config)
    return sources


def prepare(target: Path | RunFolder, config: Config,
            processes: ProcessGroup = ProcessGroup()) -> tuple[RunFolder, Sources]:
    """The run folder and the samples of a training.

    target: path of a new run, whose folder the first process creates, or the folder of a run to resume. Raises
    UserError for whatever the training cannot use: files, values of the config, a folder that is not empty, a value
    that must not change when a run is resumed.
    """
    sources = checked_sources(target, config, processes.is_first)
    if isinstance(target, RunFolder):
        return target, sources
    if processes.is_first:
        RunFolder.create(target, config)
    processes.barrier()
    RunFolder.await_new(target, processes.rank)
    return RunFolder(target, config), sources


def dry_run(target: Path | RunFolder, config: Config) -> str:
    """Size, memory, steps and data of the training that `prepare` would begin with these arguments, as text. Writes
    nothing. Raises UserError."""
    sources = checked_sources(target, config)
    size = describe(config, make_trainer(config, make_model(config)), len(sources.train), devices.current())
    return f"{size}\ndata         {described(config.data, sources)}"


def ensure_trained(path: Path, config: Config) -> Run:
    """The run with `config` in `path`: opened if it is complete, resumed if it is not, trained if there is none.

    Settings that do not affect the weights (evaluation, caches) may differ and are taken from `config`. Raises
    UserError if the folder holds a run with another config, or a run that was initialized from weights that have
    changed since.
    """
    check_launcher()
    devices.start(settings=config.numerics)
    if not RunFolder.is_run(path):
        folder, sources = prepare(path, config)
        if config.training.init_from:
            write_text(path / INITIAL, initial_digest(config))
        return fit_run(folder, config, sources)
    folder = RunFolder.open(path)
    different = cfg.first_difference(folder.config, config)
    if different:
        raise UserError(f"{path} holds a run with other settings ({different}); remove it, or choose another --output")
    start = path / INITIAL
    digest = start.read_text(encoding="utf-8") if start.exists() else None
    if config.training.init_from and digest != initial_digest(config):
        raise UserError(f"{path} was initialized from other weights than those that {config.training.init_from} holds "
                        "now; remove it, so that it is trained again")
    folder.change_config(config)
    saved = checkpoint.newest(folder.checkpoints)
    if saved and checkpoint.read_state(saved, "epoch")["epoch"] >= config.training.epochs:
        check_version(config, saved)
        return open_run(path, restore.recorded_sources(folder, config), saved=saved)
    folder, sources = prepare(folder, config)
    return fit_run(folder, config, sources)
