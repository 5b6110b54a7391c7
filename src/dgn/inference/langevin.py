"""Langevin dynamics on the latents, Eq. 7 (and 16): z <- z - delta^2 / 2 dE/dz + delta noise, one group after the
other.

With momentum (beyond the paper) the dynamics are underdamped: each chain has a velocity v, and a step is

  v <- v - delta dE/dz,    u <- momentum v + sqrt(1 - momentum^2) noise,    z <- z + delta / 2 (v + u),    v <- u

with momentum = exp(-friction delta) and unit mass. This is the BAOAB splitting (Leimkuhler and Matthews 2013); the
second half kick of each step and the first half kick of the next step are merged. Directions in which the energy is
flat relax in fewer steps. A preconditioner multiplies gradient and noise.

No step has a Metropolis test. So Eq. 7 samples the posterior up to an error of O(delta^2). The splitting has no error
if the posterior is Gaussian, at every stable step size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from dgn.config import NO_FACTOR, Config
from dgn.inference.energy import Energy, data_term
from dgn.inference.preconditioner import Preconditioner
from dgn.nets.model import Arrays, Tensors


@dataclass(frozen=True)
class Options:
    """Variants of Langevin dynamics.

    order: "alternating" (the paper): each group is updated with the newest values of the others; "simultaneous" (the
        authors' code): all groups are updated from the same state.
    scale_by_frames: the step size of a clip's latent is divided by the square root of the number of frames that it
        affects, because the energy's curvature grows with that number; the stationary distribution is unchanged.
    preconditioned: gradients and noise are multiplied by the matrices of dgn.inference.preconditioner.
    momentum: fraction of the velocity kept per step, 0 <= momentum < 1 (underdamped dynamics; all groups are updated
        simultaneously); 0: Eq. 7.
    variable_sigma, variable_step: whether Langevin.set_sigma_factor and Langevin.set_step_factor can be used.
    """

    order: str = "alternating"
    scale_by_frames: bool = False
    preconditioned: bool = False
    momentum: float = 0.0
    variable_sigma: bool = False
    variable_step: bool = False


class ImageOfGroup(nn.Cell):
    """The image, and the smoothness energy (N,) if it depends on this group, as a function of one group's latents; the
    outputs of the other branches are inputs.

    GradOperation gives its vector-Jacobian product with the data term's gradient with respect to the image
    (Energy.image_gradient; MindSpore calls this vector the sensitivity). So an image that was decoded for the recorded
    energy is not decoded again, nor are the other branches.
    """

    def __init__(self, energy: Energy, g: int) -> None:
        super().__init__()
        self.energy, self.branch, self.g, self.smooth = energy, energy.model.branches[g], g, is_smoothed(energy, g)

    def construct(self, z: Tensor, mask: Tensor, *outputs: Tensor):
        outputs = outputs[:self.g] + (self.branch(z),) + outputs[self.g + 1:]
        image = self.energy.model.compose(outputs)
        return (image, self.energy.smoothness_energy(mask, outputs)) if self.smooth else image


def is_smoothed(energy: Energy, g: int) -> bool:
    """Whether the smoothness depends on group g: only on the group of the displacement."""
    return energy.smooth and energy.model.branch_names[g] == "geometry"


class LangevinStep(nn.Cell):
    """Base class: one Langevin step over all sampled groups, alternating or simultaneous.

    sampled: indices of the groups that are updated. alternating: each group is updated with the newest values of the
    others. A subclass defines for group g with latents z, where `data` are the last arguments of `step`:
      run_branch(g, z)                                              the output of the branch
      gradient_of(g, z, outputs, *data)                             dE/dz
      update(g, z, gradient, noise, *data)                          the new latents (Eq. 7)
      update_with_velocity(g, z, velocity, gradient, noise, *data)  with momentum: the new latents and velocity
    """

    def __init__(self, sampled: tuple[int, ...], alternating: bool, momentum: float = 0.0) -> None:
        super().__init__()
        self.sampled, self.alternating, self.momentum = sampled, alternating, momentum

    def step(self, latents: Tensors, velocities: Tensors, outputs: tuple, noise: Tensors,
             *data) -> tuple[Tensors, Tensors, tuple, Tensors]:
        """One step of every sampled group: (latents, velocities, outputs of the branches, gradients).

        velocities: (N, d) of each sampled group, only with momentum. noise: (N, d) of each sampled group, see
        noise_of_step. data: inputs of gradient_of and update.
        """
        current, new_velocities, gradients = outputs, (), ()
        for g in self.sampled:
            slot = len(gradients)
            if self.alternating:
                current = outputs
            gradient = self.gradient_of(g, latents[g], current, *data)
            if self.momentum > 0:
                z, velocity = self.update_with_velocity(g, latents[g], velocities[slot], gradient, noise[slot], *data)
                new_velocities = new_velocities + (velocity,)
            else:
                z = self.update(g, latents[g], gradient, noise[slot], *data)
            latents = latents[:g] + (z,) + latents[g + 1:]
            outputs = outputs[:g] + (self.run_branch(g, z),) + outputs[g + 1:]
            gradients = gradients + (gradient,)
        return latents, new_velocities, outputs, gradients


def _variable(name: str, value: np.ndarray) -> Parameter:
    """A parameter that is not trained: compiled graphs see its changes."""
    return Parameter(Tensor(value), name, requires_grad=False)


def noise_of_step(noise: tuple[Any, ...], k: int) -> Tensors:
    """The noise (N, d) of step k for each sampled group. noise: (K, N, d) of each sampled group.

    LangevinStep.step has this argument instead of (noise, k), so that the compiler infers the types of one step only,
    not of all K steps.
    """
    chosen = ()
    for of_group in noise:
        chosen = chosen + (of_group[k],)
    return chosen


class Langevin(LangevinStep):
    """K Langevin steps of all chains of a batch as one compiled graph.

    A pure function: the noise is an input (zeros: gradient descent, or damped descent with momentum); the new state and
    the diagnostics are outputs. A group's branch runs once for each new value of its latents; the outputs of the other
    branches are reused.
    """

    def __init__(self, energy: Energy, step_size: float, steps: int, options: Options = Options()) -> None:
        super().__init__(energy.sampled, options.order == "alternating" and not options.momentum, options.momentum)
        self.options = options
        self.energy, self.branches, self.steps = energy, energy.model.branches, steps
        self.noise_scale = math.sqrt(1 - options.momentum ** 2)
        self.step_size, self.scale_by_frames = step_size, options.scale_by_frames and energy.clips
        self.matmul = ops.MatMul()
        self.frames_affected = tuple(Tensor(group.frames_affected) for group in energy.model.groups
                                     ) if self.scale_by_frames else ()
        self.images_of_groups = nn.CellList([ImageOfGroup(energy, g) for g in range(len(self.branches))])
        self.gradient = ops.GradOperation(sens_param=True)  # with respect to the first argument
        self.slots = {g: slot for slot, g in enumerate(self.sampled)}  # index among the sampled groups
        self.preconditioner = Preconditioner(energy.model.groups) if options.preconditioned else None
        ones, one = np.ones(len(self.branches), np.float32), np.ones((), np.float32)
        self.sigma_factors = _variable("sigma_factors", ones) if options.variable_sigma else None
        self.step_factor = _variable("step_factor", one) if options.variable_step else None

    def initial_state(self, latents: Arrays) -> Arrays:
        """Initial state of the chains: `latents` (N, *shape) of each group and, with momentum, zero velocities."""
        return (*latents, *(np.zeros_like(latents[g]) for g in self.sampled if self.momentum > 0))

    def set_sigma_factor(self, g: int, factor: float) -> None:
        """Multiplies sigma by a factor in the gradient of group g; above 1, the group stays closer to its prior.

        Raises ValueError if the sampler was built without Options.variable_sigma.
        """
        if self.sigma_factors is None:
            raise ValueError("this sampler was built without sigma factors (Options.variable_sigma)")
        factors = self.sigma_factors.asnumpy().copy()
        factors[g] = factor
        ops.assign(self.sigma_factors, Tensor(factors))

    def set_step_factor(self, factor: float) -> None:
        """Multiplies the step size of all groups by a factor.

        Raises ValueError if the sampler was built without Options.variable_step, unless the factor is 1.
        """
        if self.step_factor is not None:
            ops.assign(self.step_factor, Tensor(factor, ms.float32))
        elif factor != 1:
            raise ValueError("this sampler was built without a step factor (Options.variable_step)")

    def construct(self, x: Tensor, mask: Tensor, sigma: Tensor,
                  *state_and_noise: Tensor) -> tuple[Tensors, Tensor, Tensor]:
        """Runs K steps.

        x: (N, ...). mask: (N, F), see Energy. sigma: scalar. state_and_noise: the latents (N, *shape) of each group,
        then with momentum the velocities of each sampled group, then the noise (K, N, *shape) of each group. (A flat
        list, because the graph compiler treats a tuple argument as a constant, which has no gradient.)

        Returns (latents and velocities, energy (K, N), gradient norms (K, G, N)) for G sampled groups.
        """
        groups = len(self.branches)
        latents, velocities = state_and_noise[:groups], state_and_noise[groups:-groups]
        outputs, step_sizes, noise = self.energy.outputs(latents), (), ()
        for g in range(groups):
            step_sizes = step_sizes + (self.step_size_of(g, latents[g], mask),)
        for g in self.sampled:
            noise = noise + (ops.unstack(self.scaled_noise(g, state_and_noise[g - groups], step_sizes), 0),)
        errors, roughness, states, gradients = (), (), (), ()
        for k in range(self.steps):
            errors = errors + (self.energy.squared_error(x, mask, outputs),)
            if self.energy.smooth:
                roughness = roughness + (self.energy.smoothness_energy(mask, outputs),)
            states = states + (latents,)
            latents, velocities, outputs, gradient = self.step(latents, velocities, outputs, noise_of_step(noise, k),
                                                               step_sizes, x, mask, sigma)
            gradients = gradients + (gradient,)
        # for all steps at once: fewer operators
        energy, norms = data_term(ops.stack(errors), sigma), ()
        if self.energy.smooth:
            energy = energy + ops.stack(roughness)
        for slot in range(len(self.sampled)):
            energy = energy + 0.5 * self.squared_norms(states, self.sampled[slot])
            norms = norms + (ops.sqrt(self.squared_norms(gradients, slot)),)
        return latents + velocities, energy, ops.stack(norms, 1)

    def squared_norms(self, records: tuple[Tensors, ...], index: int) -> Tensor:
        """Squared norms (K, N) of the tensors (N, d) with this index in the records of K steps."""
        values = ()
        for record in records:
            values = values + (record[index],)
        return ops.reduce_sum(ops.square(ops.stack(values)), (2,))

    def scaled_noise(self, g: int, noise: Tensor, step_sizes: tuple) -> Tensor:
        """The noise of all steps times delta; with momentum or a preconditioner unscaled: the update scales it."""
        return noise if self.momentum > 0 or self.preconditioner is not None else step_sizes[g] * noise

    def run_branch(self, g: int, z: Tensor) -> Tensor:
        return self.branches[g](z)

    def gradient_of(self, g: int, z: Tensor, outputs: tuple, *data) -> Tensor:
        """dE/dz: the data term and the smoothness by back-propagation, and z itself, the gradient of the prior term."""
        _, x, mask, sigma = data
        if self.sigma_factors is not None:
            sigma = sigma * self.sigma_factors[g]
        # dE/dimage, and 1 for the smoothness energy
        sens: Any = self.energy.image_gradient(x, mask, outputs, sigma)
        if is_smoothed(self.energy, g):
            sens = (sens, ops.ones((z.shape[0],), z.dtype))
        return self.gradient(self.images_of_groups[g])(z, mask, *outputs, sens) + z

    def update(self, g: int, z: Tensor, gradient: Tensor, noise: Tensor, *data) -> Tensor:
        """Eq. 7. noise: standard normal noise times delta; with a preconditioner unscaled, see scaled_noise."""
        delta: Any = data[0][g]
        if self.preconditioner is not None:
            gradient, noise = self.preconditioner(self.slots[g], gradient, noise)
            noise = delta * noise
        if self.step_factor is not None:
            gradient, noise = self.step_factor * self.step_factor * gradient, self.step_factor * noise
        return z - 0.5 * delta * delta * gradient + noise

    def update_with_velocity(self, g: int, z: Tensor, velocity: Tensor, gradient: Tensor, noise: Tensor,
                             *data) -> tuple[Tensor, Tensor]:
        """A step with momentum, see the module. noise: standard normal noise."""
        delta: Any = data[0][g]
        if self.preconditioner is not None:
            gradient, noise = self.preconditioner(self.slots[g], gradient, noise)
        if self.step_factor is not None:
            delta = self.step_factor * delta
        kicked = velocity - delta * gradient
        velocity = self.momentum * kicked + self.noise_scale * noise
        return z + 0.5 * delta * (kicked + velocity), velocity

    def step_size_of(self, g: int, z: Tensor, mask: Tensor):
        """delta of Eq. 7 for a group's latents: a number, or (N, d)."""
        if not self.scale_by_frames:
            return self.step_size
        frames = self.matmul(mask, self.frames_affected[g][:mask.shape[1], :z.shape[1]])
        return self.step_size / ops.sqrt(ops.maximum(frames, 1.0))  # latents of masked frames follow the prior


def make_sampler(energy: Energy, config: Config, steps: int | None = None) -> Langevin:
    """The sampler of a training. steps: Langevin steps in its compiled graph (default: as in the config)."""
    options = _options(config, variable_sigma=config.inference.sigma_app != NO_FACTOR)
    return Langevin(energy, config.inference.step_size, steps or _steps(config), options)


def make_inference_sampler(energy: Energy, config: Config, of_training: Langevin | None = None) -> Langevin:
    """The sampler of a Run. of_training: the sampler of the training of the same model; it is returned if it has the
    same options and no state, so that one graph is not compiled twice."""
    evaluation = config.evaluation
    options = _options(config, momentum=evaluation.momentum, variable_step=evaluation.step_factor != NO_FACTOR)
    if of_training is not None and of_training.options == options and not (options.preconditioned or
                                                                           options.variable_step):
        return of_training
    return Langevin(energy, config.inference.step_size, _steps(config), options)


def _options(config: Config, **changes: Any) -> Options:
    inference = config.inference
    return Options(order=inference.order, scale_by_frames=inference.scale_by_frames,
                   preconditioned=inference.preconditioner != "none", **changes)


def _steps(config: Config) -> int:
    """Langevin steps in a compiled graph."""
    return config.inference.steps_per_graph or config.inference.steps
