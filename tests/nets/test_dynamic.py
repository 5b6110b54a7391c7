"""The dynamic model is Table 5 and Eq. 10-12; its gradients, Eq. 18 and 20, are those of finite differences."""

from __future__ import annotations

from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest

from dgn import config as cfg
from dgn.data.source import MISSING
from dgn.inference import langevin
from dgn.inference.energy import Energy
from dgn.nets.deformable import DeformableGenerator
from dgn.nets.dynamic import HIDDEN, DynamicGenerator
from dgn.nets.model import decode
from dgn.nets.stack import table5_appearance, table5_geometry
from dgn.step import Learning
from dgn.training.abp import MeanEnergy, learning_step
from tests.reference import Gradients, numpy_stack, numpy_warp

SMALL = cfg.Model(network="table5", z_app=4, z_geo=3, xi_app=2, xi_geo=2, width=8, alpha=2.0)
FRAMES, SIZE = 4, 16


def build(frames=FRAMES, model=SMALL, size=SIZE, seed=2) -> DynamicGenerator:
    return DynamicGenerator(model, 3, size, frames, seed)


def latents(model, count, rng):
    return tuple(rng.standard_normal((count, *group.shape)).astype(np.float32) for group in model.groups)


def test_table_5():
    model = build(60, cfg.Model(network="table5", z_app=60, z_geo=30, width=256, alpha=2.0, scaling="he"), 64)
    appearance, geometry = (branch.emission.stack for branch in model.branches)
    shapes = [[stack.dense.weight.shape, *((layer.weight.shape, layer.stride) for layer in [*stack.hidden, stack.last])]
              for stack in (appearance, geometry)]
    assert shapes[0] == [(60, 16 * 512), ((512, 512, 3, 3), 2), ((512, 256, 3, 3), 2), ((256, 128, 3, 3), 2), ((128, 64, 3, 3), 2),
                         ((64, 3, 5, 5), 1)]
    assert shapes[1] == [(30, 16 * 256), ((256, 128, 4, 4), 4), ((128, 64, 4, 4), 4), ((64, 2, 5, 5), 1)]
    for branch, (states, noise) in zip(model.branches, ((60, 3), (30, 10))):
        transition = branch.latents.transition
        layers = [layer.weight.shape for layer in (transition.first, transition.second, transition.third)]
        assert layers == [(states + noise, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, states)]
    assert [group.shape for group in model.groups] == [(60 + 59 * 3,), (30 + 59 * 10,)]
    assert geometry.dense.scale == pytest.approx(0.3 * np.sqrt(2 / 30))


@pytest.mark.parametrize("size", [32, 48, 64])
def test_every_size_and_ranges(size, rng):
    decoded = decode(build(2, size=size), *latents(build(2), 3, rng))
    assert decoded.image.shape == decoded.appearance.shape == (3, 2, 3, size, size) and decoded.displacement.shape == (3, 2, 2, size, size)
    assert decoded.image.min() >= 0 and decoded.image.max() <= 1 and np.abs(decoded.displacement).max() <= 0.3125 * size


