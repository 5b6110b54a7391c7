"""The ELBO against closed forms: for a linear model its maximum is the log-likelihood."""

from __future__ import annotations

import json
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from dgn.__main__ import main
from dgn.checks.linear import LinearModel, linear_posterior
from dgn.inference.chains import as_tensors
from dgn.inference.energy import Energy, mask_or_ones
from dgn.training.optim import TrainStep, adam
from dgn.training.trainer import Batch
from dgn.training.vae import AutoEncoder, NegativeElbo
from tests.compiled import batches_of
from tests.training.tiny import arguments, as_it_was, final_state, resume

SIGMA = 0.7


class LinearEncoder(nn.Cell):
    """Means that are linear in x and log-variances that are constant: what a linear model's posterior is."""

    def __init__(self, maps, log_variances) -> None:
        super().__init__()
        self.maps = ms.ParameterTuple(
            [ms.Parameter(ms.Tensor(m.astype(np.float32)), name=f"map{k}") for k, m in enumerate(maps)]
        )
        self.log_variances = ms.ParameterTuple(
            [
                ms.Parameter(ms.Tensor(v.astype(np.float32)), name=f"log_variance{k}")
                for k, v in enumerate(log_variances)
            ]
        )

    def construct(self, x):
        posterior = ()
        for k in range(len(self.maps)):
            mean = ops.matmul(x, self.maps[k])
            posterior = posterior + (mean, ops.zeros_like(mean) + self.log_variances[k])
        return posterior


def inputs(x, noise) -> tuple:
    """The inputs of the objective: images, their mask, sigma, noise of each group."""
    return (*as_tensors((x, mask_or_ones(len(x)))), ms.Tensor(SIGMA, ms.float32), *as_tensors(noise))


def numpy_elbo(a, b, x, means, log_variances, noise):
    z = [m + np.exp(v / 2) * n for m, v, n in zip(means, log_variances, noise)]
    fit = np.square(x - z[0] @ a - z[1] @ b).sum(1) / (2 * SIGMA**2)
    kl = sum(0.5 * (np.exp(v) + m**2 - 1 - v).sum(1) for m, v in zip(means, log_variances))
    return (fit + kl).mean()


def test_the_negative_elbo_is_its_formula(rng):
    a, b, x = rng.standard_normal((2, 5)), rng.standard_normal((3, 5)), rng.standard_normal((8, 5)).astype(np.float32)
    maps, variances = [rng.standard_normal((5, d)) for d in (2, 3)], [rng.standard_normal(d) for d in (2, 3)]
    noise = [rng.standard_normal((8, d)).astype(np.float32) for d in (2, 3)]
    elbo = NegativeElbo(Energy(LinearModel(a, b)), LinearEncoder(maps, variances))
    value = float(elbo(*inputs(x, noise))[0].asnumpy())
    expected = numpy_elbo(a, b, x, [x @ m for m in maps], [np.broadcast_to(v, (8, len(v))) for v in variances], noise)
    assert value == pytest.approx(expected, rel=1e-4)


def test_at_the_true_posterior_it_is_the_negative_log_likelihood(rng):
    """Orthogonal columns make the posterior's dimensions independent, as q has them."""
    w = np.linalg.qr(rng.standard_normal((5, 5)))[0][:4] * np.array([1.5, 1.0, 0.8, 0.5])[:, None]
    a, b = w[:2], w[2:]
    x = rng.standard_normal((4, 5)).astype(np.float32)
    means = np.stack([linear_posterior(a, b, row, SIGMA)[0] for row in x])
    covariance = linear_posterior(a, b, x[0], SIGMA)[1]
    maps = np.linalg.lstsq(x, means, rcond=None)[0]
    elbo = NegativeElbo(
        Energy(LinearModel(a, b)), LinearEncoder([maps[:, :2], maps[:, 2:]], np.split(np.log(np.diag(covariance)), 2))
    )
    draws = [
        float(elbo(*inputs(x, rng.standard_normal((2, 4, 2)).astype(np.float32)))[0].asnumpy()) for _ in range(2000)
    ]
    marginal = SIGMA**2 * np.eye(5) + w.T @ w
    # the energy leaves out the constant log(2 pi sigma^2) / 2 of every pixel
    likelihood = 0.5 * (
        np.einsum("ni,ij,nj->n", x, np.linalg.inv(marginal), x) + np.linalg.slogdet(marginal)[1] - 5 * np.log(SIGMA**2)
    )
    assert np.mean(draws) == pytest.approx(likelihood.mean(), rel=0.02)


