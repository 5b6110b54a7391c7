"""Builds the trainer that a config describes, and the state of a training: new, or from a checkpoint."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mindspore import nn

from dgn import provenance, recipe
from dgn.config import OFF, Config
from dgn.data.source import Source, same_samples
from dgn.distributed import ProcessGroup
from dgn.errors import UserError
from dgn.files import sha256
from dgn.inference.decorrelation import Decorrelation
from dgn.inference.energy import make_energy
from dgn.inference.langevin import make_sampler
from dgn.inference.latents import LatentBank, given_latents, remove_other_shards
from dgn.nets.build import make_critics, make_encoder, make_model
from dgn.nets.model import Model
from dgn.run_folder import RunFolder
from dgn.training import checkpoint, parameters, restore
from dgn.training.abp import AlternatingBackPropagation, GeneratorLoss
from dgn.training.adversarial import NETWORKS, ActorLoss, Adversarial, CriticLosses
from dgn.training.optim import TrainStep, adam
from dgn.training.trainer import Trainer
from dgn.training.vae import AutoEncoder, NegativeElbo


class TrainingState(NamedTuple):
    """Everything that an epoch changes, and the data."""

    trainer: Trainer
    bank: LatentBank  # the chains of `source`, by sample index
    source: Source
    processes: ProcessGroup


def make_trainer(config: Config, model: Model, processes: ProcessGroup = ProcessGroup()) -> Trainer:
    """The training method of a config for a model."""
    training, energy = config.training, make_energy(model, config)
    sampler = make_sampler(energy, config)

    def optimizer(*cells: nn.Cell) -> nn.Optimizer:
        weights = [weight for cell in cells for weight in cell.trainable_params()]
        return adam(weights, training.adam_beta1, training.adam_beta2)

    def step(objective: nn.Cell, optimizer: nn.Optimizer) -> TrainStep:
        return TrainStep(objective, optimizer, processes.gradient_reducer(), training.micro_batches)

    if training.method != "abp":
        encoder = make_encoder(config, model)
        return AutoEncoder(sampler, step(NegativeElbo(energy, encoder, training.method == "vae"),
                                         optimizer(model, encoder)))
    if training.adversarial == "none":
        objective = GeneratorLoss(energy, training.mean_displacement_weight)
        decorrelation = (Decorrelation(config.model.z_app, config.model.z_geo)
                         if config.inference.decorrelation != OFF else None)
        return AlternatingBackPropagation(sampler, step(objective, optimizer(model)), config.inference.steps,
                                          decorrelation)
    critics, interval = make_critics(config, model), training.r1_interval
    of_actor, of_critics = optimizer(model), optimizer(*critics)
    return Adversarial(
        sampler, step(ActorLoss(energy, critics, training.likelihood_weight, training.adversarial), of_actor),
        step(CriticLosses(critics, training.r1_weight * interval), of_critics),
        step(CriticLosses(critics, 0.0), of_critics) if interval > 1 else None, config.inference.steps, interval)


def make_state(config: Config, folder: RunFolder, source: Source, saved: Path | None,
               processes: ProcessGroup = ProcessGroup()) -> TrainingState:
    """The state of a new training, or the state in the checkpoint `saved`; every process creates the files of its
    chains.

    Raises UserError if the checkpoint, or the run of training.init_from, has another model or other images, or if the
    processes differ in config, data or versions.
    """
    if processes.size > 1:
        initial = initial_digest(config) if config.training.init_from and saved is None else ""
        check_alike(config, source, initial, processes)
    model = make_model(config)
    trainer = make_trainer(config, model, processes)
    if saved is None:
        if config.training.init_from:
            init_from(*initial_run(config), trainer)
        bank = initial_chains(config, folder, source, model, processes)
    else:
        check_version(config, saved)
        parameters.load(saved, {**trainer.networks, **trainer.optimizers})
        bank = restored_chains(folder, source, saved, model, processes)
        preconditioner = trainer.sampler.preconditioner
        if preconditioner is not None:
            preconditioner.recover_curvatures(restore.read_sigmas(saved, preconditioner, folder.config))
    processes.barrier()
    if processes.is_first:
        remove_other_shards(folder.latents, model.groups, processes.size)
    return TrainingState(trainer, bank, source, processes)


def check_alike(config: Config, source: Source, initial: str, processes: ProcessGroup) -> None:
    """Raises UserError in every process unless all have the same config, samples and versions; the message names the
    processes and what differs. Paths in the config may differ between hosts. A collective.

    initial: digest of the initial weights.
    """
    settings = recipe.to_dict(config)
    settings["data"]["path"] = settings["training"]["init_from"] = None
    data, versions = f"{len(source)} samples ({source.identity()})", provenance.software()
    texts = {"config": json.dumps([settings, initial]), "data": data, "versions": versions}
    digests = [hashlib.sha256(text.encode()).digest() for text in texts.values()]
    size, gathered, different = len(digests[0]), processes.all_gather(b"".join(digests)), []
    for k, name in enumerate(texts):
        of_each = [digest[k * size:(k + 1) * size] for digest in gathered]
        ranks = [str(rank) for rank, digest in enumerate(of_each) if digest != of_each[0]]
        if ranks:
            different.append(f"different {name} in process{'es' if len(ranks) > 1 else ''} {', '.join(ranks)}")
    if different:
        raise UserError(f"not all processes are like process 0: {'; '.join(different)}. This is process "
                        f"{processes.rank}, with {data}, {versions}. All hosts need the same recipe, options, "
                        "files and versions")


def initial_chains(config: Config, folder: RunFolder, source: Source, model: Model,
                   processes: ProcessGroup) -> LatentBank:
    """Creates the chains of a new training."""
    indices = np.arange(processes.rank, len(source), processes.size)
    bank = LatentBank.create(folder.latents, model.groups, len(source), config.training.seed,
                             given_latents(model.groups, source, indices), processes.rank, processes.size)
    if config.inference.chain_init == "mean":
        bank.restart(model.groups)
    return bank


def check_version(config: Config, saved: Path) -> None:
    """Raises UserError if the critic of a checkpoint was trained with R1 with respect to images in [0, 1], which is
    four times the present R1."""
    training, run = config.training, saved.parent.parent
    version = checkpoint.read_state(saved).get("version", 1)
    if not isinstance(version, int):
        raise checkpoint.malformed(saved, f"version is {version!r}")
    if training.adversarial != "none" and training.r1_weight and version < 2:
        raise UserError(f"{run} was written by dgn before 0.2.0, where R1 was with respect to images in [0, 1], not in "
                        f"[-1, 1]; a new run with training.init_from={run} and training.r1_weight="
                        f"{4 * training.r1_weight:g} continues it with the same penalty")


def restored_chains(folder: RunFolder, source: Source, saved: Path, model: Model,
                    processes: ProcessGroup) -> LatentBank:
    """The chains of a checkpoint. Raises UserError if they are of other images."""
    bank = restore.restore_bank(saved, folder.latents, model.groups, processes)
    recorded = checkpoint.read_state(saved, "images")["images"]
    if processes.is_first and (len(bank) != len(source) or not same_samples(source, recorded)):
        raise UserError(f"{saved} holds the chains of {len(bank)} images, but the data are {len(source)} images, or "
                        "different ones, or in another order; resume with the images of the original training")
    return bank


def initial_run(config: Config) -> tuple[RunFolder, Path]:
    """The run that training.init_from names, and its newest checkpoint. Raises UserError if there is none."""
    path = Path(config.training.init_from or "")
    if not RunFolder.is_run(path):
        raise UserError(f"training.init_from is {path}, which holds no run (no config.yaml); it cannot be a "
                        "packaged model. Train that run first, or start with new weights: --set "
                        "training.init_from=null")
    run = RunFolder.open(path)
    return run, checkpoint.newest_valid(run.checkpoints)


def initial_digest(config: Config) -> str:
    """A digest of the checkpoint that training.init_from names."""
    return sha256(initial_run(config)[1] / checkpoint.MANIFEST)


def init_from(folder: RunFolder, saved: Path, trainer: Trainer) -> None:
    """Loads initial weights from a checkpoint of another run. A model of clips may start from a model of images; a
    critic that the other run does not have keeps its initial weights."""
    model = trainer.model
    parameters.load(saved, {"weights": model}, parameters.Conversion(model.names_from(folder.config.data.frames),
                                                                     model.image_channels))
    others = {name: cell for name, cell in trainer.networks.items()
              if name in ("encoder", *NETWORKS) and (saved / f"{name}.ckpt").is_file()}
    parameters.load(saved, others, parameters.Conversion())
