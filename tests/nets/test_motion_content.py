"""MoCoGAN's generator: the recurrent unit, what content and noise affect, gradients of the energy, a step of each
training."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from dgn import recipe
from dgn.checks.reference import numpy_stack
from dgn.errors import UserError
from dgn.inference import langevin
from dgn.inference.chains import draw_noise, run_arrays
from dgn.inference.energy import Energy
from dgn.inference.fitted import join, split
from dgn.nets.build import make_critics, make_model
from dgn.nets.layers import ScaledLayer, parameter_count
from dgn.nets.model import decode
from dgn.training import parameters
from dgn.training.adversarial import critic_inputs
from dgn.training.build import make_trainer
from dgn.training.dry_run import describe
from dgn.training.trainer import Batch
from tests.nets.test_dynamic import central_difference

FRAMES, SIZE, CONTENT, STATES, NOISE = 3, 16, 4, 3, 2
SETTINGS = ["model.kind=plain", f"data.size={SIZE}", f"model.z_app={CONTENT}", f"model.z_geo={STATES}",
            f"model.xi_geo={NOISE}", "model.width=8", "inference.steps=1", "inference.sigma=0.7"]
CLIPS = [*SETTINGS, f"data.frames={FRAMES}"]
CRITICS = ["training.adversarial=nonsaturating", "training.critic_width=2", "training.likelihood_weight=0",
           "training.r1_interval=2"]


def latents(model, count, rng):
    return tuple(rng.standard_normal((count, *group.shape)).astype(np.float32) for group in model.groups)


def clips(rng):
    """Two clips, of which the second lacks the last frame, and their mask."""
    x, mask = rng.random((2, FRAMES, 3, SIZE, SIZE)).astype(np.float32), np.ones((2, FRAMES), np.float32)
    x[1, -1] = mask[1, -1] = 0
    return x, mask


@pytest.fixture(scope="module")
def model():
    """Recurrent weights of deviation 1, so that frames differ, and biases that are not 0."""
    model, rng = make_model(recipe.load(None, CLIPS)), np.random.default_rng(4)
    for p in model.branches[1].get_parameters():
        p.set_data(ms.Tensor((rng.standard_normal(p.shape) * (1 if p.ndim == 2 else 0.3)).astype(np.float32)))
    return model


def numpy_motion(weights, z):
    """h_1 .. h_T of the equations of GatedRecurrence, (N, T, m), in float64."""

    def layer(kind, gate, x):
        name = f"branches.1.recurrence.{kind}.{gate}"
        return x @ weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    h, states = z[:, :STATES], []
    for xi in np.moveaxis(z[:, STATES:].reshape(len(z), -1, NOISE), 1, 0):
        r, u = (sigmoid(layer("of_noise", gate, xi) + layer("of_state", gate, h)) for gate in (0, 1))
        c = np.tanh(layer("of_noise", 2, xi) + r * layer("of_state", 2, h))
        h = (1 - u) * c + u * h
        states.append(h)
    return np.stack(states, 1)


def float64(model):
    """Parameters by name, as their layers use them."""
    scales = {f"{name}.weight": cell.scale for name, cell in model.cells_and_names() if isinstance(cell, ScaledLayer)}
    return {name: p.asnumpy().astype(np.float64) * scales.get(name, 1) for name, p in model.parameters_and_names()}


def test_motion_is_that_of_a_gated_recurrent_unit(model, rng):
    z = latents(model, 3, rng)[1]
    motion = model.branches[1](ms.Tensor(z)).asnumpy()
    assert motion.shape == (3, FRAMES, STATES) and np.abs(np.diff(motion, axis=1)).mean() > 0.1
    np.testing.assert_allclose(motion, numpy_motion(float64(model), z.astype(np.float64)), atol=1e-5)


def test_each_frame_is_the_plain_generators_image_of_content_and_motion(model, rng, tmp_path):
    """The content is the same in all frames. The plain model of images has the same weights."""
    plain = make_model(recipe.load(None, SETTINGS))
    parameters.save(tmp_path / "weights.ckpt", plain)
    clip_model = make_model(recipe.load(None, [*CLIPS, "training.seed=2"]))
    parameters.load(tmp_path, {"weights": clip_model},
                    parameters.Conversion(clip_model.names_from(0), clip_model.image_channels))
    content, motion = latents(clip_model, 2, rng)
    image = decode(clip_model, content, motion).image
    states = clip_model.branches[1](ms.Tensor(motion)).asnumpy()
    for t in range(FRAMES):
        expected = decode(plain, np.concatenate([content, states[:, t]], 1)).image
        np.testing.assert_allclose(image[:, t], expected, atol=1e-5)
    assert clip_model.names_from(FRAMES) == {"": ""}


def test_latents_change_the_frames_that_they_are_said_to_affect(model, rng):
    z = latents(model, 1, rng)
    image = decode(model, *z).image[0]
    for g, group in enumerate(model.groups):
        for d in range(group.shape[0]):
            changed = [own.copy() for own in z]
            changed[g][0, d] += 1
            differs = np.abs(decode(model, *changed).image[0] - image).max((1, 2, 3)) > 0
            np.testing.assert_array_equal(differs, group.frames_affected[:, d] > 0, err_msg=f"{group.name} {d}")
    assert group.frames_affected[:, -NOISE:].sum(0).tolist() == [1, 1]  # the last noise: the last frame alone


def test_gradients_to_the_latents_agree_with_finite_differences(model, rng):
    (x, mask), z = clips(rng), latents(model, 2, rng)
    weights, architecture = float64(model), model.generator.stack.architecture

    def energy(content, motion):
        states = numpy_motion(weights, motion)
        inputs = np.concatenate([content[:, None].repeat(FRAMES, 1), states], 2).reshape(-1, CONTENT + STATES)
        image = 0.5 * numpy_stack(weights, "generator.stack", architecture, inputs).reshape(x.shape) + 0.5
        error = (np.square(x - image) * mask[:, :, None, None, None]).sum((1, 2, 3, 4))
        return error / (2 * 0.7 ** 2) + (np.square(content).sum(1) + np.square(motion).sum(1)) / 2

    sampler = langevin.Langevin(Energy(model), 1.0, 1, langevin.Options("simultaneous"))
    new, diagnostics = run_arrays(sampler, x, mask, 0.7, z, tuple(0 * own[None] for own in z))
    exact = [own.astype(np.float64) for own in z]
    np.testing.assert_allclose(diagnostics.energy[0], energy(*exact), rtol=1e-4)
    for g in range(2):
        gradient = 2 * (z[g] - new[g])  # z' = z - gradient / 2 for delta = 1
        for d in range(z[g].shape[1]):  # of both clips at once: neither's energy depends on the other
            expected = central_difference(lambda own, g=g: energy(*(own if k == g else exact[k] for k in range(2))),
                                          exact[g], np.eye(z[g].shape[1])[d])
            assert gradient[:, d] == pytest.approx(expected, rel=5e-3, abs=5e-3), (g, d)


def test_fitted_latents_are_split_by_frame_and_joined(model, rng):
    z = latents(model, 2, rng)
    states, noise = split(model, z)
    assert states.shape == (2, CONTENT + STATES) and noise.shape == (2, FRAMES, NOISE)
    np.testing.assert_array_equal(noise[:, -1], z[1][:, -NOISE:])
    for own, joined in zip(z, join(model, z, states, noise)):
        np.testing.assert_array_equal(own, joined)


def make_step(settings, rng):
    """A trainer, a batch and latents."""
    config = recipe.load(None, [*CLIPS, *settings])
    model = make_model(config)
    trainer, (x, mask), z = make_trainer(config, model), clips(rng), latents(model, 2, rng)
    total = sum(map(parameter_count, trainer.networks.values()))
    assert f"parameters   {total:,} (" in describe(config, trainer, 2, "CPU")
    return trainer, Batch(x, mask, draw_noise(model, trainer.draws, 2, 1, "test"), 0.7, 0.01, 0), z


def unchanged_by_step(trainer, batch, z):
    """Names of the weights that a step leaves as they were, and its metrics."""
    before = {(network, name): p.asnumpy().copy() for network, cell in trainer.networks.items()
              for name, p in cell.parameters_and_names()}
    new, metrics = trainer.step(batch, z)
    assert all(np.isfinite(own).all() and (own != old).any() for own, old in zip(new, z))
    return [f"{network} {name}" for network, cell in trainer.networks.items()
            for name, p in cell.parameters_and_names()
            if name.endswith("weight") and (p.asnumpy() == before[network, name]).all()], metrics


@pytest.mark.slow
def test_a_step_of_alternating_back_propagation(rng):
    unchanged, metrics = unchanged_by_step(*make_step([], rng))
    assert unchanged == [] and metrics.squared_errors.shape == (2,)


@pytest.mark.slow
def test_a_step_with_a_critic_of_frames_and_one_of_clips(rng):
    """The means of the logged scores are those of the initial networks for a frame and for the whole of each clip. The
    actor's loss is that of other samples, for the critics after their update."""
    trainer, batch, z = make_step(CRITICS, rng)
    place = trainer.langevin_steps
    fake, of_actor = (decode(trainer.model, *(noise[place + draw] for noise in batch.noise)).image
                      * batch.mask[:, :, None, None, None] for draw in (0, 1))
    chosen = np.where(batch.mask > 0, batch.noise[1][place + 2][:, :FRAMES], -np.inf).argmax(1)
    critics = trainer.critic_with_r1.objective.discriminators

    def scores(x):
        inputs = x[np.arange(2), chosen], x.reshape(2, -1, SIZE, SIZE)
        return [critic(ms.Tensor(np.ascontiguousarray(images))).asnumpy() for critic, images in zip(critics, inputs)]

    expected = {f"{prefix}{key}": score.mean() for key, x in (("score_real", batch.x), ("score_fake", fake))
                for prefix, score in zip(("", "clip_"), scores(x))}
    unchanged, metrics = unchanged_by_step(trainer, batch, z)
    scalars = metrics.scalars
    assert metrics.loss == pytest.approx(scalars["actor"])  # without a likelihood term
    assert scalars["actor"] == pytest.approx(sum(np.log1p(np.exp(-score)).mean() for score in scores(of_actor)),
                                             rel=1e-5)
    assert set(trainer.networks) == {"weights", "critic", "clip_critic"} and unchanged == []
    assert scalars["r1"] > 0 and scalars["clip_r1"] > 0 and scalars["r1"] != scalars["clip_r1"]
    assert {key: scalars[key] for key in expected} == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_frame_that_a_critic_is_given_is_one_that_the_clip_has(rng):
    config = recipe.load(None, [*CLIPS, *CRITICS])
    trainer = make_trainer(config, make_model(config))
    mask = np.tile(np.array([[1, 1, 1], [1, 1, 0]], np.float32), (200, 1))
    noise = draw_noise(trainer.model, trainer.draws, 400, 3, "test")
    part = Batch(ms.Tensor(mask), ms.Tensor(mask), noise, 1.0, 1.0, 0)
    chosen = trainer.random_frames(part)[0].asnumpy()
    assert (chosen.sum(1) == 1).all() and (chosen <= mask).all()
    np.testing.assert_allclose(chosen[::2].mean(0), 1 / 3, atol=0.1)
    assert critic_inputs(ms.Tensor(mask))[0].shape == mask.shape  # of images the images themselves


def test_one_optimizer_holds_both_critics():
    config = recipe.load(None, [*CLIPS, *CRITICS])
    names = [p.name for critic in make_critics(config, make_model(config)) for p in critic.trainable_params()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("settings, message", [
    (["training.method=vae"], "data.frames needs training.method abp; it is vae"),
    (["model.recurrence=native"], "clips of model.kind plain need auto or stock"),
    (["model.kind=deformable", "training.adversarial=minimax"], "or clips of model.kind plain"),
    (["training.freeze=geometry"], "training.freeze needs model.kind deformable; it is plain")])
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(UserError, match=message):
        recipe.load(None, [*CLIPS, *settings])
