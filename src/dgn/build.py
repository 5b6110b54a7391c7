"""From a config to the objects that it describes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Optional, Tuple

import numpy as np
from mindspore import nn

from dgn import config as cfg
from dgn.data.source import Source, Subset, one_hot
from dgn.errors import UserError
from dgn.inference import unseen
from dgn.inference.energy import Energy
from dgn.inference.langevin import Langevin
from dgn.inference.langevin import run as run_sampler
from dgn.inference.latents import LatentBank, remove_others
from dgn.nets.deformable import DeformableGenerator
from dgn.nets.discriminator import Discriminator
from dgn.nets.dynamic import DynamicGenerator
from dgn.nets.encoder import Encoder
from dgn.nets.model import Decoded, decode
from dgn.nets.plain import PlainGenerator
from dgn.nets.stack import NETWORKS
from dgn.randomness import generator
from dgn.ranks import Ranks
from dgn.run_folder import RunFolder
from dgn.step import Learning, Step, adam
from dgn.training import checkpoint
from dgn.training.abp import AlternatingBackPropagation, learning_step
from dgn.training.adversarial import Actor, Adversarial, Critic
from dgn.training.loop import Learner
from dgn.training.method import Method
from dgn.training.vae import Variational, elbo_step


class Sources(NamedTuple):
    """The images of a run."""

    train: Source
    held_out: Optional[Source]  # never seen in training


def make_sources(data: cfg.Data) -> Sources:
    """Training and held-out images of a config. Raises UserError if there are too few."""
    if data.path is not None:
        return split(open_images(data, data.path), data)
    if data.frames:
        from dgn.data.face_clips import CLIPS
        return split(make_clips(data, (data.limit or CLIPS) + data.held_out), data)
    return split(make_faces(data, (data.limit or 1000) + data.held_out), data)


def make_faces(data: cfg.Data, count: int, seed: Optional[int] = None):
    """`count` generated faces of the config's population; of another seed they are other people."""
    from dgn.data.faces import FaceSource
    return FaceSource(count, data.size, data.seed if seed is None else seed, grey=data.grey, population=data.population)


def make_clips(data: cfg.Data, count: int, seed: Optional[int] = None):
    """`count` generated clips; of another seed they are of other people."""
    from dgn.data.face_clips import FaceClips
    return FaceClips(count, data.frames, data.size, data.seed if seed is None else seed, data.grey)


def open_images(data: cfg.Data, path: str) -> Source:
    """All images of a folder, MindRecord file or official set, or all clips of a folder, cut as the config says."""
    if data.frames:
        from dgn.data.clips import ClipFolder
        return ClipFolder(path, data.format, data.frames, data.size, data.crop, data.grey, data.resample, data.corrupt, data.cache_mb,
                          pattern=data.files)
    packed = path.endswith(".mindrecord")
    if data.files is not None and (packed or data.format != "images"):
        raise UserError(f"data.files chooses among the files of a folder, and {path} is none")
    if data.format == "images" and (data.category is not None or data.part != "all"):
        raise UserError("data.category and data.part are for data.format mnist and cifar10")
    if data.format != "images":
        from dgn.data import formats
        return formats.open_set(data.format, path, data.part, data.category, data.size, data.grey)
    if packed:
        from dgn.data.records import RecordImages
        records, wanted = RecordImages(path), (1 if data.grey else 3, data.size, data.size)
        if records.shape != wanted:
            raise UserError(f"{path} holds images of {records.shape} (channels, height, width), the config asks for {wanted}; "
                            "pack them anew, or change data.size and data.grey")
        return records
    from dgn.data.images import ImageFolder
    return ImageFolder(path, data.size, data.crop, data.grey, pattern=data.files, corrupt=data.corrupt, cache_mb=data.cache_mb)


