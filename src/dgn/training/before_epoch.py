"""What changes before an epoch: values that follow a schedule, reinitialized weights, restarted chains, and estimates
from the chains (preconditioner, decorrelation)."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, ops

from dgn import config as cfg
from dgn.config import Config
from dgn.distributed import ProcessGroup
from dgn.indices import evenly_spaced
from dgn.inference import decorrelation, preconditioner
from dgn.inference.preconditioner import group_sigmas
from dgn.nets.build import make_model
from dgn.randomness import generator
from dgn.training.build import TrainingState
from dgn.training.optim import reset_adam


def prepare_epoch(config: Config, state: TrainingState, epoch: int, resumed: bool) -> None:
    """Prepares a training for an epoch. resumed: whether some of its batches are done: chains and appearance are then
    kept, and the decorrelation is that of the checkpoint."""
    trainer, inference = state.trainer, config.inference
    set_smoothness(state, cfg.value_at(inference.smoothness, epoch))
    if trainer.sampler.sigma_factors is not None:
        g = trainer.model.branch_names.index("appearance")
        trainer.sampler.set_sigma_factor(g, cfg.value_at(inference.sigma_app, epoch))
    if not resumed:
        if epoch in config.training.reinit_appearance:
            _reinit_appearance(config, state, epoch)
        if epoch and inference.restart_every and epoch % inference.restart_every == 0:
            state.bank.restart(trainer.model.groups)
        if trainer.decorrelation is not None:
            samples = evenly_spaced(len(state.source), decorrelation.SAMPLES)
            moments = _all_sum(state.processes, decorrelation.moments(*_owned_latents(state, samples)))
            trainer.decorrelation.update(moments, cfg.value_at(inference.decorrelation, epoch))
    _fit_preconditioner(config, state, epoch, resumed)


def set_smoothness(state: TrainingState, weight: float) -> None:
    """Sets the weight of the smoothness, if the energy has one."""
    energy = state.trainer.sampler.energy
    if energy.smooth:
        energy.set_smoothness(weight)


def _reinit_appearance(config: Config, state: TrainingState, epoch: int) -> None:
    """Gives the appearance generator new initial weights, which depend on the run's seed and the epoch (compiled graphs
    see the change), restarts the chains of the appearance at the prior mean, and resets the optimizer (beyond the
    paper; 5.7).

    Early in training both generators compete for variation that each of them could explain, such as a turned head, and
    they keep what they explain first. If the appearance is reinitialized later, the trained geometry explains more of
    this variation.
    """
    model = state.trainer.model
    seed = int(generator(config.training.seed, "renewal", epoch).integers(2 ** 31))
    initial = make_model(cfg.changed(config, training={"seed": seed}))
    g = model.branch_names.index("appearance")
    weights = dict(initial.branches[g].parameters_and_names())
    for name, parameter in model.branches[g].parameters_and_names():
        ops.assign(parameter, Tensor(weights[name].asnumpy()))
    state.bank.restart([model.groups[g]])
    reset_adam(state.trainer.optimizers["optimizer"])


def _fit_preconditioner(config: Config, state: TrainingState, epoch: int, resumed: bool) -> None:
    """Re-estimates the preconditioner, if there is one, from the present weights, and the chains of evenly spaced
    samples of all processes.

    This happens at the start of each of the first EARLY epochs, of every EARLY-th later epoch, and of epochs that
    reinitialize the appearance generator; and whenever sigma differs from the sigma of the last estimate.
    """
    target = state.trainer.sampler.preconditioner
    if target is None:
        return
    sigmas = group_sigmas(config.inference, target.names, epoch)
    due = not resumed and (epoch < preconditioner.EARLY or epoch % preconditioner.EARLY == 0
                           or epoch in config.training.reinit_appearance)
    if not due and target.sigmas == tuple(sigmas):
        return
    samples = evenly_spaced(len(state.source), preconditioner.SAMPLES)
    sums = preconditioner.curvatures(state.trainer.model, _owned_latents(state, samples))
    target.update([_all_sum(state.processes, total) / len(samples) for total in sums], sigmas)


def _owned_latents(state: TrainingState, indices: np.ndarray) -> tuple[np.ndarray, ...]:
    """The latents of the samples at `indices` whose chains this process owns."""
    return state.bank.read(indices[indices % state.processes.size == state.processes.rank])


def _all_sum(processes: ProcessGroup, array: np.ndarray) -> np.ndarray:
    """The sum of the arrays of all processes."""
    return processes.all_sum(array.ravel()).reshape(array.shape)
