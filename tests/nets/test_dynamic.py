"""The dynamic model: Table 5 and Eq. 10-12; its gradients, Eq. 18 and 20, against finite differences."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import NamedTuple

import mindspore as ms
import numpy as np
import pytest

from dgn import config as cfg
from dgn.checks.reference import numpy_stack, numpy_warp
from dgn.inference import langevin
from dgn.inference.chains import as_tensors, draw_noise, run_arrays
from dgn.inference.energy import Energy
from dgn.nets.deformable import DeformableGenerator
from dgn.nets.dynamic import HIDDEN, DynamicGenerator
from dgn.nets.layers import ScaledLayer
from dgn.nets.model import decode
from dgn.nets.stack import table5_appearance, table5_geometry
from dgn.training.abp import GeneratorLoss

SMALL = cfg.Model(network="table5", z_app=4, z_geo=3, xi_app=2, xi_geo=2, width=8, alpha=2.0)
FRAMES, SIZE = 3, 16


def build(frames=FRAMES, model=SMALL, size=SIZE, seed=2) -> DynamicGenerator:
    return DynamicGenerator(model, 3, size, frames, seed)


def latents(model, count, rng):
    return tuple(rng.standard_normal((count, *group.shape)).astype(np.float32) for group in model.groups)


def sample(sampler, x, mask, sigma, z, noise):
    """Langevin steps, one a call, as more in a graph take longer to compile: latents and norms of gradients (K, G,
    N)."""
    gradients = []
    for k in range(len(noise[0])):
        z, diagnostics = run_arrays(sampler, x, mask, sigma, z, tuple(own[k:k + 1] for own in noise))
        gradients.append(diagnostics.gradient[0])
    return z, np.stack(gradients)


def test_table_5():
    model = build(60, cfg.Model(network="table5", z_app=60, z_geo=30, width=256, alpha=2.0, scaling="he"), 64)
    appearance, geometry = (branch.emission.stack for branch in model.branches)
    shapes = [[stack.dense.weight.shape, *((layer.weight.shape, layer.stride) for layer in [*stack.hidden, stack.last])]
              for stack in (appearance, geometry)]
    assert shapes[0] == [(60, 16 * 512), ((512, 512, 3, 3), 2), ((512, 256, 3, 3), 2), ((256, 128, 3, 3), 2),
                         ((128, 64, 3, 3), 2), ((64, 3, 5, 5), 1)]
    assert shapes[1] == [(30, 16 * 256), ((256, 128, 4, 4), 4), ((128, 64, 4, 4), 4), ((64, 2, 5, 5), 1)]
    for branch, (states, noise) in zip(model.branches, ((60, 3), (30, 10))):
        transition = branch.latents.transition
        layers = [layer.weight.shape for layer in (transition.first, transition.second, transition.third)]
        assert layers == [(states + noise, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, states)]
    assert [group.shape for group in model.groups] == [(60 + 59 * 3,), (30 + 59 * 10,)]
    assert geometry.dense.scale == pytest.approx(0.3 * np.sqrt(2 / 30))


@pytest.mark.parametrize("size", [32, 48, 64])
def test_shapes_and_ranges_at_every_size(size, rng):
    decoded = decode(build(2, size=size), *latents(build(2), 3, rng))
    assert decoded.image.shape == decoded.appearance.shape == (3, 2, 3, size, size)
    assert decoded.displacement.shape == (3, 2, 2, size, size)
    assert decoded.image.min() >= 0 and decoded.image.max() <= 1
    assert np.abs(decoded.displacement).max() <= 0.3125 * size


def test_a_clip_of_one_frame_is_an_image(rng):
    clip, image = build(1), DeformableGenerator(SMALL, 3, SIZE, 2)
    assert [group.shape for group in clip.groups] == [group.shape for group in image.groups]
    z = latents(image, 5, rng)
    for a, b in zip(decode(clip, *z), decode(image, *z)):
        np.testing.assert_array_equal(a[:, 0], b)
    x = rng.random((5, 3, SIZE, SIZE)).astype(np.float32)
    noise = draw_noise(image, 2, 5, 1, "test")
    results = [sample(langevin.Langevin(Energy(model, 0.1), 0.1, 1), data, mask, 0.5, z, noise)[0]
               for model, data, mask in ((clip, x[:, None], np.ones((5, 1), np.float32)), (image, x, None))]
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.fixture
def initial(case):
    """The model of the case with its initial weights, which it loses again."""
    weights = [(p, p.asnumpy().copy()) for p in case.model.get_parameters()]
    for (p, _), own in zip(weights, build().get_parameters()):
        p.set_data(ms.Tensor(own.asnumpy()))
    yield case.model
    for p, values in weights:
        p.set_data(ms.Tensor(values))


def test_without_noise_a_clip_has_one_appearance(initial, sampler_of, rng):
    """xi_app 0 against a model whose appearance transition has zero weights in its last layer."""
    constant, zeroed = build(model=replace(SMALL, xi_app=0)), initial
    for p in zeroed.branches[0].latents.transition.third.get_parameters():
        p.set_data(ms.Tensor(np.zeros(p.shape, np.float32)))
    z, x = latents(zeroed, 2, rng), rng.random((2, FRAMES, 3, SIZE, SIZE)).astype(np.float32)
    z_constant = (z[0][:, :4], z[1])
    for a, b in zip(decode(constant, *z_constant), decode(zeroed, *z)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    noise, mask = draw_noise(zeroed, 2, 2, 1, "test"), np.ones((2, FRAMES), np.float32)
    results = []
    for model, start, own in ((constant, z_constant, (noise[0][..., :4], noise[1])), (zeroed, z, noise)):
        sampler = sampler_of(model, 0.3, 0.1, langevin.Options(scale_by_frames=True))
        results.append(sample(sampler, x, mask, 0.6, start, own)[0])
    np.testing.assert_allclose(results[0][0], results[1][0][:, :4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-5, atol=1e-6)


def float64(model):
    """The parameters in float64, by name."""
    return {name: p.asnumpy().astype(np.float64) for name, p in model.parameters_and_names()}


def scales(model):
    """The factor of each weight of the generators in scheme 2, by name."""
    return {f"{name}.weight": cell.scale for name, cell in model.cells_and_names()
            if "emission" in name and isinstance(cell, ScaledLayer)}


def numpy_frame_latents(weights, branch, states, noise, z):
    """Z_t of Eq. 10 and 11, (N, F, d)."""
    layers = [[weights[f"{branch}.latents.transition.{name}.{kind}"] for kind in ("weight", "bias")]
              for name in ("first", "second", "third")]
    z_0, xi = z[:, :states], z[:, states:].reshape(len(z), -1, noise)
    state, frames = np.zeros_like(z_0), [z_0]
    for t in range(xi.shape[1]):
        h = np.concatenate([state, xi[:, t]], 1)
        for k, (weight, bias) in enumerate(layers):
            h = h @ weight * np.sqrt(2 / len(weight)) + bias
            h = np.maximum(h, 0) if k < 2 else np.tanh(h)
        state = h
        frames.append(z_0 + state)
    return np.stack(frames, 1)


class Case(NamedTuple):
    """A model, two clips of which the second lacks the last frame, and latents."""

    model: DynamicGenerator
    x: np.ndarray
    mask: np.ndarray
    z: tuple[np.ndarray, ...]


def make_case(settings):
    rng = np.random.default_rng(5)
    model = build(model=settings)
    for name, p in model.parameters_and_names():  # large transitions, so that frames differ
        if "transition" in name and name.endswith("weight"):
            p.set_data(ms.Tensor(rng.standard_normal(p.shape).astype(np.float32)))
    x, mask = rng.random((2, FRAMES, 3, SIZE, SIZE)).astype(np.float32), np.ones((2, FRAMES), np.float32)
    x[1, -1] = mask[1, -1] = 0
    return Case(model, x, mask, latents(model, 2, rng))


@pytest.fixture(scope="module")
def case():
    return make_case(SMALL)


@pytest.fixture(scope="module", params=["none", "he"])
def scaled_case(request, case):
    """A case by scheme 1 and by scheme 2."""
    return case if request.param == SMALL.scaling else make_case(replace(SMALL, scaling=request.param))


@pytest.fixture(scope="module")
def sampler_of():
    """One sampler of a model and options for all tests: it is compiled once for each shape."""
    @functools.cache
    def make(model, smoothness, step_size, options):
        return langevin.Langevin(Energy(model, smoothness), step_size, 1, options)

    return make


class Reference:
    """Eq. 17 in float64, with the smoothness energy."""

    def __init__(self, case: Case, sigma: float, smoothness: float = 0.0) -> None:
        self.x, self.mask, self.sigma, self.scale = case.x, case.mask, sigma, scales(case.model)
        self.smoothness = smoothness
        self.weights, self.z = float64(case.model), [z.astype(np.float64) for z in case.z]

    def energy(self, z_app, z_geo, weights=None, prior=True):
        """E(x, z) of each clip, (N,); weights: those that differ from the model's, by name."""
        used = {name: values * self.scale.get(name, 1) for name, values in {**self.weights, **(weights or {})}.items()}
        outputs = []
        for k, (z, architecture, states) in enumerate(((z_app, table5_appearance(16, SIZE, 3), 4),
                                                       (z_geo, table5_geometry(8, SIZE, 2), 3))):
            frames = numpy_frame_latents(used, f"branches.{k}", states, 2, z)
            outputs.append(numpy_stack(used, f"branches.{k}.emission.stack", architecture, frames.reshape(-1, states)))
        appearance, displacement = 0.5 * outputs[0] + 0.5, 0.3125 * SIZE * outputs[1]
        image = numpy_warp(appearance, displacement, np.zeros_like(appearance))[0].reshape(self.x.shape)
        present, field = self.mask[:, :, None, None, None], displacement.reshape(*self.x.shape[:2], 2, SIZE, SIZE)
        error = (np.square(self.x - image) * present).sum((1, 2, 3, 4))
        roughness = sum((np.square(np.diff(field, axis=axis)) * present).sum((1, 2, 3, 4)) for axis in (3, 4))
        energy = error / (2 * self.sigma ** 2) + 0.5 * self.smoothness * roughness
        return energy + (np.square(z_app).sum(1) + np.square(z_geo).sum(1)) / 2 if prior else energy


