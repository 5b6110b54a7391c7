"""A trained model with its chains and data: the object that evaluation, figures, experiments and export take."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Union

import mindspore as ms
import numpy as np
from mindspore import nn

from dgn import config as cfg
from dgn import device as devices
from dgn import recipe
from dgn.config import Config
from dgn.data.open import check_output, check_sources, open_sources
from dgn.data.source import Source, Sources, same_samples
from dgn.distributed import ProcessGroup
from dgn.errors import UserError
from dgn.files import expanded, sha256, write_json, write_text
from dgn.inference import unseen
from dgn.inference.energy import TotalEnergy, full_mask
from dgn.inference.fitted import FittedPrior, draw_latents
from dgn.inference.langevin import Arrays, Langevin, as_tensors, make_energy, make_sampler
from dgn.inference.latents import LatentBank, given_latents
from dgn.inference.unseen import Chains, Given
from dgn.nets.build import make_encoder, make_model
from dgn.nets.model import Decoded, Model, decode
from dgn.randomness import generator
from dgn.run_folder import HELD_OUT, RunFolder, held_out_files
from dgn.training import checkpoint
from dgn.training.build import initial_run
from dgn.training.fit import Fitted, fit

PRIORS = ("fitted", "prior")  # that samples are drawn from
START = "start.sha256"  # in a run folder: digest of the checkpoint that the run was initialized from


@dataclass(frozen=True)
class Run:
    """A run as its newest whole checkpoint holds it.

    folder: its files; model: the generator; sampler: Langevin dynamics on it; encoder: of a run trained with one; bank:
    the latents of the training samples, read-only.
    """

    folder: RunFolder
    checkpoint: Optional[Path]  # None before the first one of a new run
    model: Model
    sampler: Langevin
    encoder: Optional[nn.Cell]
    bank: LatentBank
    open: Callable[[], Sources]  # opens the samples when they are first needed: inference on new images does without

    @property
    def config(self) -> Config:
        """Every setting of the run."""
        return self.folder.config

    @functools.cached_property
    def sources(self) -> Sources:
        """The training and held-out samples. Raises UserError if they are not those that the run was trained on."""
        return self.open()

    def decode(self, *latents: np.ndarray) -> Decoded:
        """Images of latents (N, d) of each group, NumPy in and out: image (N, C, H, W) in [0, 1]; for a deformable
        model also appearance (N, C, H, W) and displacement (N, 2, H, W) in pixels (Eq. 1). Clips have frames as a
        second axis."""
        return decode(self.model, *latents)

    def sample(self, count: int, seed: int = 0, prior: str = "fitted", frames: Optional[int] = None) -> Decoded:
        """`count` new images (or clips of `frames` frames); a label model gets its labels in turn.

        prior: "fitted" draws latents from a Gaussian fitted to those of the training samples (dgn.inference.fitted),
        "prior" from the prior, a standard normal distribution.
        """
        if prior not in PRIORS:
            raise UserError(f"prior is {prior!r}; it must be one of {', '.join(PRIORS)}")
        fitted = self.fitted_prior if prior == "fitted" else None
        return self.decode(*draw_latents(self.model, count, generator(seed, "samples"), frames, fitted))

    @functools.cached_property
    def fitted_prior(self) -> FittedPrior:
        """The distribution of the latents of the training samples: stored at the end of the training, or fitted now."""
        stored = FittedPrior.load(self.folder.fitted_prior, self.checkpoint.name) if self.checkpoint else None
        return stored or FittedPrior.fit(self.model, self.bank, lambda chosen: self.sources.train.mask(chosen))

    def infer(self, images: Union[np.ndarray, Source], steps: Optional[int] = None, descent_steps: int = 0,
              seed: Optional[int] = None, use_encoder: bool = True) -> Any:
        """Latents of images: by the encoder if the run has one, else by Langevin dynamics from the prior's mean (Eq.
        7).

        images: (N, C, H, W) float32 in [0, 1], clips (N, F, C, H, W), or a Source (dgn.images), which also gives labels
        and the mask of shorter clips. steps: Langevin steps (default: the config's evaluation.steps); descent_steps:
        further steps without noise, towards a mode; seed: of the noise (default: the run's).
        Returns Latents (appearance, geometry), or PlainLatents (z,), arrays of shape (N, d).
        """
        chains = self.chains(steps, descent_steps, seed)
        if not isinstance(images, Source):
            return self.infer_batch(images, chains, use_encoder=use_encoder)
        everyone, given = np.arange(len(images)), given_latents(self.model.groups, images)
        return self.infer_batch(images.read(everyone), chains, images.mask(everyone), given, use_encoder)

    def infer_batch(self, images: np.ndarray, chains: Chains, mask: Optional[np.ndarray] = None,
                    given: Optional[Given] = None, use_encoder: bool = True) -> Any:
        """`infer` for arrays: mask (N, F) of clips (default: all frames); given: labels of groups that are not
        sampled."""
        if mask is None and self.model.frames:
            mask = np.ones(images.shape[:2], np.float32)
        if self.encoder is not None and use_encoder:
            latents = unseen.encode(self.encoder, self.model.groups, images, given)
        else:
            latents = unseen.infer(self.sampler, images, chains, mask, given)
        return self.model.latents(*latents)

    def chains(self, steps: Optional[int] = None, descent_steps: int = 0, seed: Optional[int] = None,
               first: int = 0) -> Chains:
        """Settings of Langevin inference at the sigma of the last epoch; see `infer` and Chains."""
        return Chains(self.config.evaluation.steps if steps is None else steps, cfg.last_sigma(self.config),
                      self.config.training.seed if seed is None else seed, descent_steps, first)

    def training_latents(self, descent_steps: int) -> Any:
        """Latents of all training samples in order: their chains after so many further steps without noise, which lead
        to a mode of the posterior. For a run with an encoder: its means."""
        source, everyone = self.sources.train, np.arange(len(self.sources.train))
        images = source.read(everyone)
        if self.encoder is not None:
            return self.infer(source)
        given = dict(zip((group.name for group in self.model.groups), self.bank.read(everyone)))
        return self.infer_batch(images, self.chains(0, descent_steps), source.mask(everyone), given)

    def energy(self, images: np.ndarray, latents: Arrays, mask: Optional[np.ndarray] = None) -> np.ndarray:
        """E(x, z) of Eq. 8 at the sigma of the last epoch, (N,)."""
        sigma = ms.Tensor(cfg.last_sigma(self.config), ms.float32)
        inputs = ms.Tensor(images), ms.Tensor(full_mask(len(images), mask)), sigma, *as_tensors(latents)
        return self._total_energy(*inputs).asnumpy()

    @functools.cached_property
    def _total_energy(self) -> TotalEnergy:
        """Kept: a new Cell would be compiled again."""
        return TotalEnergy(self.sampler.energy)


def load(path: Union[str, Path], device: str = "auto", data: Union[str, Path, None] = None) -> Run:
    """Opens a run folder: builds its model and sampler and restores their weights.

    device: Ascend, GPU, CPU, or auto: the first of these that is available. data: the present place of the run's
    images, if they were moved. Raises UserError if the folder holds no whole checkpoint.
    """
    devices.start(device)
    return open_run(expanded(path), data=data)


def open_run(path: Path, sources: Optional[Sources] = None, data: Union[str, Path, None] = None) -> Run:
    """`load` on the device in use; sources: the run's samples, if they are open already."""
    folder = RunFolder.open(path)
    config = folder.config = recipe.relocated(folder.config, data)
    saved = checkpoint.newest_whole(folder.checkpoints)
    model = make_model(config)
    encoder = make_encoder(config, model) if config.training.method != "abp" else None
    sampler = make_sampler(make_energy(model, config), config)
    parts = {"weights": model, "encoder": encoder, "preconditioner": sampler.preconditioner}
    checkpoint.load(saved, {name: cell for name, cell in parts.items() if cell is not None})
    trained_on = checkpoint.read_state(saved)["images"]

    def open_them() -> Sources:
        opened = sources or open_sources(config.data, held_out_files(path))
        if not same_samples(opened.train, trained_on):
            where = f"{config.data.path} holds now" if config.data.path else "are generated now"
            raise UserError(f"{path} was trained on other images than {where}: some were added, removed or renamed, "
                            "or this version orders them differently, and its chains would be matched to wrong "
                            "images; restore them, or train a new run")
        return opened
    return Run(folder, saved, model, sampler, encoder, LatentBank.open(saved, model.groups), open_them)


AfterEpoch = Callable[[Run, int], None]  # the run as it is, number of finished epochs


def fit_run(folder: RunFolder, config: Config, sources: Sources, after_epoch: Optional[AfterEpoch] = None,
            group: ProcessGroup = ProcessGroup()) -> Run:
    """Trains a run folder to the config's last epoch; see dgn.training.fit."""
    if group.is_first and sources.held_out is not None and not checkpoint.listed(folder.checkpoints):
        held_out = sources.held_out.files(np.arange(len(sources.held_out)))
        if held_out is not None:
            write_json(folder.path / HELD_OUT, held_out)

    def as_run(fitted: Fitted) -> Run:
        trainer = fitted.state.trainer
        return Run(folder, fitted.checkpoint, trainer.model, trainer.sampler, trainer.encoder, fitted.bank,
                   lambda: sources)

    report = None
    if after_epoch is not None:
        callback = after_epoch

        def report(fitted: Fitted, done: int) -> None:
            callback(as_run(fitted), done)
    return as_run(fit(folder, config, sources.train, report, group))


def train(config: Union[str, Path, Config], output: Union[str, Path], overrides: Optional[Mapping[str, Any]] = None,
          device: str = "auto", after_epoch: Optional[AfterEpoch] = None) -> Run:
    """Trains a new run in the folder `output` and returns it.

    config: a recipe's path or a Config; overrides: values by section.key, such as {"training.epochs": 20}; device: see
    `load`; after_epoch(run, epochs): called after each epoch. Raises UserError for a wrong config or a folder that
    exists, Interrupted after Ctrl-C (the state is saved), RunFailed if a chain diverges.
    """
    devices.start(device)
    config = config if isinstance(config, Config) else recipe.load(expanded(config))
    config = recipe.absolute_paths(recipe.with_overrides(config, overrides or {}))
    output = expanded(output)
    check_output(output, config.data)
    sources = open_sources(config.data)  # first: an error in the data must not leave a folder behind
    check_sources(sources)
    if config.training.init_from:
        initial_run(config)
    return fit_run(RunFolder.create(output, config), config, sources, after_epoch)


def ensure_trained(path: Path, config: Config) -> Run:
    """The run of `config` in `path`: opened if it is complete, resumed if it is not, started if there is none.

    Settings that do not affect the weights (evaluation, caches) may differ and are taken from `config`.
    Raises UserError if the folder holds a run of another config, or one initialized from weights that have changed
    since.
    """
    sources = open_sources(config.data, held_out_files(path))
    if not (path / "config.yaml").exists():
        check_output(path, config.data)
        check_sources(sources)  # first: an error in the data must not leave a folder behind
        folder = RunFolder.create(path, config)
        if config.training.init_from:
            write_text(path / START, _start_digest(config))
        return fit_run(folder, config, sources)
    folder = RunFolder.open(path)
    different = cfg.first_difference(folder.config, config)
    if different:
        raise UserError(f"{path} holds a run of other settings ({different}); remove it, or choose another --output")
    start = path / START
    digest = start.read_text(encoding="utf-8") if start.exists() else None
    if config.training.init_from and digest != _start_digest(config):
        raise UserError(f"{path} was not initialized from {config.training.init_from} as it is now; remove it, so "
                        "that it is trained again")
    folder.change_config(config)
    saved = checkpoint.listed(folder.checkpoints)
    if saved and checkpoint.read_state(checkpoint.newest_whole(folder.checkpoints))["epoch"] >= config.training.epochs:
        return open_run(path, sources)
    check_sources(sources)
    return fit_run(folder, config, sources)


def _start_digest(config: Config) -> str:
    return sha256(initial_run(config)[1] / "manifest.json")
