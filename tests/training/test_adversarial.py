"""Eq. 22 against NumPy and finite differences, in the compiled form that training uses; resuming with a critic."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from dgn import config as cfg
from dgn.__main__ import main
from dgn.checks.linear import LinearModel
from dgn.errors import UserError
from dgn.inference.energy import Energy, mask_or_ones
from dgn.inference.langevin import Langevin
from dgn.nets.build import make_model
from dgn.nets.discriminator import Discriminator, activation, feature_maps, halve
from dgn.nets.gradients import Gradients
from dgn.training.adversarial import ActorLoss, Adversarial, CriticLoss, CriticLosses
from dgn.training.build import check_version, make_trainer
from dgn.training.optim import TrainStep, adam
from dgn.training.trainer import Batch
from tests.training.tiny import arguments, as_it_was, final_state, resume

CRITIC = ["--set", "training.adversarial=nonsaturating", "--set", "training.critic_width=2"]


class SmoothScore(nn.Cell):
    """A score with second derivatives everywhere: v . tanh((2 x - 1) W)."""

    def __init__(self, w: np.ndarray, v: np.ndarray) -> None:
        super().__init__()
        self.w, self.v = (ms.Parameter(ms.Tensor(a.astype(np.float32)), name=name) for a, name in ((w, "w"), (v, "v")))
        self.matmul = ops.MatMul()

    def construct(self, x):
        return self.matmul(ops.tanh(self.matmul(2 * x - 1, self.w)), self.v).reshape((-1,))


def numpy_score(w, v, x):
    return (np.tanh((2 * x - 1) @ w) @ v)[:, 0]


def numpy_critic(w, v, x, made, penalty):
    """-log D(x) - log(1 - D(made)) + penalty / 2 R1 in float64, D the sigmoid of the score, R1 by 2 x - 1."""

    def sigmoid(score):
        return 1 / (1 + np.exp(-score))

    gradient = (1 - np.tanh((2 * x - 1) @ w) ** 2) * v[:, 0] @ w.T
    r1 = np.square(gradient).sum(1).mean()
    loss = -np.log(sigmoid(numpy_score(w, v, x))).mean() - np.log(1 - sigmoid(numpy_score(w, v, made))).mean()
    return loss + penalty / 2 * r1, r1


@pytest.fixture
def scored(rng):
    w, v = rng.standard_normal((5, 7)), rng.standard_normal((7, 1))
    return w, v, rng.standard_normal((6, 5)), rng.standard_normal((6, 5))


def float32(*arrays):
    return [ms.Tensor(a.astype(np.float32)) for a in arrays]


def test_the_critics_loss_with_r1_and_its_gradient_by_the_weights(scored):
    w, v, x, made = scored
    critic = CriticLoss(SmoothScore(w, v), 10.0)
    weights = ms.ParameterTuple(critic.trainable_params())
    (loss, real, unreal, r1), gradients = ms.value_and_grad(critic, None, weights, has_aux=True)(*float32(x, made))
    wanted, wanted_r1 = numpy_critic(w, v, x, made, 10.0)
    assert float(loss.asnumpy()) == pytest.approx(wanted, rel=1e-4) and float(r1.asnumpy()) == pytest.approx(
        wanted_r1, rel=1e-4
    )
    np.testing.assert_allclose(real.asnumpy(), numpy_score(w, v, x), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(unreal.asnumpy(), numpy_score(w, v, made), rtol=1e-3, atol=1e-4)
    for k, (gradient, start) in enumerate(zip(gradients, (w, v))):
        for place in np.ndindex(start.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [w.copy(), v.copy()]
                moved[k][place] += step
                ends.append(numpy_critic(*moved, x, made, 10.0)[0])
            assert gradient.asnumpy()[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=2e-3, abs=2e-3), (
                k,
                place,
            )


def test_without_r1_nothing_of_it_is_computed(scored):
    w, v, x, made = scored
    found = CriticLoss(SmoothScore(w, v), 0.0)(*float32(x, made))
    assert len(found) == 3 and float(found[0].asnumpy()) == pytest.approx(numpy_critic(w, v, x, made, 0)[0], rel=1e-4)


@pytest.mark.parametrize("form", ["nonsaturating", "minimax"])
def test_the_actors_loss_in_both_forms(form, scored, rng):
    w, v, x, _ = scored
    a, b, sigma = rng.standard_normal((2, 5)), rng.standard_normal((3, 5)), 0.7
    z, prior = [rng.standard_normal((6, d)) for d in (2, 3)], [rng.standard_normal((6, d)) for d in (2, 3)]

    def value(a):
        energy = np.square(x - z[0] @ a - z[1] @ b).sum(1) / (2 * sigma**2)
        score = numpy_score(w, v, prior[0] @ a + prior[1] @ b)
        made = 1 / (1 + np.exp(-score))
        adversarial = (np.log(1 - made) if form == "minimax" else -np.log(made)).mean()
        return 0.01 * energy.mean() + adversarial, adversarial

    model = Whole(a, b)
    actor = ActorLoss(Energy(model), [SmoothScore(w, v)], 0.01, form)
    (loss, errors, energy, score), gradients = ms.value_and_grad(
        actor, None, ms.ParameterTuple(model.trainable_params()), has_aux=True
    )(*float32(x, mask_or_ones(6)), ms.Tensor(sigma, ms.float32), *float32(*z, *prior))
    assert float(loss.asnumpy()) == pytest.approx(value(a)[0], rel=1e-4)
    assert actor.adversarial_loss(score.asnumpy()) == pytest.approx(value(a)[1], rel=1e-4)
    assert 0.01 * float(energy.asnumpy()) + value(a)[1] == pytest.approx(value(a)[0], rel=1e-4)
    np.testing.assert_allclose(errors.asnumpy(), np.square(x - z[0] @ a - z[1] @ b).sum(1), rtol=1e-4)
    for place in np.ndindex(a.shape):
        ends = []
        for step in (1e-5, -1e-5):
            moved = a.copy()
            moved[place] += step
            ends.append(value(moved)[0])
        assert gradients[0].asnumpy()[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=2e-3, abs=2e-3)


class Whole(LinearModel):
    """A linear model that can be called for its image."""

    def construct(self, z_app, z_geo):
        return (self.compose((self.branches[0](z_app), self.branches[1](z_geo))),)


def test_the_discriminator_of_every_size(rng):
    for size in (16, 64):
        net = Discriminator(3, size, 2, seed=1)
        x = ms.Tensor(rng.random((3, 3, size, size)).astype(np.float32))
        assert net(x).shape == (3,) and np.isfinite(net(x).asnumpy()).all()
    assert feature_maps(256, 4) == [4, 8, 16, 32, 64, 64, 64] and feature_maps(16, 2) == [2, 4, 8]
    one = Discriminator(1, 16, 2, seed=1)
    batch = rng.random((4, 1, 16, 16)).astype(np.float32)  # no image's score depends on the others
    others = np.concatenate([rng.random((2, 1, 16, 16)).astype(np.float32), batch[2:3], batch[:1]])
    np.testing.assert_allclose(
        one(ms.Tensor(batch)).asnumpy()[2:3], one(ms.Tensor(others)).asnumpy()[2:3], rtol=1e-4, atol=1e-6
    )


@pytest.fixture(scope="module")
def critics():
    """A critic with R1 and one without on the same small network, and the gradients of their losses to the kernels and
    the last layer's weights; each is compiled once, for batches of two images."""
    net = Discriminator(1, 16, 2, seed=3)
    weights = ms.ParameterTuple([*(p for p in net.trainable_params() if p.ndim == 4), net.score.weight])
    pair = CriticLoss(net, 1.0), CriticLoss(net, 0.0)
    gradients = [ms.value_and_grad(critic, None, weights, has_aux=True) for critic in pair]

    def gradients_of_r1(x):
        """Twice the difference of the two gradients, since the penalty is half of R1."""
        ours = (gradient(x, x)[1] for gradient in gradients)
        return [2 * (a - b).asnumpy() for a, b in zip(*ours)]

    return SimpleNamespace(net=net, kernels=weights[:-1], with_r1=pair[0], gradients_of_r1=gradients_of_r1)