def central_difference(function, array, direction, step=1e-5):
    return (function(array + step * direction) - function(array - step * direction)) / (2 * step)


def test_gradients_to_the_latents_are_eq_18(scaled_case, sampler_of):
    model, x, mask, z = scaled_case
    reference = Reference(scaled_case, 0.7)
    zeros = tuple(np.zeros((1, *values.shape), np.float32) for values in z)
    sampler = sampler_of(model, 0.0, 1.0, langevin.Options("simultaneous"))
    new, diagnostics = run_arrays(sampler, x, mask, 0.7, tuple(z), zeros)
    np.testing.assert_allclose(diagnostics.energy[0], reference.energy(*reference.z), rtol=1e-4)
    for g in range(2):
        gradient = 2 * (z[g] - new[g])  # z' = z - gradient / 2 for delta = 1

        def energies(own, g=g):
            return reference.energy(*(own if k == g else reference.z[k] for k in range(2)))
        for d in range(z[g].shape[1]):  # of both clips at once: neither's energy depends on the other
            expected = central_difference(energies, reference.z[g], np.eye(z[g].shape[1])[d])
            assert gradient[:, d] == pytest.approx(expected, rel=5e-3, abs=5e-3), (g, d)
    last = model.branches[1].noise_size
    # the noise of a frame that the clip does not have: the prior alone
    np.testing.assert_allclose(gradient[1, -last:], z[1][1, -last:], atol=1e-6)


