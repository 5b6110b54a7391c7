"""Alternating back-propagation lowers the error, and its parts follow Algorithm 1."""

from __future__ import annotations

import json

import mindspore as ms
import numpy as np
import pytest

from dgn.__main__ import main
from dgn.checks.linear import LinearModel
from dgn.inference.energy import Energy, full_mask, roughness
from dgn.inference.langevin import as_tensors
from dgn.training.abp import MeanEnergy
from dgn.training.optim import TrainStep, adam
from dgn.training.progress import clock
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
    assert 0.5 < records[-1]["z_app_std"] < 1.6 and records[-1]["non_finite"] == 0


def test_the_weight_update_follows_eq_9(rng):
    """Adam's first step has the size of the learning rate and the sign of the gradient of the mean squared error / (2
    sigma^2)."""
    a, b = rng.standard_normal((2, 5)), rng.standard_normal((3, 5))
    model = LinearModel(a, b)
    x, z_app, z_geo = (rng.standard_normal((8, d)).astype(np.float32) for d in (5, 2, 3))
    step = TrainStep(MeanEnergy(Energy(model)), adam(model.trainable_params()))
    ((loss, errors),) = step(
        0.01, [(*as_tensors((x, full_mask(8))), ms.Tensor(0.7, ms.float32), *as_tensors((z_app, z_geo)))]
    )
    residual = x - z_app @ a - z_geo @ b
    np.testing.assert_allclose(errors, np.square(residual).sum(1), rtol=1e-4)
    assert float(loss) == pytest.approx(np.square(residual).sum(1).mean() / (2 * 0.7**2), rel=1e-4)
    for branch, before, z in zip(model.branches, (a, b), (z_app, z_geo)):
        gradient = -z.T @ residual / len(x)
        np.testing.assert_allclose(branch.weights.asnumpy(), before - 0.01 * np.sign(gradient), atol=1e-4)


def test_roughness_is_the_sum_of_squared_differences():
    field = np.zeros((1, 2, 4, 5), np.float32)
    field[0, 0] = 3 * np.arange(5)  # 4 rows x 4 differences of 3
    field[0, 1] = np.arange(4)[:, None]  # 3 x 5 differences of 1
    assert roughness(ms.Tensor(field)).asnumpy()[0] == 16 * 9 + 15


def test_times_are_readable():
    assert [clock(s) for s in (3, 89, 600, 9000)] == ["3 s", "89 s", "10 min", "2.5 h"]