def split(whole: Source, data: cfg.Data) -> Sources:
    """The last `held_out` samples to evaluate on, the first `limit` of the others to train on. Where the source knows whom its
    images show, training images of the people held out are left out: unseen faces are faces of unseen people."""
    free = len(whole) - data.held_out
    if free < 1:
        raise UserError(f"{len(whole)} images with data.held_out = {data.held_out} leave none to train on")
    indices, people = np.arange(free), getattr(whole, "people", lambda: None)()
    if people is not None:
        held_out = set(people[free:])
        indices = np.array([index for index in indices if people[index] not in held_out], int)
        if not len(indices):
            raise UserError(f"data.held_out = {data.held_out}: the people held out are in all other images too, so none are left to train on")
    train = Subset(whole, indices[:data.limit])
    return Sources(train, Subset(whole, np.arange(free, len(whole))) if data.held_out else None)


def make_model(config: cfg.Config, device: str) -> nn.Cell:
    """The generator of a config, with its initial weights; the frozen part of it takes no gradient."""
    data, seed = config.data, config.training.seed
    channels = 1 if data.grey else 3
    if data.frames:
        model = DynamicGenerator(config.model, channels, data.size, data.frames, seed, device)
    else:
        kind = {"deformable": DeformableGenerator, "plain": PlainGenerator}[config.model.kind]
        model = kind(config.model, channels, data.size, seed, device)
    for name, branch in zip(model.branch_names, model.branches):
        if name == config.training.frozen:
            for parameter in branch.get_parameters():
                parameter.requires_grad = False
    return model


def make_energy(model: nn.Cell, config: cfg.Config) -> Energy:
    """The energy of a model under a config."""
    return Energy(model, config.inference.smoothness if config.model.kind == "deformable" else 0.0, clips=config.data.frames > 0)


def make_sampler(energy: Energy, config: cfg.Config, steps: Optional[int] = None) -> Langevin:
    """The sampler of a config; steps: of its compiled graph, if not as many as the config compiles."""
    given = config.inference
    return Langevin(energy, given.step_size, steps or given.compiled or given.steps, given.order, given.per_frame)


def make_method(config: cfg.Config, model: nn.Cell, device: str, ranks: Ranks = Ranks()) -> Method:
    """The learning method of a config for a model."""
    energy, training = make_energy(model, config), config.training
    sampler = make_sampler(energy, config)
    if training.method == "vae":
        plan = NETWORKS[config.model.network][0](config.model.width, model.size, model.channels, config.model.narrowest)
        encoder = Encoder(model.groups, plan, model.channels, training.seed)
        step = elbo_step(energy, encoder, training.adam_beta1, training.adam_beta2, ranks)
        return Variational(sampler, Learning(step, training.parts))
    if training.adversarial != "none":
        return _adversarial(config, sampler, device, ranks)
    step = learning_step(energy, training.adam_beta1, training.adam_beta2, ranks)
    return AlternatingBackPropagation(sampler, Learning(step, training.parts), config.inference.steps)


def make_critic(config: cfg.Config, model: nn.Cell, device: str) -> Discriminator:
    """The critic of a model's images, with its initial weights."""
    training = config.training
    return Discriminator(model.channels, model.size, training.critic_width, training.seed, config.model.deconv, device)


def _adversarial(config: cfg.Config, sampler: Langevin, device: str, ranks: Ranks) -> Adversarial:
    """Eq. 22: the critic, and the steps of both."""
    energy, training = sampler.energy, config.training
    critic = make_critic(config, energy.model, device)
    betas = training.adam_beta1, training.adam_beta2
    acting, judging = adam(energy.model.trainable_params(), *betas), adam(critic.trainable_params(), *betas)
    actor = Step(Actor(energy, critic, training.likelihood_weight, training.adversarial), acting, ranks.reducer(acting.parameters))
    reducer = ranks.reducer(judging.parameters)
    strict = Step(Critic(critic, training.r1_weight * training.r1_every), judging, reducer)
    calm = Step(Critic(critic, 0.0), judging, reducer) if training.r1_every > 1 else None
    actor, strict, calm = (step and Learning(step, training.parts) for step in (actor, strict, calm))
    return Adversarial(sampler, actor, strict, calm, config.inference.steps, training.r1_every)