def test_gradients_to_the_weights_are_eq_20(scaled_case, rng):
    """Along a direction of all entries of each weight."""
    model, x, mask, z = scaled_case
    reference, named = Reference(scaled_case, 0.7), dict(model.parameters_and_names())
    names = [name for name in named if "transition" in name or name.endswith("last.weight")]
    weights = ms.ParameterTuple([named[name] for name in names])
    step = ms.value_and_grad(GeneratorLoss(Energy(model)), None, weights, has_aux=True)
    _, gradients = step(*as_tensors((x, mask)), ms.Tensor(0.7, ms.float32), *as_tensors(z))
    for name, gradient in zip(names, (g.asnumpy() for g in gradients)):

        def mean(values, name=name):
            return reference.energy(*reference.z, {name: values}, prior=False).mean()
        direction = rng.choice([-1.0, 1.0], gradient.shape)
        expected = central_difference(mean, reference.weights[name], direction)
        assert (gradient * direction).sum() == pytest.approx(expected, rel=5e-3, abs=5e-3), name


@pytest.mark.parametrize("scale_by_frames", [False, True])
def test_a_clip_alone_and_in_a_padded_batch_are_the_same(case, sampler_of, scale_by_frames):
    model, x, mask, z = case
    sampler = sampler_of(model, 0.3, 0.1, langevin.Options(scale_by_frames=scale_by_frames))
    noise = draw_noise(model, 2, 2, 1, "test")
    together, gradients = sample(sampler, x, mask, 0.6, z, noise)
    short = FRAMES - 1
    short_z = tuple(z[g][1:, :branch.length(short)] for g, branch in enumerate(model.branches))
    short_noise = tuple(n[:, 1:, :branch.length(short)] for n, branch in zip(noise, model.branches))
    alone, own = sample(sampler, x[1:, :short], mask[1:, :short], 0.6, short_z, short_noise)
    for a, b in zip(together, alone):
        np.testing.assert_allclose(a[1:, :b.shape[1]], b, rtol=1e-5, atol=1e-6)
    # in the padded batch the noise of the missing frame follows its prior, and adds its own energy
    np.testing.assert_allclose(own <= gradients[..., 1:] + 1e-5, True)