def test_a_clip_of_one_frame_is_an_image(rng):
    clip, image = build(1), DeformableGenerator(SMALL, 3, SIZE, 2)
    assert [group.shape for group in clip.groups] == [group.shape for group in image.groups]
    z = latents(image, 5, rng)
    for found, wanted in zip(decode(clip, *z), decode(image, *z)):
        np.testing.assert_array_equal(found[:, 0], wanted)
    x = rng.random((5, 3, SIZE, SIZE)).astype(np.float32)
    noise = langevin.draw_noise(image, 3, 5, 1, "test")
    moved = [langevin.run(langevin.Langevin(Energy(model, 0.1, clips), 0.1, 3), data, z, noise, 0.5)[0]
             for model, clips, data in ((clip, True, x[:, None]), (image, False, x))]
    for found, wanted in zip(*moved):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_without_noise_a_clip_has_one_appearance(rng):
    """Against a model whose appearance has a transition that gives zero."""
    still, held = build(model=replace(SMALL, xi_app=0)), build()
    for p in held.branches[0].latents.transition.third.get_parameters():
        p.set_data(ms.Tensor(np.zeros(p.shape, np.float32)))
    z, x = latents(held, 2, rng), rng.random((2, FRAMES, 3, SIZE, SIZE)).astype(np.float32)
    own = (z[0][:, :4], z[1])
    for found, wanted in zip(decode(still, *own), decode(held, *z)):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    noise = langevin.draw_noise(held, 2, 2, 1, "test")
    moved = [langevin.run(langevin.Langevin(Energy(model, 0.3, clips=True), 0.1, 2, per_frame=True), x, start, given, 0.6)[0]
             for model, start, given in ((still, own, (noise[0][..., :4], noise[1])), (held, z, noise))]
    np.testing.assert_allclose(moved[0][0], moved[1][0][:, :4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moved[0][1], moved[1][1], rtol=1e-5, atol=1e-6)


def float64(model):
    return {name: p.asnumpy().astype(np.float64) for name, p in model.parameters_and_names()}


def scales(model):
    """What scheme 2 multiplies the generators' weights by, by their names."""
    return {f"{name}.weight": cell.scale for name, cell in model.cells_and_names() if "emission" in name and hasattr(cell, "scale")}


def numpy_frame_latents(weights, branch, states, noise, z):
    """Z_t of Eq. 10 and 11, written as they stand, (N, F, d)."""
    layers = [(weights[f"{branch}.latents.transition.{name}.weight"], weights[f"{branch}.latents.transition.{name}.bias"])
              for name in ("first", "second", "third")]
    first, xi = z[:, :states], z[:, states:].reshape(len(z), -1, noise)
    state, found = np.zeros_like(first), [first]
    for t in range(xi.shape[1]):
        h = np.concatenate([state, xi[:, t]], 1)
        for k, (weight, bias) in enumerate(layers):
            h = h @ weight * np.sqrt(2 / len(weight)) + bias
            h = np.maximum(h, 0) if k < 2 else np.tanh(h)
        state = h
        found.append(first + state)
    return np.stack(found, 1)


def numpy_energy(weights, scale, x, z_app, z_geo, sigma, prior=True):
    """Eq. 17 in float64, (N,); frames that are MISSING are left out. scale: of weights, by name."""
    weights, parts = {name: values * scale.get(name, 1) for name, values in weights.items()}, []
    for k, (z, plan, states) in enumerate(((z_app, table5_appearance(16, SIZE, 3), 4), (z_geo, table5_geometry(8, SIZE, 2), 3))):
        frames = numpy_frame_latents(weights, f"branches.{k}", states, 2, z)
        parts.append(numpy_stack(weights, f"branches.{k}.emission.stack", plan, frames.reshape(-1, states)))
    appearance = 0.5 * parts[0] + 0.5
    image = numpy_warp(appearance, 0.3125 * SIZE * parts[1], np.zeros_like(appearance))[0].reshape(x.shape)
    energy = (np.square(x - image) * (x >= 0)).sum((1, 2, 3, 4)) / (2 * sigma ** 2)
    return energy + (np.square(z_app).sum(1) + np.square(z_geo).sum(1)) / 2 if prior else energy


@pytest.fixture(scope="module", params=["none", "he"])
def scaled_case(request):
    """The case by scheme 1 and by scheme 2."""
    return make_case(replace(SMALL, scaling=request.param))


@pytest.fixture(scope="module")
def case():
    return make_case(SMALL)


def make_case(settings):
    """A model, two clips of which the second has three of four frames, latents."""
    rng = np.random.default_rng(5)
    model = build(model=settings)
    for name, p in model.parameters_and_names():  # transitions that matter
        if "transition" in name and name.endswith("weight"):
            p.set_data(ms.Tensor(rng.standard_normal(p.shape).astype(np.float32)))
    x = rng.random((2, FRAMES, 3, SIZE, SIZE)).astype(np.float32)
    x[1, 3] = MISSING
    return model, x, latents(model, 2, rng)


def central(energy, array, place, step=1e-5):
    up, down = array.copy(), array.copy()
    up[place] += step
    down[place] -= step
    return (energy(up) - energy(down)) / (2 * step)


def test_gradients_to_the_latents_are_eq_18(scaled_case):
    model, x, z = scaled_case
    weights, scale, z64, sigma = float64(model), scales(model), [a.astype(np.float64) for a in z], 0.7
    energy = Energy(model, clips=True)
    parts = [model.branches[g](ms.Tensor(z[g])) for g in range(2)]
    for g in range(2):
        cell = langevin.GroupEnergy(energy, g)
        arguments = [ms.Tensor(z[g]), ms.Tensor(x), ms.Tensor(sigma, ms.float32), *parts]
        assert float(cell(*arguments).asnumpy()) == pytest.approx(
            (numpy_energy(weights, scale, x, *z64, sigma) - np.square(z64[1 - g]).sum(1) / 2).sum(), rel=1e-4)
        slope = Gradients(cell)(*arguments, ms.Tensor(1.0, ms.float32))[0].asnumpy()
        for place in np.ndindex(z[g].shape):
            wanted = central(lambda moved, g=g: numpy_energy(weights, scale, x, *(moved if k == g else z64[k] for k in range(2)), sigma).sum(),
                             z64[g], place)
            assert slope[place] == pytest.approx(wanted, rel=5e-3, abs=5e-3), (g, place)
    last = model.branches[0].noise
    np.testing.assert_allclose(slope[1, -last:], z[1][1, -last:], atol=1e-6)  # of a frame that is not there: the prior alone


def test_gradients_to_the_weights_are_eq_20(scaled_case, rng):
    model, x, z = scaled_case
    weights, scale, z64, sigma = float64(model), scales(model), [a.astype(np.float64) for a in z], 0.7
    named = dict(model.parameters_and_names())
    names = [name for name in named if "transition" in name or name.endswith("last.weight")]
    objective = MeanEnergy(Energy(model, clips=True))
    slopes = ms.value_and_grad(objective, None, ms.ParameterTuple([named[n] for n in names]), has_aux=True)(
        ms.Tensor(x), ms.Tensor(sigma, ms.float32), *langevin.as_tensors(z))[1]
    for name, slope in zip(names, slopes):
        found = slope.asnumpy()
        for place in [tuple(rng.integers(0, s) for s in found.shape) for _ in range(4)]:
            wanted = central(lambda moved, name=name: numpy_energy({**weights, name: moved}, scale, x, *z64, sigma, prior=False).mean(),
                             weights[name], place)
            assert found[place] == pytest.approx(wanted, rel=5e-3, abs=5e-3), (name, place)


@pytest.mark.parametrize("per_frame", [False, True])
def test_a_clip_alone_and_in_a_padded_batch_are_the_same(case, per_frame):
    model, x, z = case
    whole, single = (langevin.Langevin(Energy(model, 0.3, clips=True), 0.1, 3, per_frame=per_frame) for _ in range(2))
    noise = langevin.draw_noise(model, 3, 2, 1, "test")
    together, told = langevin.run(whole, x, z, noise, 0.6)
    cut = [z[g][1:, :branch.length(3)] for g, branch in enumerate(model.branches)]
    quiet = [n[:, 1:, :branch.length(3)] for n, branch in zip(noise, model.branches)]
    alone, own = langevin.run(single, x[1:, :3], tuple(cut), tuple(quiet), 0.6)
    for found, wanted in zip(together, alone):
        np.testing.assert_allclose(found[1:, :wanted.shape[1]], wanted, rtol=1e-5, atol=1e-6)
    # the noise that drives frames which are not there follows its prior and adds its own energy
    np.testing.assert_allclose(own.gradient <= told.gradient[..., 1:] + 1e-5, True)


def test_steps_by_the_frames_that_a_latent_moves(case):
    model, x, z = case
    noise = langevin.draw_noise(model, 1, 2, 1, "test")
    plain, scaled = (langevin.Langevin(Energy(model, 0.3, clips=True), 0.1, 1, "simultaneous", per_frame) for per_frame in (False, True))
    frames = model.frames
    for g, (group, branch) in enumerate(zip(model.groups, model.branches)):
        shown = np.zeros((frames, group.shape[0]), bool)  # by trial: which frames change with which latent
        for d in range(group.shape[0]):
            moved = z[g].copy()
            moved[:, d] += 1
            shown[:, d] = np.abs(branch.latents(ms.Tensor(moved)).asnumpy() - branch.latents(ms.Tensor(z[g])).asnumpy()).max((0, 2)) > 0
        for quiet, power in ((True, 1), (False, 0.5)):
            given = tuple(0 * n if quiet else n for n in noise)
            steps = [langevin.run(sampler, x, z, given, 0.6)[0][g] - z[g] for sampler in (plain, scaled)]
            if not quiet:
                drifts = [langevin.run(sampler, x, z, tuple(0 * n for n in noise), 0.6)[0][g] - z[g] for sampler in (plain, scaled)]
                steps = [step - drift for step, drift in zip(steps, drifts)]
            moving = np.maximum((x[:, :, 0, 0, 0] >= 0) @ shown.astype(int), 1)  # of the frames that each clip has
            np.testing.assert_allclose(steps[1], steps[0] / moving ** power, rtol=2e-3, atol=1e-5)


def test_batches_in_parts_and_steps_in_calls_change_nothing(case, rng):
    model, x, z = case
    noise = langevin.draw_noise(model, 4, 2, 1, "test")
    results = [langevin.run(langevin.Langevin(Energy(model, clips=True), 0.1, steps), x, z, noise, 0.6) for steps in (4, 2)]
    for a, b in zip(results[0][0], results[1][0]):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(results[0][1].energy, results[1][1].energy, rtol=1e-6)
    moved = []
    for parts in (1, 2):
        model = build()
        learning = Learning(learning_step(Energy(model, clips=True)), parts)
        sigma = ms.Tensor(0.5, ms.float32)
        for _ in range(3):
            learning(0.01, [(ms.Tensor(a), sigma, *langevin.as_tensors(b)) for a, *b in zip(*(np.split(v, parts) for v in (x, *z)))])
        moved.append(float64(model))
    for name in moved[0]:
        np.testing.assert_allclose(moved[0][name], moved[1][name], rtol=1e-4, atol=1e-5, err_msg=name)
