"""Alternating back-propagation lowers the error, and its parts follow Algorithm 1."""

from __future__ import annotations

import json
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest

from dgn import config as cfg
from dgn import recipe
from dgn.__main__ import main
from dgn.checks.linear import LinearModel
from dgn.distributed import ProcessGroup
from dgn.inference.chains import as_tensors, run_arrays
from dgn.inference.decorrelation import Decorrelation, moments
from dgn.inference.energy import Energy, mask_or_ones, roughness
from dgn.inference.langevin import Langevin, Options
from dgn.inference.latents import LatentBank
from dgn.training import loop
from dgn.training.abp import AlternatingBackPropagation, GeneratorLoss
from dgn.training.before_epoch import prepare_epoch
from dgn.training.build import TrainingState
from dgn.training.checkpoint import Position
from dgn.training.optim import TrainStep, adam
from dgn.training.trainer import Batch, StepMetrics, Sums
from tests.training.test_adversarial import Whole
from tests.training.tiny import arguments, write_images


@pytest.mark.slow
def test_training_lowers_the_error_and_keeps_the_latents_near_their_prior(tmp_path):
    output = tmp_path / "run"
    assert (
        main(
            arguments(
                write_images(tmp_path / "images"),
                output,
                60,
                "--set",
                "training.learning_rate=0.005",
                "--set",
                "training.checkpoint_every=60",
            )
        )
        == 0
    )
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["msre"] < 0.7 * records[0]["msre"]
    assert 0.5 < records[-1]["z_app_std"] < 1.6


@pytest.mark.parametrize("parts", [1, 2])
def test_the_weight_update_follows_eq_9(rng, parts):
    """Adam's first step has the size of the learning rate and the sign of the gradient of the mean squared error / (2
    sigma^2), its first moment a tenth of it; also if the batch is given in parts."""
    a, b = rng.standard_normal((2, 5)), rng.standard_normal((3, 5))
    model = LinearModel(a, b)
    x, z_app, z_geo = (rng.standard_normal((8, d)).astype(np.float32) for d in (5, 2, 3))
    step = TrainStep(GeneratorLoss(Energy(model)), adam(model.trainable_params()), None, parts)
    losses, errors = zip(*step(0.01, [
        (*as_tensors((part, mask_or_ones(len(part)))), ms.Tensor(0.7, ms.float32), *as_tensors(z))
        for part, *z in zip(*(np.split(array, parts) for array in (x, z_app, z_geo)))]))
    residual = x - z_app @ a - z_geo @ b
    np.testing.assert_allclose(np.concatenate(errors), np.square(residual).sum(1), rtol=1e-4)
    assert np.mean(losses) == pytest.approx(np.square(residual).sum(1).mean() / (2 * 0.7**2), rel=1e-4)
    for branch, moment, before, z in zip(model.branches, step.optimizer.moment1, (a, b), (z_app, z_geo)):
        gradient = -z.T @ residual / len(x)
        np.testing.assert_allclose(branch.weights.asnumpy(), before - 0.01 * np.sign(gradient), atol=1e-4)
        np.testing.assert_allclose(moment.asnumpy(), 0.1 * gradient / 0.7**2, rtol=1e-3, atol=1e-6)


def test_the_penalty_of_the_mean_displacement_is_half_its_squared_norm(rng):
    """Of the mean over the batch: what one image is displaced by another may undo."""
    a, b, x, z_app, z_geo = (rng.standard_normal(shape) for shape in ((2, 5), (3, 5), (8, 5), (8, 2), (8, 3)))
    loss, _ = GeneratorLoss(Energy(LinearModel(a, b)), 0.3)(
        *as_tensors(np.float32(v) for v in (x, mask_or_ones(8), 0.7, z_app, z_geo)))
    likelihood = np.square(x - z_app @ a - z_geo @ b).sum(1).mean() / (2 * 0.7 ** 2)
    penalty = 0.3 / 2 * np.square((z_geo @ b).mean(0)).sum()
    assert float(loss.asnumpy()) == pytest.approx(likelihood + penalty, rel=1e-4)


@pytest.mark.parametrize("parts", [1, 2])
def test_decorrelation_follows_the_langevin_steps_and_precedes_the_update(rng, parts):
    a, b, batch_size = rng.standard_normal((2, 5)), rng.standard_normal((3, 5)), 8
    model, decorrelation = LinearModel(a, b), Decorrelation(2, 3)
    noise = tuple(rng.standard_normal((2, batch_size, d)).astype(np.float32) for d in (2, 3))
    x, *latents = (rng.standard_normal((batch_size, d)).astype(np.float32) for d in (5, 2, 3))
    sampler = Langevin(Energy(model), 0.2, 2)
    (z_app, z_geo), _ = run_arrays(sampler, x, None, 0.7, tuple(latents), noise)
    decorrelation.update(moments(rng.standard_normal((50, 2)), rng.standard_normal((50, 3)) + 1), 0.5)
    expected = z_app - (z_geo - decorrelation.mean.asnumpy()) @ decorrelation.weights.asnumpy()
    assert np.abs(expected - z_app).max() > 0.01
    errors = np.square(x - expected @ a - z_geo @ b).sum(1)

    step = TrainStep(GeneratorLoss(Energy(model)), adam(model.trainable_params()), None, parts)
    trainer = AlternatingBackPropagation(sampler, step, 2, decorrelation)
    new, metrics = trainer.step(Batch(x, None, noise, 0.7, 0.01, 0), tuple(latents))
    np.testing.assert_allclose(new[0], expected, atol=1e-5)
    np.testing.assert_allclose(new[1], z_geo, atol=1e-5)
    np.testing.assert_allclose(metrics.squared_errors, errors, rtol=1e-4)


