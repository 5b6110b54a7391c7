"""A trained model with its chains and data: the object that evaluation, figures, experiments and export take."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np

from dgn import config as cfg
from dgn import device as devices
from dgn import packaged, recipe
from dgn.config import Config
from dgn.data.arrays import ArrayImages, checked_images, checked_mask
from dgn.data.cut import cut_of
from dgn.data.open import open_new_images
from dgn.data.source import Source, Sources, Subset, same_samples
from dgn.errors import UserError, check_opened
from dgn.files import expanded
from dgn.inference import unseen
from dgn.inference.chains import as_arrays, as_tensors
from dgn.inference.energy import EnergyGradient, TotalEnergy, make_energy, mask_or_ones
from dgn.inference.fitted import FittedPrior, draw_latents
from dgn.inference.langevin import Langevin, make_inference_sampler
from dgn.inference.latents import LatentBank, given_latents
from dgn.inference.trajectory import Recorder, Trajectory
from dgn.inference.unseen import ChainSettings
from dgn.nets.build import make_encoder, make_model
from dgn.nets.encoder import ChainEncoder, Encoder
from dgn.nets.model import AnyLatents, Arrays, Decoded, Model, checked_given, checked_latents, decode
from dgn.randomness import checked_seed, generator
from dgn.run_folder import RunFolder
from dgn.training import checkpoint, parameters, restore
from dgn.training.chain_encoder import load_chain_encoder

log = logging.getLogger(__name__)

PRIORS = ("fitted", "prior")  # distributions that samples are drawn from


@dataclass(frozen=True)
class Run:
    """A trained run, opened from its newest valid checkpoint.

    folder: its files. model: the generator. sampler: Langevin dynamics for `infer`. encoder: the inference network of a
    run trained as VAE or autoencoder, else None. bank: latents of the training samples, read-only. chain_encoder: the
    encoder of `dgn encoder`, whose latents initialize the chains of unseen images; None without one.
    """

    folder: RunFolder
    checkpoint: Path | None  # None before the first one of a new run
    model: Model
    sampler: Langevin
    encoder: Encoder | None
    bank: LatentBank
    open_sources: Callable[[], Sources]  # called when samples are first needed; inference on new images needs none
    chain_encoder: ChainEncoder | None = None

    def __repr__(self) -> str:
        groups = ", ".join(f"{group.name} {group.shape[0]}" for group in self.model.groups)
        saved = self.checkpoint.name if self.checkpoint else "no checkpoint"
        return f"Run({str(self.folder.path)!r}, {saved}, {groups})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise UserError("a Run cannot be copied or pickled; call dgn.load(path) again, in each process")

    @property
    def config(self) -> Config:
        """Every setting of the run."""
        return self.folder.config

    @functools.cached_property
    def sources(self) -> Sources:
        """The training and held-out samples. Raises UserError if the run was trained on other samples."""
        return self.open_sources()

    @devices.one_at_a_time
    def decode(self, *latents: np.ndarray) -> Decoded:
        """Decodes latents (Eq. 1); NumPy arrays in and out.

        latents: (N, d) for each group in the order of model.groups (appearance, geometry), or the tuple from `infer`.
        Each dimension has standard deviation 1 under the prior. In finished runs of image models trained by ABP the
        dimensions are principal axes, the largest effect first (dgn.inference.axes).
        Returns Decoded: image (N, C, H, W) in [0, 1] (with model.refine it may exceed this range); for a deformable
        model also appearance (N, C, H, W) in [0, 1], the face before the warp, and displacement (N, 2, H, W) in pixels:
        the image at (x, y) is the appearance at (x + dx, y + dy). Geometry 0 is the mean of the prior; its displacement
        is not zero. For clips axis 1 is the frame. matplotlib shows image.transpose(0, 2, 3, 1)[k]. Each new N up to
        100 is compiled once, which takes seconds. Raises UserError for latents of other shapes.
        """
        return decode(self.model, *checked_latents(self.model, latents))

    def sample(self, count: int, seed: int = 0, prior: str = "fitted", frames: int | None = None) -> Decoded:
        """Draws `count` latents and decodes them; returns Decoded, see `decode`.

        seed: random seed of the latents. prior: "fitted", a Gaussian fitted to the training latents
        (dgn.inference.fitted), or "prior", the standard normal prior. frames: of each clip (default: as in training).
        A model with labels cycles through its labels. Raises UserError for another prior or seed, and as draw_latents
        does.
        """
        if prior not in PRIORS:
            raise UserError(f"prior is {prior!r}; it must be one of {', '.join(PRIORS)}")
        fitted = self.fitted_prior if prior == "fitted" else None
        return self.decode(*draw_latents(self.model, count, generator(checked_seed(seed), "samples"), frames, fitted))

    @functools.cached_property
    def fitted_prior(self) -> FittedPrior:
        """The distribution of the training latents: stored at the end of the training, or fitted now."""
        stored = FittedPrior.load(self.folder.fitted_prior, self.checkpoint.name) if self.checkpoint else None
        return stored or FittedPrior.fit(self.model, self.bank, lambda chosen: self.sources.train.mask(chosen))

    def infer(self, images: np.ndarray | Source, steps: int | None = None, descent_steps: int = 0,
              seed: int | None = None, use_encoder: bool = True) -> AnyLatents:
        """Infers the latents of images by Langevin dynamics (Eq. 7) with fixed weights.

        The chains start at the latents of the encoder from `dgn encoder`, if there is one, else at the prior mean. A
        run trained as VAE or autoencoder returns its encoder's means without Langevin steps, unless use_encoder is
        False.

        images: (N, C, H, W) float32 in [0, 1], clips (N, F, C, H, W) with as many frames as the model has, or a Source
            (dgn.images), which also provides labels and the mask of shorter clips; few of its samples are in memory.
        steps: Langevin steps (default: evaluation.encoder_steps with that encoder, else evaluation.steps).
        descent_steps: further steps without noise, towards a mode. Both are rounded up to whole calls of the graph.
        seed: random seed of the noise (default: training.seed); the noise of an image depends only on the seed and the
            image's position in `images`.
        use_encoder: False starts at the prior mean.

        The recipe may change Eq. 7: the packaged `faces` runs underdamped steps (evaluation.momentum) with a
        preconditioner (inference.preconditioner) and falling step sizes (evaluation.step_factor); docs/design.md shows
        plain Eq. 7. Each new number of images up to 100 is compiled once, which takes seconds.
        Returns Latents (appearance, geometry), PlainLatents (z,) or MotionLatents (content, motion), arrays (N, d): a
        posterior sample, or with final steps without noise an approximate mode. Raises UserError for arrays of another
        shape or range, or for negative steps, RunFailed if a chain diverges; warns if the energy rose instead of
        falling.
        """
        return self._infer(images, self.chain_settings(steps, descent_steps, seed, use_encoder))

    def trajectory(self, images: np.ndarray | Source, steps: int, start: AnyLatents | None = None,
                   seed: int | None = None, descent_steps: int = 0) -> Trajectory:
        """`infer`, and returns the course of the chains; see Trajectory (latents, energy, gradient_norms). The last
        latents are those of `infer` with the same arguments.

        start: latents (N, d) of each group, where the chains start (default: as `infer`; in a run trained as VAE or
            autoencoder the prior mean). To continue a chain, give its last latents and another seed: the same seed
            repeats the noise, and the result is no sample of the posterior. Velocities start at 0, the step factors at
            the first; sigma is not annealed.

        Raises UserError as `infer` does, and if there are no steps.
        """
        chains = self.chain_settings(steps, descent_steps, seed, start is None and self.encoder is None)
        if not (chains.steps or descent_steps):
            raise UserError("steps is 0; a trajectory needs at least 1, or descent_steps")
        if start is not None:
            chains = replace(chains, sigma_factor=((0, chains.sigma_factor[-1][1]),))
        recorder = Recorder()
        self._infer(images, chains, start, recorder)
        return recorder.trajectory(self.model.latents_type)

    def _infer(self, images: np.ndarray | Source, chains: ChainSettings, start: AnyLatents | None = None,
               observe: unseen.Observer | None = None) -> AnyLatents:
        """`infer_batch` for an array or all samples of a Source. start: initial latents."""
        groups = self.model.groups
        if not isinstance(images, Source):
            if start is None and not all(group.sampled for group in groups):
                raise UserError("this model takes the label of an image as its appearance, and an array has no labels; "
                                "give the images of a set with labels (dgn.images)")
            return self.infer_batch(checked_images(images, self.model.sample_shape), chains, given=start,
                                    observe=observe)
        given = given_latents(groups, images) if start is None else checked_given(self.model, start, len(images))
        parts = [self.infer_batch(chunk.samples, replace(chains, first=chunk.first), chunk.mask, chunk.given,
                                  chunk.names, observe)
                 for chunk in unseen.chunks(self.model, images, given)]
        return self.model.latents_type(*map(np.concatenate, zip(*parts)))

    @devices.one_at_a_time
    def infer_batch(self, images: np.ndarray, chains: ChainSettings, mask: np.ndarray | None = None,
                    given: AnyLatents | unseen.Given | None = None, names: Sequence[str] | None = None,
                    observe: unseen.Observer | None = None) -> AnyLatents:
        """`infer` for arrays.

        chains: from chain_settings. mask: (N, F), 1 where a clip has the frame (default: everywhere). given: labels of
        groups that are not sampled, initial values of other groups: latents (N, d) of all groups, or a dictionary of
        some by name (z_app, z_geo). names: of the images, for messages. observe: see dgn.inference.unseen.infer.

        Calls with the same seed have the same noise: a chain that is continued from `given` needs another seed in
        every call (`trajectory`). Raises UserError as checked_mask and checked_given do.
        """
        mask = checked_mask(mask, images, self.model.frames > 0)
        given = checked_given(self.model, {} if given is None else given, len(images))
        groups, latents_type = self.model.groups, self.model.latents_type
        encoder = self.encoder if chains.start == "encoder" else self.chain_encoder
        if chains.start != "mean" and encoder is not None:
            encoded = unseen.encode(encoder, groups, images, given, padded=chains.first > 0)
            if chains.start == "encoder":
                return latents_type(*encoded)
            given = {**{group.name: z for group, z in zip(groups, encoded)}, **given}
        return latents_type(*unseen.infer(self.sampler, images, chains, mask, given, names=names, observe=observe))

    def chain_settings(self, steps: int | None = None, descent_steps: int = 0, seed: int | None = None,
                       use_encoder: bool = True) -> ChainSettings:
        """Settings of inference at the sigma of the last epoch, from the arguments of `infer`; both numbers of steps
        are rounded up to whole calls of the compiled graph.

        Raises UserError for steps or a seed that are negative or not integers.
        """
        start: unseen.Start = "mean"
        if use_encoder and (self.encoder is not None or self.chain_encoder is not None):
            start = "chain_encoder" if self.encoder is None else "encoder"
        evaluation = self.config.evaluation
        if steps is None:
            steps = evaluation.encoder_steps if start == "chain_encoder" else evaluation.steps
        for name, value in (("steps", steps), ("descent_steps", descent_steps)):
            if not isinstance(value, (int, np.integer)) or value < 0:
                raise UserError(f"{name} is {value}; it must be an integer, at least 0")
        steps, descent_steps = (unseen.graph_calls(self.sampler, count) * self.sampler.steps
                                for count in (steps, descent_steps))
        annealed = steps and start == "mean"
        sigma_factor = evaluation.sigma_factor if annealed else ((0, evaluation.sigma_factor[-1][1]),)
        seed = self.config.training.seed if seed is None else checked_seed(seed)
        return ChainSettings(steps, cfg.last_sigma(self.config), seed, descent_steps,
                             step_factor=evaluation.step_factor, sigma_factor=sigma_factor, start=start)

    def training_latents(self, descent_steps: int, indices: np.ndarray | None = None) -> AnyLatents:
        """Latents (n, d) of each group for the training samples at `indices` (default: all, in order): the chains after
        `descent_steps` further steps without noise, towards a mode. A run trained as VAE or autoencoder: its encoder's
        means."""
        source = self.sources.train if indices is None else Subset(self.sources.train, indices)
        if self.encoder is not None:
            return self.infer(source)
        start = self.bank.read(source.indices() if indices is None else np.asarray(indices))
        return self._infer(source, self.chain_settings(0, descent_steps, use_encoder=False), start)

    @devices.one_at_a_time
    def energy(self, images: np.ndarray, latents: Arrays, mask: np.ndarray | None = None) -> np.ndarray:
        """E(x, z) of Eq. 8 at the sigma of the last epoch, (N,); with inference.smoothness plus its penalty.

        images: arrays as for `infer`; latents: (N, d) of each group, as `infer` returns them; mask: (N, F), 1 where a
        clip has the frame. Raises UserError for arrays of another shape or range, or if the numbers of latents and
        images differ.
        """
        return self._total_energy(*self._energy_inputs(images, latents, mask)).asnumpy()

    @devices.one_at_a_time
    def energy_gradient(self, images: np.ndarray, latents: Arrays, mask: np.ndarray | None = None) -> AnyLatents:
        """The gradient of `energy` with respect to the latents, (N, d) of each group, named as those of `infer`. The
        arguments are those of `energy`."""
        gradients = self._energy_gradient(*self._energy_inputs(images, latents, mask))
        return self.model.latents_type(*as_arrays(gradients))

    def _energy_inputs(self, images: np.ndarray, latents: Arrays, mask: np.ndarray | None) -> tuple[ms.Tensor, ...]:
        """The inputs of TotalEnergy, checked."""
        images, arrays = checked_images(images, self.model.sample_shape), checked_latents(self.model, latents)
        if len(arrays[0]) != len(images):
            raise UserError(f"there are {len(images)} images, but latents of {len(arrays[0])}; each image needs one "
                            f"(z.rows(slice({len(images)})) are the first of z; z[:n] are groups, not samples)")
        sigma = ms.Tensor(cfg.last_sigma(self.config), ms.float32)
        mask = mask_or_ones(len(images), checked_mask(mask, images, self.model.frames > 0))
        return ms.Tensor(images), ms.Tensor(mask), sigma, *as_tensors(arrays)

    @functools.cached_property
    def _total_energy(self) -> TotalEnergy:
        """Cached, because a new Cell would be compiled again."""
        return TotalEnergy(self.sampler.energy)

    @functools.cached_property
    def _energy_gradient(self) -> EnergyGradient:
        return EnergyGradient(self.sampler.energy)


def load(path: str | Path, device: str = "auto", data: str | Path | None = None) -> Run:
    """Opens a run folder, or a packaged model by its name (faces): builds its model and sampler and restores their
    weights.

    device: Ascend, GPU, CPU, or auto, the first of these that is available. MindSpore is set to graph mode. data: new
    location of the run's images, if they were moved. Raises UserError if the folder has no valid checkpoint.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UserError(f"the run is {path!r}; it must be the path of a run folder, or the name of a packaged model, "
                        "such as 'faces'")
    devices.start(device)
    return open_run(expanded(path), data=data)