def test_the_step_descends_the_gradient_of_encoder_and_model(rng):
    """Adam's first step has the size of the rate and the sign of the gradient; the gradient is a finite difference."""
    a, b, x = rng.standard_normal((2, 5)), rng.standard_normal((3, 5)), rng.standard_normal((8, 5)).astype(np.float32)
    maps, variances = [rng.standard_normal((5, d)) for d in (2, 3)], [rng.standard_normal(d) for d in (2, 3)]
    noise = [rng.standard_normal((8, d)).astype(np.float32) for d in (2, 3)]
    encoder = LinearEncoder(maps, variances)
    model = LinearModel(a, b)
    step = TrainStep(
        NegativeElbo(Energy(model), encoder), adam([*model.trainable_params(), *encoder.trainable_params()])
    )
    ((loss, errors, kl, *means),) = step(1e-3, [inputs(x, noise)])

    def value(m0, v0):
        return numpy_elbo(
            a, b, x, [x @ m0, x @ maps[1]], [np.broadcast_to(v, (8, len(v))) for v in (v0, variances[1])], noise
        )

    assert float(loss) == pytest.approx(value(maps[0], variances[0]), rel=1e-4)
    np.testing.assert_allclose(means[1], x @ maps[1], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(errors, np.square(x - x @ maps[0] @ a - x @ maps[1] @ b).sum(1), rtol=1e-3)
    for k, start in ((0, maps[0]), (1, variances[0])):
        moved = (encoder.maps, encoder.log_variances)[k][0].asnumpy() - start
        for place in np.ndindex(start.shape):
            up, down = start.copy(), start.copy()
            up[place] += 1e-4
            down[place] -= 1e-4
            gradient = (
                (value(up, variances[0]) - value(down, variances[0]))
                if k == 0
                else (value(maps[0], up) - value(maps[0], down))
            )
            assert moved[place] == pytest.approx(-1e-3 * np.sign(gradient), rel=0.05)


def test_an_autoencoder_decodes_the_means_without_noise_and_divergence(rng):
    a, b, x = rng.standard_normal((2, 5)), rng.standard_normal((3, 5)), rng.standard_normal((8, 5)).astype(np.float32)
    maps, noise = [rng.standard_normal((5, d)) for d in (2, 3)], [np.full((8, d), 9, np.float32) for d in (2, 3)]
    encoder = LinearEncoder(maps, [np.full(d, 200.0) for d in (2, 3)])  # of a variance that overflows
    step = TrainStep(NegativeElbo(Energy(LinearModel(a, b)), encoder, variational=False),
                     adam(encoder.trainable_params()))
    trainer = AutoEncoder(SimpleNamespace(energy=Energy(LinearModel(a, b))), step)
    batch = Batch(x, None, tuple(n[None] for n in noise), SIGMA, 1e-3, 0)
    latents, metrics = trainer.step(batch, tuple(noise))
    squared = np.square(x - x @ maps[0] @ a - x @ maps[1] @ b).sum(1)
    np.testing.assert_allclose(metrics.squared_errors, squared, rtol=1e-3)
    assert metrics.loss == pytest.approx(squared.mean() / (2 * SIGMA**2), rel=1e-4) and metrics.scalars == {}
    for z, m in zip(latents, maps):
        np.testing.assert_allclose(z, x @ m, rtol=1e-4, atol=1e-4)
    for k in range(2):
        np.testing.assert_array_equal(encoder.log_variances[k].asnumpy(), 200)
        assert np.abs(encoder.maps[k].asnumpy() - maps[k]).min() > 5e-4


@pytest.fixture
def batches():
    """As small as those of the evaluation."""
    with batches_of(2):
        yield


@pytest.mark.parametrize("kind", ["plain", "deformable"])
@pytest.mark.slow
def test_every_model_learns_by_vae_and_resumes_bit_for_bit(images, batches, tmp_path, kind):
    settings = [
        "--set",
        "training.method=vae",
        "--set",
        f"model.kind={kind}",
        "--set",
        "training.learning_rate=0.01",
        "--set",
        "inference.sigma=0.2",
        "--set",
        "training.checkpoint_every=50",
    ]
    assert main(arguments(images, tmp_path / "whole", 100, *settings, measured=True)) == 0
    whole = final_state(tmp_path / "whole")
    assert whole["records"][-1]["msre"] < 0.8 * whole["records"][0]["msre"] and whole["records"][-1]["kl"] > 0
    assert {"encoder.ckpt", "weights.ckpt", "optimizer.ckpt"} <= set(whole)
    again = as_it_was(tmp_path / "whole", tmp_path / "again", 50)
    assert resume(again) == 0 and final_state(again) == whole
    result = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert result["unseen"]["msre"] > 0 and ("geometry" in result) == (kind == "deformable")
    assert main(["infer", str(tmp_path / "whole"), "--images", str(images), "--output", str(tmp_path / "found")]) == 0
    pictures = {p.name for p in (tmp_path / "whole" / "figures").iterdir()}
    assert ("latent_bases.png" in pictures) == (kind == "plain")
