"""The sampler against what is known: posteriors in closed form, gradients by finite differences, the update by hand."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import mindspore as ms
import numpy as np
import pytest

from dgn import config as cfg
from dgn import recipe
from dgn.checks.linear import LinearModel, linear_posterior
from dgn.checks.reference import numpy_stack, numpy_warp
from dgn.errors import RunFailed
from dgn.inference import langevin, unseen
from dgn.inference.chains import Diagnostics, as_tensors, check_chains, draw_noise, energy_limit, run_arrays
from dgn.inference.energy import Energy, EnergyGradient, mask_or_ones
from dgn.inference.jacobian import gauss_newton
from dgn.inference.preconditioner import Preconditioner
from dgn.inference.unseen import ChainSettings, factors, infer
from dgn.nets.deformable import DeformableGenerator
from dgn.nets.stack import table4
from dgn.training.abp import GeneratorLoss
from dgn.training.optim import TrainStep, adam


def chains(model, x, sigma, step_size, steps, calls, seed=3, latents=None, order="alternating"):
    """Runs calls * steps Langevin steps from zero; yields the latents after every call."""
    sampler = langevin.Langevin(Energy(model), step_size, steps, langevin.Options(order))
    latents = latents or tuple(np.zeros((len(x), *group.shape), np.float32) for group in model.groups)
    for call in range(calls):
        noise = draw_noise(model, steps, len(x), seed, "test", call)
        latents, _ = run_arrays(sampler, x, None, sigma, latents, noise)
        yield latents


@pytest.mark.parametrize("order", ["alternating", "simultaneous"])
@pytest.mark.slow
def test_chains_reach_the_closed_form_posterior(order, rng):
    a, b, sigma = rng.standard_normal((2, 5)) * 0.7, rng.standard_normal((3, 5)) * 0.7, 0.8
    x = rng.standard_normal(5).astype(np.float32)
    mean, covariance = linear_posterior(a, b, x, sigma)
    states = list(chains(LinearModel(a, b), x[None].repeat(2000, 0), sigma, 0.12, 5, 240, order=order))
    samples = np.concatenate([np.concatenate(state, 1) for state in states[120::20]])
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.03)
    # a finite step widens the chain's covariance a little, by a factor of about 1 / (1 - delta^2 / (4 variance))
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.04)


def test_preconditioned_chains_reach_the_same_posterior_in_few_steps(rng):
    """M is the posterior's covariance of each group given the other; 12 large steps from zero suffice, where plain
    steps of a stable size need hundreds. A finite step multiplies the covariance by 1 / (1 - delta^2 / 4) for one group
    alone."""
    a, sigma, delta = np.diag([6.0, 1.0, 0.1]) @ np.linalg.qr(rng.standard_normal((5, 3)))[0].T, 0.5, 0.5
    b = np.zeros((2, 5))
    x = rng.standard_normal(5).astype(np.float32)
    model = LinearModel(a, b)
    sampler = langevin.Langevin(Energy(model), delta, 6, langevin.Options(preconditioned=True))
    sampler.preconditioner.update([a @ a.T, b @ b.T], [sigma, sigma])
    assert sampler.preconditioner.used_dimensions() == {"z_app_used": 2, "z_geo_used": 0}
    latents, samples = tuple(np.zeros((4000, d), np.float32) for d in (3, 2)), []
    for call in range(12):
        noise = draw_noise(model, 6, 4000, 3, "test", call)
        latents, _ = run_arrays(sampler, x[None].repeat(4000, 0), None, sigma, latents, noise)
        samples.append(np.concatenate(latents, 1))
    mean, covariance = linear_posterior(a, b, x, sigma)
    late = np.concatenate(samples[4:])
    np.testing.assert_allclose(late.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(late.T), covariance / (1 - delta**2 / 4), atol=0.04)
    np.testing.assert_allclose(samples[1].mean(0), mean, atol=0.25 * np.abs(mean).max())  # after 12 steps


def test_a_preconditioner_is_adapted_to_another_sigma(rng):
    """M = (C / sigma^2 + I)^-1: as if it had been computed for that sigma; unchanged for the same."""
    model = LinearModel(rng.standard_normal((3, 5)), rng.standard_normal((2, 5)))
    curvatures = [half @ half.T for half in (10 * rng.standard_normal((3, 3)), rng.standard_normal((2, 2)))]
    adapted, wanted = Preconditioner(model.groups), Preconditioner(model.groups)
    adapted.update(curvatures, [0.8, 0.2])
    wanted.update(curvatures, [0.2, 0.2])
    adapted.adapt([0.2, 0.2])
    restored = Preconditioner(model.groups)  # as from a checkpoint: without E[J^T J]
    restored.copy(wanted)
    restored.recover_curvatures([0.2, 0.2])
    restored.adapt([0.8, 0.2])
    restored.adapt([0.2, 0.2])
    assert adapted.sigmas == wanted.sigmas == restored.sigmas == (0.2, 0.2)
    for own in (adapted, restored):
        for matrix, expected in zip([*own.inverses, *own.roots], [*wanted.inverses, *wanted.roots]):
            np.testing.assert_allclose(matrix.asnumpy(), expected.asnumpy(), rtol=1e-3, atol=1e-6)
    before = [metric.asnumpy() for metric in adapted.inverses]
    adapted.adapt([0.2, 0.2])
    for metric, own in zip(adapted.inverses, before):
        np.testing.assert_array_equal(metric.asnumpy(), own)


def test_small_steps_at_the_end_remove_the_error_of_large_ones(rng):
    """A step of delta multiplies the covariance by 1 / (1 - delta^2 / 4): 1.56 for 1.2, 1.02 for a quarter of it."""
    a, b, sigma, delta = 3 * np.eye(2, 5), np.zeros((1, 5)), 0.5, 1.2
    x = rng.standard_normal(5).astype(np.float32)
    sampler = langevin.Langevin(Energy(LinearModel(a, b)), delta, 2,
                                langevin.Options(preconditioned=True, variable_step=True))
    sampler.preconditioner.update([a @ a.T, b @ b.T], [sigma, sigma])
    mean, covariance = linear_posterior(a, b, x, sigma)
    for schedule, error in (((0, 1.0),), 1 / (1 - delta ** 2 / 4)), (((0, 1.0), (20, 0.25)), 1 / (1 - delta ** 2 / 64)):
        chains = ChainSettings(60, sigma, seed=1, step_factor=schedule)
        samples = np.concatenate(infer(sampler, x[None].repeat(20000, 0), chains, batch_size=20000), 1)
        np.testing.assert_allclose(samples.mean(0), mean, atol=0.03)
        np.testing.assert_allclose(samples.var(0), error * np.diag(covariance), rtol=0.04)


def test_an_annealed_chain_ends_in_the_posterior_of_its_last_sigma(rng):
    """Also with a preconditioner, which is that of each sigma; noiseless steps end at the mode of the last one."""
    a, b, sigma = np.linalg.qr(rng.standard_normal((5, 2)))[0].T * 2, np.zeros((1, 5)), 0.4
    x = rng.standard_normal(5).astype(np.float32)
    sampler = langevin.Langevin(Energy(LinearModel(a, b)), 0.5, 2, langevin.Options(preconditioned=True))
    sampler.preconditioner.update([a @ a.T, b @ b.T], [sigma, sigma])
    for schedule, last in ((((0, 5.0), (30, 1.0)), 1.0), (((0, 1.0), (30, 2.0)), 2.0)):
        chains = ChainSettings(60, sigma, seed=3, sigma_factor=schedule)
        mean, covariance = linear_posterior(a, b, x, last * sigma)
        samples = np.concatenate(infer(sampler, x[None].repeat(20000, 0), chains, batch_size=20000), 1)
        np.testing.assert_allclose(samples.mean(0), mean, atol=0.02)
        np.testing.assert_allclose(np.cov(samples.T), covariance / (1 - 0.5 ** 2 / 4), atol=0.03)
        assert sampler.preconditioner.sigmas == (last * sigma,) * 2
        mode = infer(sampler, x[None], replace(chains, descent_steps=100))
        np.testing.assert_allclose(np.concatenate(mode, 1)[0], mean, atol=1e-3)


def test_a_step_with_momentum_is_the_baoab_splitting(rng):
    a, b, sigma, h, c = rng.standard_normal((2, 4)), rng.standard_normal((3, 4)), 0.9, 0.4, 0.6
    x, z, v = rng.standard_normal((1, 4)), rng.standard_normal((1, 5)), rng.standard_normal((1, 5))
    noise = [rng.standard_normal((2, 1, d)) for d in (2, 3)]
    sampler = langevin.Langevin(Energy(LinearModel(a, b)), h, 2, langevin.Options(momentum=c))
    state = [np.float32(part) for part in (z[:, :2], z[:, 2:], v[:, :2], v[:, 2:])]
    state, _ = run_arrays(sampler, np.float32(x), None, sigma, tuple(state), tuple(map(np.float32, noise)))
    w = np.concatenate([a, b])
    for n in np.concatenate(noise, 2):
        v = v + h * ((x - z @ w) @ w.T / sigma ** 2 - z)  # two half kicks
        z = z + h / 2 * v
        v = c * v + np.sqrt(1 - c ** 2) * n
        z = z + h / 2 * v
    np.testing.assert_allclose(np.concatenate(state[:2], 1), z, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(state[2:], 1), v, rtol=1e-4, atol=1e-5)


def test_chains_with_momentum_reach_the_exact_posterior_whatever_the_step_size(rng):
    """Where overdamped steps of 1.2 would make the covariance 1.56 times too large. The groups are correlated: both
    move from one state. The velocities live on between calls of the graph."""
    a, b, sigma = 3 * np.eye(2, 5), np.eye(2, 5, 1), 0.5
    x = rng.standard_normal(5).astype(np.float32)
    sampler = langevin.Langevin(Energy(LinearModel(a, b)), 1.2, 2, langevin.Options(
        "simultaneous", preconditioned=True, momentum=0.5))
    sampler.preconditioner.update([a @ a.T, b @ b.T], [sigma, sigma])
    mean, covariance = linear_posterior(a, b, x, sigma)
    settings = ChainSettings(60, sigma, seed=1)
    samples = np.concatenate(infer(sampler, x[None].repeat(20000, 0), settings, batch_size=20000), 1)
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.03 * covariance.max())
    modes = infer(sampler, x[None], ChainSettings(0, sigma, seed=1, descent_steps=60))
    np.testing.assert_allclose(np.concatenate(modes, 1)[0], mean, atol=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_a_descent_takes_the_first_steps_of_a_schedule_and_never_larger_ones_than_the_step_size(rng, momentum):
    a = rng.standard_normal((2, 4))
    sampler = langevin.Langevin(Energy(LinearModel(a, np.zeros((1, 4)))), 0.2, 2,
                                langevin.Options(momentum=momentum, variable_step=True))
    x = rng.standard_normal((1, 4)).astype(np.float32)
    settings = {factor: ChainSettings(0, 1.0, seed=1, descent_steps=2, step_factor=((0, factor), (50, 0.1)))
                for factor in (0.5, 1.0, 1.3)}
    ends = {factor: infer(sampler, x, chains)[0] for factor, chains in settings.items()}
    np.testing.assert_array_equal(ends[1.3], ends[1.0])
    for factor in (0.5, 1.0):  # both on the way from 0
        h, z, v = 0.2 * factor, np.zeros((1, 2)), np.zeros((1, 2))
        for _ in range(2):
            v = v + h * ((x - z @ a) @ a.T - z)
            z, v = (z + h / 2 * (1 + momentum) * v, momentum * v)  # without momentum: Eq. 7 without noise
        np.testing.assert_allclose(ends[factor], z, rtol=1e-4, atol=1e-6)


def test_factors_follow_the_calls_of_the_graph_and_the_last_call_has_the_last_one():
    chains = ChainSettings(10, 0.1, seed=1, step_factor=((0, 1.3), (50, 0.85), (80, 0.4)),
                           sigma_factor=((0, 2.0), (50, 1.0)))
    for calls, of_steps, of_sigma in ((10, 5 * [1.3] + 3 * [0.85] + 2 * [0.4], 5 * [2.0] + 5 * [1.0]),
                                      (3, [1.3, 0.85, 0.4], [2.0, 1.0, 1.0]), (2, [1.3, 0.4], [2.0, 1.0])):
        assert [factors(chains, call, calls) for call in range(calls)] == list(zip(of_steps, of_sigma))
        assert factors(chains, calls, calls) == (1.0, 1.0)


def test_a_sampler_without_a_step_factor_refuses_one(rng):
    sampler = langevin.Langevin(Energy(LinearModel(np.eye(2, 5), np.zeros((1, 5)))), 0.1, 1)
    sampler.set_step_factor(1)
    with pytest.raises(ValueError, match="without a step factor"):
        sampler.set_step_factor(0.5)


def test_the_gauss_newton_matrix_of_a_linear_decoder_is_its_square(rng):
    w, v = rng.standard_normal((3, 7)), rng.standard_normal((2, 7))
    latents = [rng.standard_normal((5, 3)).astype(np.float32), rng.standard_normal((5, 2)).astype(np.float32)]
    matrix = gauss_newton(lambda z, y: z @ w + y @ v, latents, 1)
    np.testing.assert_allclose(matrix / 5, v @ v.T, rtol=1e-4)


def test_a_sigma_factor_weakens_the_likelihood_of_one_group(rng):
    """With factor c the group follows the gradient of the energy at c sigma, the other one that at sigma."""
    a, b, sigma = rng.standard_normal((2, 5)), rng.standard_normal((2, 5)), 0.5
    x, model = rng.standard_normal((1, 5)).astype(np.float32), LinearModel(a, b)
    z, y = rng.standard_normal((2, 1, 2)).astype(np.float32)
    zeros = tuple(np.zeros((1, 1, 2), np.float32) for _ in range(2))
    sampler = langevin.Langevin(Energy(model), 0.2, 1, langevin.Options("simultaneous", variable_sigma=True))
    residual = x - z @ a - y @ b
    for both in ((1.0, 1.0), (4.0, 1.0), (4.0, 0.5)):  # further values, after the graph is compiled
        for g, factor in enumerate(both):
            sampler.set_sigma_factor(g, factor)
        found, _ = run_arrays(sampler, x, None, sigma, (z, y), zeros)
        for own, new, w, factor in zip((z, y), found, (a, b), both):
            gradient = -residual @ w.T / (factor * sigma) ** 2 + own
            np.testing.assert_allclose(new, own - 0.02 * gradient, rtol=1e-4, atol=1e-6)


def test_gradient_descent_without_noise_finds_the_posterior_mean(rng):
    a, b, sigma = rng.standard_normal((2, 4)), rng.standard_normal((2, 4)), 1.0
    x = rng.standard_normal((3, 4)).astype(np.float32)
    model = LinearModel(a, b)
    sampler = langevin.Langevin(Energy(model), 0.3, 5)
    latents = tuple(np.zeros((3, 2), np.float32) for _ in range(2))
    zeros = tuple(np.zeros((5, 3, 2), np.float32) for _ in range(2))
    energies = []
    for _ in range(160):
        latents, diagnostics = run_arrays(sampler, x, None, sigma, latents, zeros)
        energies.append(diagnostics.energy)
    expected = np.stack([linear_posterior(a, b, row, sigma)[0] for row in x])
    np.testing.assert_allclose(np.concatenate(latents, 1), expected, atol=1e-4)
    assert (np.diff(np.concatenate(energies), axis=0) < 1e-5).all()


def test_alternating_uses_the_first_groups_new_value_for_the_second(rng):
    a, b = rng.standard_normal((2, 4)), rng.standard_normal((3, 4))
    x, model, delta, sigma = rng.standard_normal((1, 4)), LinearModel(a, b), 0.4, 0.9
    z_app, z_geo = rng.standard_normal((1, 2)), rng.standard_normal((1, 3))
    e_app, e_geo = rng.standard_normal((1, 1, 2)), rng.standard_normal((1, 1, 3))
    as32 = [v.astype(np.float32) for v in (x, z_app, z_geo, e_app, e_geo)]

    def step(z, w, other, e):
        gradient = -(x - z @ w - other) @ w.T / sigma**2 + z
        return z - delta**2 / 2 * gradient + delta * e[0]

    new_app = step(z_app, a, z_geo @ b, e_app)
    for order, seen in (("alternating", new_app), ("simultaneous", z_app)):
        sampler = langevin.Langevin(Energy(model), delta, 1, langevin.Options(order))
        found, _ = run_arrays(sampler, as32[0], None, sigma, tuple(as32[1:3]), tuple(as32[3:]))
        np.testing.assert_allclose(found[0], new_app, rtol=1e-5)
        np.testing.assert_allclose(found[1], step(z_geo, b, seen @ a, e_geo), rtol=1e-5)


ARCHITECTURES = table4(8 * 0.625, 16, 3), table4(8, 16, 2)


def numpy_energy(weights, x, z_app, z_geo, sigma, max_pixels):
    """Eq. 8 for the deformable model in float64, (N,)."""
    appearance = 0.5 * numpy_stack(weights, "branches.0.stack", ARCHITECTURES[0], z_app) + 0.5
    displacement = max_pixels * numpy_stack(weights, "branches.1.stack", ARCHITECTURES[1], z_geo)
    image, _, _ = numpy_warp(appearance, displacement, np.zeros_like(appearance))
    return (
        np.square(x - image).sum((1, 2, 3)) / (2 * sigma**2) + (np.square(z_app).sum(1) + np.square(z_geo).sum(1)) / 2
    )


@pytest.fixture(scope="module")
def small():
    """A deformable model of 16x16 pixels, its weights in float64, an image and latents."""
    rng = np.random.default_rng(5)
    model = DeformableGenerator(cfg.Model(z_app=4, z_geo=3, width=8), 3, 16, seed=2)
    weights = {name: p.asnumpy().astype(np.float64) for name, p in model.parameters_and_names()}
    x = rng.random((2, 3, 16, 16)).astype(np.float32)
    return (
        model,
        weights,
        x,
        rng.standard_normal((2, 4)).astype(np.float32),
        rng.standard_normal((2, 3)).astype(np.float32),
    )


def test_energy_and_gradients_of_the_model_agree_with_float64_finite_differences(small):
    model, weights, x, z_app, z_geo = small
    sigma, max_pixels = 0.7, model.branches[1].scale
    zeros = tuple(np.zeros((1, 2, d), np.float32) for d in (4, 3))
    sampler = langevin.Langevin(Energy(model), 1.0, 1, langevin.Options("simultaneous"))
    (new_app, new_geo), diagnostics = run_arrays(sampler, x, None, sigma, (z_app, z_geo), zeros)
    # z' = z - gradient / 2 for delta = 1
    gradients = 2 * (z_app - new_app), 2 * (z_geo - new_geo)

    args = [x.astype(np.float64), z_app.astype(np.float64), z_geo.astype(np.float64)]
    np.testing.assert_allclose(diagnostics.energy[0], numpy_energy(weights, *args, sigma, max_pixels), rtol=1e-5)
    for which, gradient in zip((1, 2), gradients):
        for d in range(gradient.shape[1]):
            ends = []
            for sign in (1, -1):
                bumped = [a.copy() for a in args]
                bumped[which][:, d] += sign * 1e-6
                ends.append(numpy_energy(weights, *bumped, sigma, max_pixels))
            numeric = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(
                gradient[:, d], numeric, rtol=2e-3, atol=2e-3 * np.abs(gradient).max(), err_msg=f"group {which}, {d}"
            )


@pytest.mark.parametrize("settings, alike", [
    ([], True), (["inference.order=simultaneous"], True), (["evaluation.momentum=0.5"], False),
    (["evaluation.step_factor=0.5"], False), (["inference.sigma_app=[[0,4.0],[5,1.0]]"], False),
    (["inference.preconditioner=gauss_newton"], False)])
def test_a_run_takes_the_sampler_of_its_training_only_if_it_is_the_same_and_has_no_state(small, settings, alike):
    config, energy = recipe.load(None, settings), Energy(small[0])
    of_training = langevin.make_sampler(energy, config)
    sampler = langevin.make_inference_sampler(energy, config, of_training)
    assert (sampler is of_training) == alike and sampler.steps == of_training.steps
    assert langevin.make_inference_sampler(energy, config).options == sampler.options


@pytest.fixture(scope="module")
def samplers(small):
    """Of one step and of three, for all tests: each is compiled once."""
    energy = Energy(small[0])
    return tuple(langevin.Langevin(energy, 0.05, steps) for steps in (1, 3))


def test_diagnostics_are_the_norms_of_the_gradients_and_the_energies_along_the_way(small, samplers):
    _, _, x, z_app, z_geo = small
    one, long = samplers
    zeros = tuple(np.zeros((3, 2, d), np.float32) for d in (4, 3))
    (_, _), all_three = run_arrays(long, x, None, 1.0, (z_app, z_geo), zeros)
    state = (z_app, z_geo)
    for k in range(3):
        state, single = run_arrays(one, x, None, 1.0, state, tuple(s[:1] for s in zeros))
        np.testing.assert_allclose(all_three.energy[k], single.energy[0], rtol=1e-5)
        np.testing.assert_allclose(all_three.gradient[k], single.gradient[0], rtol=1e-4)


def test_a_diverged_chain_is_reported_with_step_samples_and_advice(small, samplers):
    model, _, x, z_app, z_geo = small
    noise, (_, sampler) = draw_noise(model, 3, 2, 1, "test"), samplers
    broken = z_app.copy()
    broken[1, 0] = np.nan
    latents, diagnostics = run_arrays(sampler, x, None, 1.0, (broken, z_geo), noise)
    with pytest.raises(
        RunFailed,
        match=r"epoch 3, Langevin step 0: 1 of 2 chains diverged, .* not finite \(face "
        r"1\).*step_size",
    ):
        check_chains(
            diagnostics, latents, energy_limit(x[0].size, 1.0), "epoch 3", lambda row: f"face {row}"
        )
    wild = z_app.copy()
    wild[0] = 1e6
    latents, diagnostics = run_arrays(sampler, x, None, 1.0, (wild, z_geo), noise)
    with pytest.raises(RunFailed, match=r"energy \S+ above \S+ \(face 0\)"):
        check_chains(
            diagnostics, latents, energy_limit(x[0].size, 1.0), "epoch 3", lambda row: f"face {row}"
        )
    latents, diagnostics = run_arrays(sampler, x, None, 1.0, (z_app, z_geo), noise)
    check_chains(diagnostics, latents, energy_limit(x[0].size, 1.0), "epoch 3", str)
    with pytest.raises(
        RunFailed, match=r"step 2: 1 of 2 chains diverged, energy, gradient or latents not finite \(1\)"
    ):  # only the last step's result shows it
        check_chains(
            diagnostics,
            (latents[0], np.array([[0.0], [np.inf]])),
            energy_limit(x[0].size, 1.0),
            "epoch 3",
            str,
        )
    broken = z_geo.copy()
    broken[0] = np.nan  # a displacement that is no number must not be read as a place in memory
    latents, diagnostics = run_arrays(sampler, x, None, 1.0, (z_app, broken), noise)
    with pytest.raises(RunFailed, match="not finite"):
        check_chains(diagnostics, latents, energy_limit(x[0].size, 1.0), "epoch 3", str)


def test_only_real_images_are_checked_and_they_are_named(rng, monkeypatch):
    """Not the copies of the first image that fill a batch."""
    sampler = langevin.Langevin(Energy(LinearModel(np.eye(2, 5), np.eye(1, 5))), 0.1, 1)
    x, settings = np.zeros((2, 5), np.float32), ChainSettings(1, 1.0, seed=1, first=3)

    def broken(row):
        def draw(model, steps, count, *_):
            noise = draw_noise(model, steps, count, 1, "test")
            noise[0][:, row] = np.nan
            return noise
        monkeypatch.setattr(unseen, "draw_noise", draw)
        return infer(sampler, x, settings, batch_size=3, names=["a.png", "b.png"])
    assert np.isfinite(np.concatenate(broken(2), 1)).all()
    with pytest.raises(RunFailed, match=r"1 of 2 chains diverged.*\(b.png\). Lower evaluation.step_factor") as failed:
        broken(1)
    assert "learning_rate" not in str(failed.value)


def test_the_noise_of_an_image_is_that_of_its_position(rng):
    """Images that are alike have different chains, also in different batches; they are found again from a later
    start."""
    sampler = langevin.Langevin(Energy(LinearModel(np.eye(2, 5), np.eye(1, 5))), 0.1, 1)
    x, settings = np.zeros((5, 5), np.float32), ChainSettings(2, 1.0, seed=1)
    z = np.concatenate(infer(sampler, x, settings, batch_size=2), 1)
    assert len(np.unique(z)) == z.size
    later = infer(sampler, x[2:], replace(settings, first=2), batch_size=2)
    np.testing.assert_array_equal(np.concatenate(later, 1), z[2:])


def test_an_energy_above_that_of_correct_samples_is_warned_of(rng, caplog):
    """Chains that start in the posterior, whose energy varies, at the mode, whose energy rises by d / 2, or with a
    larger sigma are no reason for a warning."""
    x, settings = np.ones((400, 5), np.float32), ChainSettings(8, 0.5, seed=1)
    for step_size, rises in ((0.3, False), (0.95, True)):  # stable below 2 / sqrt(1 + 1 / sigma^2) = 0.89
        sampler = langevin.Langevin(Energy(LinearModel(np.eye(2, 5), np.zeros((1, 5)))), step_size, 2)
        z = infer(sampler, x, settings, batch_size=400)
        if not rises:
            infer(sampler, x, settings, given=dict(zip(("z_app", "z_geo"), z)), batch_size=400)
            mode = {"z_app": np.full((50, 2), 0.8, np.float32), "z_geo": np.zeros((50, 1), np.float32)}
            for seed in range(10):
                infer(sampler, x[:50], replace(settings, seed=seed, first=400), given=mode, batch_size=400)
            infer(sampler, x, replace(settings, steps=16, sigma_factor=((0, 5.0), (50, 1.0))), batch_size=400)
        assert len(caplog.records) == rises
    assert ("more than correct sampling can explain: the steps are too large. Lower evaluation.step_factor"
            in caplog.records[0].getMessage())


def test_the_gradient_of_the_energy_is_that_of_the_closed_form(rng):
    a, b, sigma = rng.standard_normal((2, 5)), rng.standard_normal((3, 5)), 0.7
    x, z = rng.standard_normal((4, 5)), rng.standard_normal((4, 5))
    inputs = as_tensors([np.float32(v) for v in (x, np.ones((4, 1)), sigma, z[:, :2], z[:, 2:])])
    found = np.concatenate([part.asnumpy() for part in EnergyGradient(Energy(LinearModel(a, b)))(*inputs)], 1)
    w = np.concatenate([a, b])
    np.testing.assert_allclose(found, -(x - z @ w) @ w.T / sigma ** 2 + z, rtol=1e-4, atol=1e-4)


def test_the_limit_of_an_energy_is_by_size_and_sigma():
    still = (np.zeros((1, 2), np.float32),)
    for values, sigma in ((100, 1.0), (10000, 1.0), (100, 0.1)):
        worst = values / (2 * sigma**2)
        for times in (100, 10000):
            diagnostics = Diagnostics(np.full((1, 1), times * worst), np.ones((1, 1, 1)))
            with pytest.raises(RunFailed, match=r"energy \S+ above \S+ \(0\)") if times > 1000 else nullcontext():
                check_chains(diagnostics, still, energy_limit(values, sigma), "epoch 1", str)


def test_an_infinite_energy_or_gradient_is_not_finite():
    still = (np.zeros((1, 2), np.float32),)
    for energy, gradient in ((np.inf, 1.0), (1.0, np.inf), (1.0, np.nan)):
        diagnostics = Diagnostics(np.full((1, 1), energy), np.full((1, 1, 1), gradient))
        with pytest.raises(RunFailed, match="energy, gradient or latents not finite"):
            check_chains(diagnostics, still, 10.0, "epoch 1", str)


def test_given_latents_do_not_change(rng):
    model = LinearModel(rng.standard_normal((2, 4)), rng.standard_normal((3, 4)))
    model.groups = (model.groups[0]._replace(sampled=False), model.groups[1])
    x, label = rng.standard_normal((5, 4)).astype(np.float32), np.eye(2, dtype=np.float32)[[0, 1, 0, 1, 0]]
    z_geo = np.zeros((5, 3), np.float32)
    *_, (labels, geometry) = chains(model, x, 1.0, 0.2, 3, 2, latents=(label, z_geo))
    np.testing.assert_array_equal(labels, label)
    assert np.abs(geometry).min() > 0


def test_the_compiled_sampler_sees_weights_that_the_optimizer_changed(small, samplers):
    model, _, x, z_app, z_geo = small
    sampler = samplers[0]
    step = TrainStep(GeneratorLoss(sampler.energy), adam(model.trainable_params()))
    inputs = (*as_tensors((x, mask_or_ones(2))), ms.Tensor(1.0, ms.float32),
              *as_tensors((z_app, z_geo)))
    zeros = tuple(np.zeros((1, 2, d), np.float32) for d in (4, 3))
    _, before = run_arrays(sampler, x, None, 1.0, (z_app, z_geo), zeros)
    for _ in range(20):
        step(1e-2, [inputs])
    _, after = run_arrays(sampler, x, None, 1.0, (z_app, z_geo), zeros)
    assert (after.energy < before.energy).all()