def images(path: str | Path | np.ndarray, like: Run, format: str | None = None, corrupt: str = "error") -> Source:
    """The images (or clips) at `path`, cropped and resized like the images of a run.

    path: a folder, MindRecord file or official set; or an array of images (N, H, W) or (N, H, W, 3), uint8. like: the
    run. format: file format of clips, "videos", "frames" or "strips" (default: data.format of the run). corrupt:
    "error", or "skip" to leave out files that cannot be read. `source[:n]` returns the first n as (n, C, H, W) float32
    in [0, 1], `source.names` the names of all. Raises UserError if there is nothing to read.
    """
    check_opened(like)
    data = like.config.data
    if isinstance(path, np.ndarray):
        if data.frames:
            raise UserError(f"{like.folder.path} is a run on clips; give a folder of clips")
        return ArrayImages(path, cut_of(data))
    if not isinstance(path, (str, Path)):
        raise UserError(f"images are {type(path).__name__}; they must be the path of a folder, or an array of images "
                        "(N, H, W) or (N, H, W, 3), uint8")
    if format is not None and not data.frames:
        raise UserError(f"format {format} is for runs on clips; this run is on images")
    return open_new_images(replace(data, format=format or data.format), str(expanded(path)), corrupt)


def open_run(path: Path, sources: Sources | None = None, data: str | Path | None = None,
             saved: Path | None = None) -> Run:
    """`load` on the device in use. sources: samples of the run, if they are open already. saved: its newest valid
    checkpoint, if it was verified already."""
    folder = packaged.open_folder(path)
    config = folder.config = recipe.relocated(folder.config, data)
    devices.start(settings=config.numerics)
    saved = saved or checkpoint.newest_valid(folder.checkpoints)
    model = make_model(config)
    encoder = make_encoder(config, model) if config.training.method != "abp" else None
    sampler = make_inference_sampler(make_energy(model, config), config)
    restore.load_model(saved, model)
    restore.load_preconditioner(saved, sampler.preconditioner, config)
    if encoder is not None:
        parameters.load(saved, {"encoder": encoder})
    state = checkpoint.read_state(saved, "images", "epoch")
    trained_on, epochs = state["images"], config.training.epochs
    if state["epoch"] < epochs:
        log.warning("%s is not finished: %d of %d epochs; its dimensions are not principal axes yet, and inference "
                    "uses the sigma of the last epoch, %g", path, state["epoch"], epochs, cfg.last_sigma(config))

    def open_them() -> Sources:
        opened = sources or restore.recorded_sources(folder, config)
        if not same_samples(opened.train, trained_on):
            where = f"{config.data.path} holds now" if config.data.path else "are generated now"
            raise UserError(f"{path} was trained on other images than {where}: some were added, removed or renamed, "
                            "or this version orders them differently, and its chains would be matched to wrong "
                            "images; restore them, or train a new run")
        return opened
    bank = LatentBank.open(saved, model.groups, rotations=restore.read_axes(saved))
    return Run(folder, saved, model, sampler, encoder, bank, open_them, load_chain_encoder(folder, model, saved))