def test_step_sizes_by_the_frames_that_a_latent_affects(case, sampler_of):
    model, x, mask, z = case
    noise = draw_noise(model, 1, 2, 1, "test")
    zeros = tuple(0 * n for n in noise)
    samplers = [sampler_of(model, 0.0, 1.0, langevin.Options("simultaneous", scaled)) for scaled in (False, True)]
    drifts, steps = ([[new - old for new, old in zip(run_arrays(sampler, x, mask, 0.6, z, own)[0], z)]
                      for sampler in samplers] for own in (zeros, noise))
    for g, (group, branch) in enumerate(zip(model.groups, model.branches)):
        affected = np.zeros((model.frames, group.shape[0]), bool)  # by trial: the frames that change with a latent
        for d in range(group.shape[0]):
            changed = z[g].copy()
            changed[:, d] += 1
            difference = branch.latents(ms.Tensor(changed)).asnumpy() - branch.latents(ms.Tensor(z[g])).asnumpy()
            affected[:, d] = np.abs(difference).max((0, 2)) > 0
        frames = np.maximum(mask @ affected.astype(int), 1)  # of those that each clip has
        np.testing.assert_allclose(drifts[1][g], drifts[0][g] / frames, rtol=2e-3, atol=1e-5)
        diffusions = [step[g] - drift[g] for step, drift in zip(steps, drifts)]
        np.testing.assert_allclose(diffusions[1], diffusions[0] / np.sqrt(frames), rtol=2e-3, atol=1e-5)


def test_steps_per_graph_change_nothing_and_the_energy_is_recorded_with_the_smoothness(case, sampler_of):
    model, x, mask, z = case
    noise = draw_noise(model, 2, 2, 1, "test")
    samplers = langevin.Langevin(Energy(model, 0.3), 0.1, 2), sampler_of(model, 0.3, 0.1, langevin.Options())
    results = [run_arrays(sampler, x, mask, 0.6, z, noise) for sampler in samplers]
    for a, b in zip(results[0][0], results[1][0]):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(results[0][1].energy, results[1][1].energy, rtol=1e-6)
    reference = Reference(case, 0.6, 0.3)
    np.testing.assert_allclose(results[0][1].energy[0], reference.energy(*reference.z), rtol=1e-4)