def test_before_an_epoch_the_preconditioner_is_estimated_and_chains_are_restarted(rng, tmp_path):
    """Of a linear model E[J^T J] is known, whatever the chains."""
    config = recipe.load(None, ["inference.preconditioner=gauss_newton", "inference.sigma=[[0, 0.8], [3, 0.4]]",
                                "inference.restart_every=2"])
    maps, everyone = (rng.standard_normal((2, 5)), rng.standard_normal((3, 5))), np.arange(7)
    model = Whole(*maps)
    sampler = Langevin(Energy(model), 0.5, 1, Options(preconditioned=True))
    trainer = SimpleNamespace(model=model, sampler=sampler, decorrelation=None)
    state = TrainingState(trainer, LatentBank.create(tmp_path, model.groups, 7, seed=1), range(7), ProcessGroup())
    chains = state.bank.read(everyone)
    for epoch, resumed, sigma, restarted in ((0, False, 0.8, False), (1, False, 0.8, False), (2, False, 0.8, True),
                                             (3, False, 0.4, False), (4, True, 0.4, False)):
        state.bank.write(everyone, chains)
        prepare_epoch(config, state, epoch, resumed)
        assert [not z.any() for z in state.bank.read(everyone)] == [restarted] * 2
        for inverse, w in zip(sampler.preconditioner.inverses, maps):
            expected = np.linalg.inv(w @ w.T / sigma ** 2 + np.eye(len(w)))
            np.testing.assert_allclose(inverse.asnumpy(), expected, rtol=1e-3, atol=1e-5)


def test_the_error_of_a_clip_is_that_of_the_frames_that_it_has(monkeypatch):
    """And the error of an image its own: the mean over 4 frames, then over these and two images."""
    x, mask = np.zeros((2, 3, 1, 4, 4), np.float32), np.array([[1, 1, 1], [1, 0, 0]], np.float32)
    clips, images = Batch(x, mask, (), 1.0, 0.1, 0), Batch(x[:, 0], None, (), 1.0, 0.1, 0)
    for given, msre in (([clips], 8 / 4), ([clips, images], 16 / 6)):
        monkeypatch.setattr(loop, "batches", lambda *_, given=given: [(np.arange(2), batch) for batch in given])
        monkeypatch.setattr(loop, "_iteration", lambda *_: StepMetrics(1.0, np.array([6.0, 2.0]), {}))
        sums = loop._run_epoch(cfg.Config(), None, SimpleNamespace(step=lambda *_: None), np.zeros((2, 2)),
                               Position(0, 0), Sums(), lambda: loop.Due(False, False), None)
        assert sums.means()["msre"] == pytest.approx(msre)


def test_a_callback_after_an_epoch_has_the_smoothness_of_the_last_one(monkeypatch):
    """As a Run has it, whatever that of the epoch is."""
    given: list[float] = []
    seen: list[float] = []
    energy = SimpleNamespace(smooth=True, set_smoothness=given.append)
    state = TrainingState(SimpleNamespace(sampler=SimpleNamespace(energy=energy)),
                          SimpleNamespace(flush=lambda: None), None, ProcessGroup())
    for name, result in (("prepare_epoch", None), ("order_of_epoch", np.zeros((1, 1))), ("_run_epoch", Sums()),
                         ("_latent_statistics", {}), ("_save", None)):
        monkeypatch.setattr(loop, name, lambda *_, result=result, **__: result)
    config = recipe.load(None, ["training.epochs=2", "inference.smoothness=[[0, 0.2], [1, 0.9]]"])
    loop.run_epochs(SimpleNamespace(config=config, log_metrics=lambda record: None), state,
                    SimpleNamespace(epoch=lambda *_: None), after_epoch=lambda done: seen.append(given[-1]))
    assert seen == [0.9, 0.9]


def test_roughness_is_the_sum_of_squared_differences():
    field = np.zeros((1, 2, 4, 5), np.float32)
    field[0, 0] = 3 * np.arange(5)  # 4 rows x 4 differences of 3
    field[0, 1] = np.arange(4)[:, None]  # 3 x 5 differences of 1
    assert roughness(ms.Tensor(field)).asnumpy()[0] == 16 * 9 + 15