def test_r1_of_the_discriminator_agrees_with_finite_differences_of_its_score(critics, rng):
    """Along a direction in the image, and its gradient along a direction in the weights."""
    net = critics.net
    x = rng.random((2, 1, 16, 16)).astype(np.float32)
    gradient = Gradients(net)(ms.Tensor(x), ms.Tensor(np.ones(2, np.float32)))[0].asnumpy()
    direction = rng.standard_normal(x.shape).astype(np.float32)
    step = 2e-3
    ends = [net(ms.Tensor(x + sign * step * direction)).asnumpy().astype(np.float64).sum() for sign in (1, -1)]
    assert (gradient * direction).sum() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.02)
    r1 = float(critics.with_r1(ms.Tensor(x), ms.Tensor(x))[3].asnumpy())
    assert r1 == pytest.approx(np.square(gradient / 2).reshape(2, -1).sum(1).mean(), rel=1e-4)  # by 2 x - 1
    # R1 is a square in the last layer's weights: its gradient is known in closed form
    of_r1 = critics.gradients_of_r1(ms.Tensor(x))[-1]
    assert (of_r1 * net.score.weight.asnumpy()).sum() == pytest.approx(2 * r1, rel=1e-3)  # Euler's theorem


def test_the_gradient_of_r1_by_the_kernels_agrees_with_finite_differences(critics, rng):
    """The second derivative through convolutions, averages and activations. R1 jumps at the activations' kinks: large
    biases keep away from most, and a direction in which two steps do not agree has met one."""
    weights, with_r1 = critics.kernels, critics.with_r1
    x = ms.Tensor(rng.random((2, 1, 16, 16)).astype(np.float32))
    biases = [p for p in critics.net.trainable_params() if p.ndim == 1 and not p.name.startswith("score")]
    starts = [p.asnumpy().copy() for p in weights]

    def difference(direction, step):
        ends = []
        for sign in (1, -1):
            for p, start, d in zip(weights, starts, direction):
                ops.assign(p, ms.Tensor(start + np.float32(sign * step) * d))
            ends.append(float(with_r1(x, x)[3].asnumpy()))
        return (ends[0] - ends[1]) / (2 * step)

    for _ in range(20):
        for p in biases:
            ops.assign(p, ms.Tensor((40 * rng.choice([-1, 1], p.shape)).astype(np.float32)))
        direction = [(rng.standard_normal(s.shape) * np.abs(s).mean()).astype(np.float32) for s in starts]
        wanted = difference(direction, 1e-3)
        if difference(direction, 3e-3) == pytest.approx(wanted, rel=2e-3):
            break
    for p, start in zip(weights, starts):
        ops.assign(p, ms.Tensor(start))
    found = sum(float((a * d).sum()) for a, d in zip(critics.gradients_of_r1(x), direction))
    assert found == pytest.approx(wanted, rel=5e-3)


