"""The Gaussian and the autoregression that samples are drawn from, against chains whose law is known."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dgn import config as cfg
from dgn import page, recipe
from dgn.inference.fitted import FittedPrior, draw_latents, join, split
from dgn.inference.latents import LatentBank
from dgn.nets.build import make_model
from dgn.page.arrays import Packer
from tests.page.javascript import javascript_engine

FRAMES = 9
CLIPS = {"data.frames": FRAMES, "data.size": 16, "model.network": "table5", "model.z_app": 2, "model.z_geo": 3,
         "model.xi_app": 1, "model.xi_geo": 2, "model.width": 8}
CORRELATION = np.array([-0.3, 0.5, 0.95])
SAMPLES = 4000


@pytest.fixture(scope="module")
def model():
    return make_model(recipe.with_overrides(cfg.Config(), CLIPS))


@pytest.fixture(scope="module")
def truth() -> FittedPrior:
    """A law with correlations within and between the groups."""
    rng = np.random.default_rng(0)
    return FittedPrior(rng.standard_normal(5), np.tril(rng.uniform(0.3, 1, (5, 5))), rng.standard_normal(3),
                       rng.uniform(-1, 1, (3, 3)) + np.eye(3), CORRELATION)


def autocovariance(noise: np.ndarray, mean: np.ndarray, lag: int) -> np.ndarray:
    """Covariance of xi_t and xi_{t + lag}, (k, k), over clips and t."""
    centred = noise - mean
    before, after = centred[:, :noise.shape[1] - lag], centred[:, lag:]
    return np.einsum("nti,ntj->ij", before, after) / before[..., 0].size


def expected(law: FittedPrior, lag: int) -> np.ndarray:
    return law.noise_basis * law.correlation ** lag @ law.noise_basis.T


def test_a_known_autoregression_is_recovered_from_a_bank_and_drawn_again(model, truth, tmp_path):
    rng = np.random.default_rng(1)
    latents = draw_latents(model, SAMPLES, rng, fitted=truth)
    assert [z.shape for z in latents] == [(SAMPLES, 2 + 8), (SAMPLES, 3 + 8 * 2)]
    bank = LatentBank.create(tmp_path, model.groups, SAMPLES, 1)
    mask = np.arange(FRAMES) < rng.integers(1, FRAMES + 1, (SAMPLES, 1))  # clips of unequal length
    missing = np.concatenate([np.ones((SAMPLES, 3), bool), mask[:, 1:].repeat(2, 1)], 1)
    bank.write(np.arange(SAMPLES), (latents[0], np.where(missing, latents[1], 100)))
    fit = FittedPrior.fit(model, bank, lambda chosen: mask[chosen])
    assert np.abs(fit.noise_mean).max() < 10 and fit.correlation == pytest.approx(CORRELATION, abs=0.03)
    np.testing.assert_allclose(fit.mean, truth.mean, atol=0.1)
    np.testing.assert_allclose(fit.basis @ fit.basis.T, truth.basis @ truth.basis.T, atol=0.15)
    for lag in range(3):
        np.testing.assert_allclose(expected(fit, lag), expected(truth, lag), atol=0.15)
    drawn = draw_latents(model, SAMPLES, rng, frames=4 * FRAMES, fitted=fit)
    states, noise = split(model, drawn)
    assert noise.shape == (SAMPLES, 4 * FRAMES - 1, 3)
    np.testing.assert_allclose(np.cov(states.T), truth.basis @ truth.basis.T, atol=0.2)
    for lag in (0, 1, 5):
        np.testing.assert_allclose(autocovariance(noise, fit.noise_mean, lag), expected(truth, lag), atol=0.15)
    last = noise[:, -1] - fit.noise_mean  # as at the start: stationary
    np.testing.assert_allclose(last.T @ last / SAMPLES, expected(truth, 0), atol=0.25)


def test_noise_that_is_independent_from_frame_to_frame_is_not_part_of_the_autoregression(truth):
    rng = np.random.default_rng(6)
    states, noise = truth.transform(np.zeros((SAMPLES, 5)), rng.standard_normal((SAMPLES, 12, 3)))
    noisy = noise + (rng.uniform(0.2, 0.7, 3) * rng.standard_normal(noise.shape)) @ truth.noise_basis.T
    fit = FittedPrior.of_arrays(states, noisy, np.ones(noise.shape[:2], bool))
    for lag in range(4):
        np.testing.assert_allclose(expected(fit, lag), expected(truth, lag), atol=0.2)


@pytest.mark.parametrize("weights", [(0.7, 0.7), (0.6, 0.6, -0.5)])
def test_noise_that_is_no_autoregression_keeps_its_variance_and_the_covariance_of_successive_frames(weights):
    """Moving averages, whose values two frames apart are independent, or correlate with the other sign."""
    rng, length = np.random.default_rng(8), len(weights)
    white = rng.standard_normal((2000, 12 + length - 1))
    noise = sum(w * white[:, k:k + 12] for k, w in enumerate(weights))[..., None]
    fit = FittedPrior.of_arrays(np.zeros((2000, 2)), noise, np.ones((2000, 12), bool))
    for lag in (0, 1):
        known = sum(a * b for a, b in zip(weights, weights[lag:]))
        np.testing.assert_allclose(expected(fit, lag), known, atol=0.03)


def test_parts_are_joined_as_they_were_split(model):
    latents = draw_latents(model, 3, np.random.default_rng(2))
    states, noise = split(model, latents)
    np.testing.assert_array_equal(noise[1, 2], np.float64([*latents[0][1, 4:5], *latents[1][1, 7:9]]))
    for z, again in zip(latents, join(model, latents, states, noise)):
        np.testing.assert_array_equal(z, again)


def test_a_clip_of_one_frame_has_no_noise(model):
    latents = draw_latents(model, 3, np.random.default_rng(2), frames=1)
    states, noise = split(model, latents)
    assert states.shape == (3, 5) and noise.shape == (3, 0, 3)
    for z, again in zip(latents, join(model, latents, states, noise)):
        np.testing.assert_array_equal(z, again)


def test_few_samples_give_a_proper_covariance_and_none_the_prior():
    values = np.random.default_rng(3).standard_normal((4, 6))
    fit = FittedPrior.of_arrays(values, np.zeros((4, 0, 0)), np.ones((4, 0), bool))
    centred = values - values.mean(0)
    np.testing.assert_allclose(fit.basis @ fit.basis.T, (centred.T @ centred + 6 * np.eye(6)) / 10)
    for steps in (0, 1, 2):  # of clips of so many frames and one
        noise = np.random.default_rng(7).standard_normal((4, steps, 2))
        short = FittedPrior.of_arrays(values, noise, np.ones((4, steps), bool))
        assert all(np.isfinite(field).all() for field in short) and np.abs(short.correlation).max() <= 1


def test_clips_that_follow_the_prior_keep_their_motion():
    noise = np.random.default_rng(9).standard_normal((300, 15, 10))
    fit = FittedPrior.of_arrays(np.zeros((300, 2)), noise, np.ones((300, 15), bool))
    np.testing.assert_allclose(fit.noise_basis @ fit.noise_basis.T, np.eye(10), atol=0.1)
    assert np.abs(fit.correlation).max() < 0.15
    for t in range(1, 15):  # one direction is slow
        noise[:, t, 3] = 0.9 * noise[:, t - 1, 3] + np.sqrt(1 - 0.9 ** 2) * noise[:, t, 3]
    fit = FittedPrior.of_arrays(np.zeros((300, 2)), noise, np.ones((300, 15), bool))
    np.testing.assert_allclose(fit.noise_basis @ fit.noise_basis.T, np.eye(10), atol=0.15)
    assert fit.correlation.max() == pytest.approx(0.9, abs=0.05) and np.sort(fit.correlation)[-2] < 0.15


def test_short_clips_have_motion(truth):
    rng = np.random.default_rng(8)
    states, noise = truth.transform(rng.standard_normal((SAMPLES, 5)), rng.standard_normal((SAMPLES, 9, 3)))
    have = np.arange(9) < np.ones((SAMPLES, 1))  # one frame after the first, the others padding
    for fit in (FittedPrior.of_arrays(states, noise, have), FittedPrior.of_arrays(states, noise[:, :1], have[:, :1])):
        np.testing.assert_allclose(expected(fit, 0), expected(truth, 0), atol=0.15)


def test_given_labels_are_drawn_in_turn():
    model = make_model(recipe.with_overrides(cfg.Config(), {
        "data.size": 16, "model.appearance": "label", "model.z_app": 3, "model.z_geo": 2, "model.width": 8}))
    fit = FittedPrior(np.array([5.0, -5.0]), np.eye(2), np.zeros(0), np.zeros((0, 0)), np.zeros(0))
    labels, geometry = draw_latents(model, 200, np.random.default_rng(4), fitted=fit)
    np.testing.assert_array_equal(labels[:4], np.eye(3)[[0, 1, 2, 0]])
    np.testing.assert_allclose(geometry.mean(0), [5, -5], atol=0.3)


def test_a_file_is_read_for_its_own_checkpoint_only(truth, tmp_path):
    path = tmp_path / "fitted_prior.npz"
    assert FittedPrior.load(path, "epoch_00002") is None
    truth.save(path, "epoch_00002")
    for values, stored in zip(truth, FittedPrior.load(path, "epoch_00002")):
        np.testing.assert_array_equal(values, stored)
    assert FittedPrior.load(path, "epoch_00003") is None
    path.write_bytes(path.read_bytes()[:200])
    assert FittedPrior.load(path, "epoch_00002") is None
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("mean.npy", b"\x93NUMPY\x01\0\2\0\0(")  # NumPy raises a SyntaxError
    assert FittedPrior.load(path, "epoch_00002") is None


def test_the_page_draws_as_python_does(model, truth):
    normal, packer = draw_latents(model, 2, np.random.default_rng(5)), Packer()
    references = [packer.add(values) for values in truth]
    groups = [{"states": branch.state_size, "length": group.shape[0], "noise": branch.noise_size, "sampled": True}
              for group, branch in zip(model.groups, model.branches)]
    engine = javascript_engine()
    engine.eval((Path(page.__file__).parent / "prior.js").read_text(encoding="utf-8"))
    engine.eval(f"""var prior = DgnPrior.create({json.dumps(references)}, DgnDecoder.bytesOf('{packer.base64()}'),
                    {json.dumps(groups)});
                    function drawn(z) {{
                      return JSON.stringify(prior.transform(z.map((own) => Float32Array.from(own))).map((own) =>
                        Array.from(own)));
                    }}""")
    expected_latents = join(model, normal, *truth.transform(*split(model, normal)))
    for k in range(2):
        for values, z in zip(json.loads(engine.call("drawn", [own[k].tolist() for own in normal])), expected_latents):
            np.testing.assert_allclose(values, z[k], atol=1e-5)