def make_learner(config: cfg.Config, device: str, folder: RunFolder, source: Source, saved: Optional[Path],
                 ranks: Ranks = Ranks()) -> Learner:
    """All that a training moves, new or as the checkpoint `saved` has it; each of several processes makes the files of its own
    chains.

    Raises UserError if the checkpoint, or the run to start from, is of another model or of other images.
    """
    counts = ranks.values([len(source)])[:, 0]
    if counts.min() != counts.max():
        raise UserError(f"one process finds {counts.min():.0f} samples and another {counts.max():.0f}; all hosts must see the same data")
    model = make_model(config, device)
    method = make_method(config, model, device, ranks)
    if saved is None:
        if config.training.start:
            start_from(*start_of(config), config.training.start_with, model, method)
        own = np.arange(ranks.rank, len(source), ranks.count)
        bank = LatentBank.create(folder.latents, model.groups, len(source), config.training.seed, given_latents(model, source, own),
                                 ranks.rank, ranks.count)
        if config.inference.begin == "mean":
            bank.restart(model.groups)
    else:
        checkpoint.load(saved, method.cells)
        bank = checkpoint.restore_bank(saved, folder.latents, model.groups, ranks)
        if ranks.first and (len(bank) != len(source) or checkpoint.read_state(saved)["images"] != source.identity()):
            raise UserError(f"{saved} holds chains of {len(bank)} images, and these are {len(source)}, or others, or in another order; "
                            "resume with the same images")
    ranks.wait()
    if ranks.first:
        remove_others(folder.latents, model.groups, ranks.count)
    return Learner(model, method, bank, source, lambda number: make_model(reseeded(config, number), device), ranks)


def reseeded(config: cfg.Config, number: int) -> cfg.Config:
    """The config with the seed of a renewal: a function of the run's own and its number."""
    return cfg.changed(config, training={"seed": int(generator(config.training.seed, "renewal", number).integers(2 ** 31))})


def start_of(config: cfg.Config) -> Tuple[RunFolder, Path]:
    """The run that training.start names, and its newest checkpoint. Raises UserError if there is none."""
    run = RunFolder.open(Path(config.training.start))
    return run, checkpoint.newest_whole(run.checkpoints)


def start_from(run: RunFolder, first: Path, part: str, model: nn.Cell, method: Method) -> None:
    """Initial weights from a checkpoint of another run: all of them, or those of one generator. A model of clips may begin with what a
    model of images has learned: its frames are made by the same generators, and its transitions are new."""
    of_images = hasattr(model, "frames") and not run.config.data.frames
    if part != "all" or of_images:
        places = [f"branches.{k}." for k, name in enumerate(model.branch_names) if part in ("all", name)]
        renamed = {place: place + "emission." * of_images for place in places}
        if part == "all" and model.refine is not None:
            renamed["refine."] = "refine."
        checkpoint.load(first, {"weights": model}, True, renamed)
    else:  # of a critic that the other run has not had, the initial weights stay
        checkpoint.load(first, {name: cell for name, cell in learned(method.cells).items() if name == "weights" or
                                (first / f"{name}.ckpt").is_file()}, spread_channels=True)


def learned(cells: Dict[str, nn.Cell]) -> Dict[str, nn.Cell]:
    """The networks among a method's cells: not the state of its optimisers, nor counters."""
    return {name: cell for name, cell in cells.items() if not name.endswith("optimizer") and name != "visits"}


def given_latents(model: nn.Cell, source: Source, indices: Optional[np.ndarray] = None) -> Dict[str, np.ndarray]:
    """Latents that come with the data, (n, *shape) for each group that is not sampled: one-hot labels of the samples at
    `indices` (default: all).

    Raises UserError if the images have no labels, or more kinds than the latents have dimensions.
    """
    given = {}
    for group in model.groups:
        if not group.sampled:
            labels = getattr(source, "labels", lambda indices: None)(np.arange(len(source)) if indices is None else indices)
            if labels is None:
                raise UserError("model.appearance is label, but these images have no labels; data.format mnist and cifar10 have them")
            given[group.name] = one_hot(labels, group.shape[0])
    return given