def test_a_critic_that_was_trained_with_another_r1_is_not_continued(tmp_path):
    saved = tmp_path / "run" / "checkpoints" / "epoch_00001"
    saved.mkdir(parents=True)
    (saved / "state.json").write_text('{"epoch": 1}')  # as it was before versions were recorded
    old = cfg.changed(cfg.Config(), training={"adversarial": "minimax", "r1_weight": 1.5})
    with pytest.raises(UserError, match=r"before 0\.2\.0, .*training\.init_from=.*run and training\.r1_weight=6 "):
        check_version(old, saved)
    check_version(cfg.changed(old, training={"r1_weight": 0}), saved)
    check_version(cfg.Config(), saved)
    (saved / "state.json").write_text('{"epoch": 1, "version": 2}')
    check_version(old, saved)


def test_lazy_r1_changes_the_critic_by_its_weight_times_the_interval(rng):
    """The critic's gradient in an iteration with R1 differs from that without by r1_weight * r1_interval / 2 times
    R1's."""
    config = cfg.changed(
        cfg.Config(),
        data={"size": 16},
        model={"width": 8, "z_app": 4, "z_geo": 3},
        training={"adversarial": "nonsaturating", "critic_width": 2, "r1_weight": 5.0, "r1_interval": 4,
                  "micro_batches": 2},
    )
    trainer = make_trainer(config, make_model(config))
    steps = trainer.update, trainer.critic_with_r1, trainer.critic_without_r1
    assert [step.micro_batches for step in steps] == [2, 2, 2]
    x, fake = (ms.Tensor(rng.random((2, 3, 16, 16)).astype(np.float32)) for _ in range(2))
    with_r1, without = (step.objective for step in (trainer.critic_with_r1, trainer.critic_without_r1))
    loss, _, _, r1 = with_r1(x, fake)
    assert float((loss - without(x, fake)[0]).asnumpy()) == pytest.approx(0.5 * 5 * 4 * float(r1.asnumpy()), rel=1e-3)
    actor, critic = trainer.optimizers["optimizer"], trainer.optimizers["critic_optimizer"]
    assert trainer.critic_without_r1.optimizer is critic
    assert not {id(p) for p in actor.parameters} & {
        id(p) for p in critic.parameters
    }  # neither updates the other's weights


def test_pixels_are_averaged_and_activations_leak():
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    np.testing.assert_array_equal(halve(ms.Tensor(x)).asnumpy()[0, 0], [[2.5, 4.5], [10.5, 12.5]])
    np.testing.assert_allclose(activation(ms.Tensor(np.array([-2, 3], np.float32))).asnumpy(), [-0.4, 3], rtol=1e-6)


SETTINGS = ("training.r1_interval=3", "training.likelihood_weight=0.1", "training.learning_rate=0.005",
            "training.checkpoints_kept=25")


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory) -> Path:
    """A run with a critic, with R1 in every third iteration."""
    folder = tmp_path_factory.mktemp("critic") / "whole"
    assert main(arguments(images, folder, 25, *CRITIC, *(w for s in SETTINGS for w in ("--set", s)))) == 0
    return folder


@pytest.mark.slow
def test_a_run_with_a_critic_learns_and_resumes_bit_for_bit(whole, tmp_path):
    """The resumed run must continue the sequence of iterations with and without R1."""
    ended = final_state(whole)
    first, last = ended["records"][0], ended["records"][-1]
    assert last["msre"] < first["msre"] and {"critic", "actor", "r1", "score_real", "score_fake"} <= set(last)
    assert {"critic.ckpt", "critic_optimizer.ckpt"} <= set(ended)
    again = as_it_was(whole, tmp_path / "again", 20)
    assert resume(again) == 0 and final_state(again) == ended


def test_micro_batches_give_the_same_weights_as_the_whole_batch(scored, rng):
    """In three iterations, the first and the last with R1; nor do the moments of the optimizers differ, which have the
    scale of the gradients, or what is logged."""
    w, v, *_ = scored
    a, b, x = rng.standard_normal((2, 5)), rng.standard_normal((3, 5)), rng.standard_normal((3, 6, 5))
    noise = [rng.standard_normal((3, 3, 6, d)).astype(np.float32) for d in (2, 3)]  # of each iteration

    def trained(parts):
        """Every weight and moment after the iterations, and the metrics of each."""
        score, model = SmoothScore(w, v), Whole(a, b)
        actor = ActorLoss(Energy(model), [score], 0.1, "nonsaturating")
        of_actor, of_critic = adam(model.trainable_params()), adam(score.trainable_params())
        critics = [TrainStep(CriticLosses([score], r1_weight), of_critic, None, parts) for r1_weight in (2.0, 0.0)]
        trainer = Adversarial(Langevin(actor.energy, 0.2, 1), TrainStep(actor, of_actor, None, parts), *critics, 1, 2)
        latents, logged = tuple(np.zeros((6, d), np.float32) for d in (2, 3)), []
        for iteration in range(3):
            batch = Batch(x[iteration].astype(np.float32), None, tuple(own[iteration] for own in noise), 0.7, 0.01,
                          iteration)
            latents, metrics = trainer.step(batch, latents)
            logged += [metrics.loss, *metrics.squared_errors, *metrics.scalars.values()]
        assert "r1" in metrics.scalars
        return [*(p.asnumpy() for own in (of_actor, of_critic) for p in own.get_parameters()), *latents, logged]

    whole, halves = trained(1), trained(2)
    assert len(whole) == len(halves)
    for expected, found in zip(whole, halves):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("setting", ["training.method=vae", "model.appearance=label", "data.frames=4"])
@pytest.mark.slow
def test_where_it_has_no_meaning_it_is_refused(images, tmp_path, setting, capsys):
    assert main(arguments(images, tmp_path / "run", 1, *CRITIC, "--set", setting)) == 2
    assert "training.adversarial needs" in capsys.readouterr().err