class Trained(NamedTuple):
    """A run as its newest whole checkpoint has it, for evaluation, figures and inference."""

    folder: RunFolder
    checkpoint: Path
    model: nn.Cell
    sampler: Langevin
    encoder: Optional[nn.Cell]  # of a run that was learned by VAE
    bank: LatentBank  # the latents of the training images, read-only
    open_sources: Callable[[], Sources]  # not opened before they are needed: inference on new images does without

    @property
    def config(self) -> cfg.Config:
        return self.folder.config

    @property
    def last_sigma(self) -> float:
        """Sigma of the last epoch."""
        return cfg.last_sigma(self.config)

    @property
    def decode(self) -> Callable[..., Decoded]:
        """The model as a function of NumPy latents."""
        return functools.partial(decode, self.model)

    def infer(self, images: np.ndarray, steps: Optional[int] = None, given: Optional[Dict[str, np.ndarray]] = None,
              first: int = 0, by_langevin: bool = False, seed: Optional[int] = None, settle: int = 0) -> Tuple[np.ndarray, ...]:
        """Latents of images (N, C, H, W), by the encoder if the run has one, else by `steps` Langevin steps (default: the
        config's); by_langevin: even if it has one. seed: of the noise (default: the config's); the rest: see
        dgn.inference.unseen."""
        if self.encoder is not None and not by_langevin:
            return unseen.encode(self.encoder, self.model.groups, images, given)
        return unseen.infer(self.sampler, images, steps or self.config.evaluation.steps, self.last_sigma,
                            self.config.training.seed if seed is None else seed, first, given, settle)

    def settled(self, images: np.ndarray, steps: int) -> Tuple[np.ndarray, ...]:
        """Latents of the training images, all of them in their order: where their chains are after `steps` more steps without
        noise, near a mode of the posterior. Of a run that was learned by VAE, the encoder's means."""
        if self.encoder is not None:
            return self.infer(images)
        chains = dict(zip((group.name for group in self.model.groups), self.bank.read(np.arange(len(images)))))
        return unseen.infer(self.sampler, images, 0, self.last_sigma, self.config.training.seed, given=chains, settle=steps)

    def energy(self, images: np.ndarray, latents: Tuple[np.ndarray, ...]) -> np.ndarray:
        """E(x, z) of Eq. 8 at the last sigma, (N,)."""
        noise = tuple(np.zeros((self.sampler.steps, *z.shape), np.float32) for z in latents)
        return run_sampler(self.sampler, images, latents, noise, self.last_sigma)[1].energy[0]


def load_run(path: Path, device: str, sources: Optional[Sources] = None) -> Trained:
    """Opens a run folder; sources: its images, if they are open already. Raises UserError if it holds no whole checkpoint; to open
    its sources raises it where they are others than those that were learned."""
    folder = RunFolder.open(path)
    config = folder.config
    saved = checkpoint.newest_whole(folder.checkpoints)
    model = make_model(config, device)
    method = make_method(config, model, device)
    checkpoint.load(saved, learned(method.cells))

    learned_from = checkpoint.read_state(saved)["images"]

    @functools.lru_cache(maxsize=None)
    def open_sources() -> Sources:
        found = sources or make_sources(config.data)
        if found.train.identity() != learned_from:
            where = f"{config.data.path} holds now" if config.data.path else "are generated now"
            raise UserError(f"{path} has learned from other images than {where}: some were added, removed or renamed, or this version puts "
                            "them in another order, and its chains would be taken for those of other images; put them back, or train anew")
        return found
    return Trained(folder, saved, model, method.sampler, method.encoder, LatentBank.open(saved, model.groups), open_sources)
