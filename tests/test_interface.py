"""The public interface, as a notebook uses it."""

from __future__ import annotations

import copy
import dataclasses
import doctest
import json
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

import dgn
from dgn import config as cfg
from dgn import randomness
from dgn.data.source import Subset
from dgn.evaluation import chain_encoder
from dgn.inference import unseen
from dgn.nets.build import make_chain_encoder
from dgn.nets.model import LatentGroup, checked_given
from dgn.run_folder import RunFolder
from dgn.training import checkpoint
from tests.compiled import batches_of
from tests.moved import moved
from tests.training.tiny import SETTINGS

pytestmark = pytest.mark.slow

OVERRIDES = {**dict(setting.split("=") for setting in SETTINGS), "training.epochs": 2, "training.learning_rate": 0.005}


@pytest.fixture(scope="module", autouse=True)
def batches():
    """As large as those of the training."""
    with batches_of(4):
        yield


@pytest.fixture(scope="module")
def run(images, tmp_path_factory) -> dgn.Run:
    output = tmp_path_factory.mktemp("runs") / "run"
    return dgn.train(dgn.Config(), output, {**OVERRIDES, "data.path": str(images)}, device="CPU")


def test_a_trained_run_is_loaded_again_with_the_same_model(run):
    again = dgn.load(str(run.folder.path), device="CPU")
    z = run.bank.read(np.arange(3))
    np.testing.assert_array_equal(again.decode(*z).image, run.decode(*z).image)
    assert again.config == run.config and again.encoder is None
    assert len(again.bank) == 8


def test_latents_are_along_principal_axes_and_the_checkpoint_holds_them_as_trained(run, tmp_path):
    z, everyone = run.bank.read(np.arange(8)), tmp_path / "run"
    shutil.copytree(run.folder.path, everyone)
    saved = everyone / "checkpoints" / run.checkpoint.name
    files = json.loads((saved / checkpoint.MANIFEST).read_text())
    del files[checkpoint.AXES]
    (saved / checkpoint.MANIFEST).write_text(json.dumps(files))
    (saved / checkpoint.AXES).unlink()
    as_trained = dgn.load(everyone)
    raw = as_trained.bank.read(np.arange(8))
    for mine, theirs in zip(run.decode(*z), as_trained.decode(*raw)):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    for own, group, other in zip(z, run.model.groups, raw):
        np.testing.assert_allclose(own @ own.T, other @ other.T, atol=1e-4)  # a rotation
        stack = run.model.branches[run.model.groups.index(group)].stack
        strength = np.square(stack.dense.weight.asnumpy()).sum(1)
        assert strength[0] == strength.max() > strength[-1]


def test_latents_have_names_and_can_be_recombined(run, images):
    source = dgn.images(images, like=run)
    z = run.infer(source, steps=4)
    assert z.appearance.shape == (10, 4) and z.geometry.shape == (10, 3)
    assert repr(run) == f"Run('{run.folder.path}', epoch_00002, z_app 4, z_geo 3)"
    assert repr(run.folder) == f"RunFolder('{run.folder.path}')"
    assert repr(run.bank) == "LatentBank(8 samples, z_app 4, z_geo 3)"
    np.testing.assert_array_equal(source[2:4], source.read(np.arange(2, 4)))
    np.testing.assert_array_equal(source[-1], source.read(np.array([9]))[0])
    np.testing.assert_array_equal(source[[5, 1]], source.read(np.array([5, 1])))
    with pytest.raises(IndexError):
        source[10]
    recombined = run.decode(z.appearance, z.geometry[::-1])
    own = run.decode(*z)
    assert recombined.image.shape == (10, 3, 16, 16) and 0 <= recombined.image.min() <= recombined.image.max() <= 1
    np.testing.assert_array_equal(recombined.appearance, own.appearance)
    np.testing.assert_array_equal(recombined.displacement, own.displacement[::-1])
    np.testing.assert_array_equal(run.infer(source.read(np.arange(10)), steps=4).geometry, z.geometry)  # arrays, too


def test_images_in_memory_are_cut_as_those_of_a_folder(run, images):
    source = dgn.images(images, like=run)
    large = np.stack([np.asarray(PIL.Image.open(path).convert("RGB")) for path in source.paths(source.indices())])
    inside = dgn.images(large, like=run)
    np.testing.assert_array_equal(inside[:], source[:])
    assert inside.names[:2] == ["000000", "000001"] and source.names[3] == "003.png"
    assert repr(inside) == "ArrayImages(10 samples of 3 x 16 x 16)"
    assert dgn.images(large[..., 0], like=run).shape == dgn.images(large[..., :1], like=run).shape == (3, 16, 16)
    for wrong in (large / 255, large[0], large[:0], large[..., :2]):
        with pytest.raises(dgn.UserError, match="must be the path of a folder, or an array"):
            dgn.images(wrong, like=run)
    with pytest.raises(dgn.UserError, match="images are list; they must be the path of a folder"):
        dgn.images([images / "000.png"], like=run)
    config = cfg.changed(run.config, data={"crop": (0, 0, 8, 999)})
    cropped = dataclasses.replace(run, folder=SimpleNamespace(config=config))
    with pytest.raises(dgn.UserError, match="reaches outside of this image"):
        dgn.images(large, like=cropped)


def test_threads_use_a_run_one_after_the_other(run, images):
    """Without a lock MindSpore ends the process."""
    x, z = dgn.images(images, like=run)[:4], run.bank.read(np.arange(4))
    expected = run.decode(*z).image, run.infer(x, steps=4).geometry
    with ThreadPoolExecutor(3) as pool:
        decoded = [pool.submit(lambda: run.decode(*z).image) for _ in range(6)]
        inferred = [pool.submit(lambda: run.infer(x, steps=4).geometry) for _ in range(3)]
    for results, value in zip((decoded, inferred), expected):
        for result in results:
            np.testing.assert_array_equal(result.result(), value)


def test_an_error_of_the_users_callback_keeps_the_training(images, tmp_path):
    def fail(run, epochs):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        dgn.train(dgn.Config(), tmp_path / "run",
                  {**OVERRIDES, "data.path": str(images), "training.checkpoint_every": 2}, after_epoch=fail)
    assert checkpoint.newest_valid(tmp_path / "run" / "checkpoints").name == "epoch_00001"


def test_inference_lowers_the_energy_and_descends_to_a_mode(run, images):
    x = dgn.images(images, like=run).read(np.arange(4))
    start = [np.zeros((4, *group.shape), np.float32) for group in run.model.groups]
    mode = run.infer(x, steps=0, descent_steps=200)
    assert (run.energy(x, mode) < run.energy(x, start)).all()


def test_a_trajectory_is_the_course_of_infer(run, images):
    source = dgn.images(images, like=run)
    x = source[:4]
    course, z = run.trajectory(x, 4, descent_steps=2), run.infer(x, 4, descent_steps=2)
    for of_group, last in zip(course.latents, z):
        assert of_group.shape == (6, *last.shape)
        np.testing.assert_array_equal(of_group[-1], last)
    zeros = [np.zeros_like(last) for last in z]
    assert course.energy.shape == (6, 4) and course.gradient_norms.shape == (6, 2, 4)
    np.testing.assert_allclose(course.energy[0], run.energy(x, zeros), rtol=1e-5)
    np.testing.assert_allclose(course.energy[3], run.energy(x, [of_group[2] for of_group in course.latents]), rtol=1e-5)
    last = course.latents.geometry[3]  # before the descent
    more, same = (run.trajectory(x, 1, [of_group[3] for of_group in course.latents], seed) for seed in (7, None))
    assert 0 < np.abs(more.latents.geometry[0] - last).max() < 1
    first = run.trajectory(x, 1).latents.geometry[0]
    drift = run.trajectory(x, 0, course.latents._replace(
        appearance=course.latents.appearance[3], geometry=last), descent_steps=1).latents.geometry[0] - last
    still = run.trajectory(x, 0, descent_steps=1).latents.geometry[0]
    # the same seed gives the same noise; alternating groups see a little of each other's
    np.testing.assert_allclose(same.latents.geometry[0] - last - drift, first - still, atol=0.02)
    with pytest.raises(dgn.UserError, match="a trajectory needs at least 1"):
        run.trajectory(x, 0)


def test_few_samples_of_a_source_are_in_memory_and_their_latents_are_the_same(run, images, monkeypatch):
    source, read = dgn.images(images, like=run), []
    whole, course = run.infer(source, 2), run.trajectory(source, 2)
    modes = run.training_latents(1)
    monkeypatch.setattr(unseen, "BATCHES", 1)
    monkeypatch.setattr(type(source), "read", lambda self, indices, of=type(source).read:
                        read.append(len(indices)) or of(self, indices))
    for mine, theirs in ((run.infer(source, 2), whole), (run.training_latents(1), modes),
                         (run.trajectory(source, 2).latents, course.latents)):
        for own, other in zip(mine, theirs):
            np.testing.assert_array_equal(own, other)
    assert max(read) == 4 and course.latents.geometry.shape == (2, 10, 3) and course.energy.shape == (2, 10)


def test_the_gradient_of_the_energy_is_its_derivative(run, images):
    x, z = dgn.images(images, like=run)[:4], dgn.Latents(*run.bank.read(np.arange(4)))
    gradient = run.energy_gradient(x, z)
    for name, of_group in gradient._asdict().items():
        norm = np.linalg.norm(of_group, axis=1)
        ends = [run.energy(x, z._replace(**{name: getattr(z, name) + step * of_group / norm[:, None]}))
                for step in (0.03, -0.03)]
        np.testing.assert_allclose((ends[0] - ends[1]) / 0.06, norm, rtol=0.05)
    course = run.trajectory(x, 1, z)  # the first group moves first
    np.testing.assert_allclose(np.linalg.norm(gradient.appearance, axis=1), course.gradient_norms[0, 0], rtol=1e-4)


def test_chains_start_from_given_latents_of_all_or_of_named_groups(run, images):
    x, z = dgn.images(images, like=run)[:4], dgn.Latents(*run.bank.read(np.arange(4)))
    chains = run.chain_settings(2)
    started = run.infer_batch(x, chains, given=z)
    named = run.infer_batch(x, chains, given={"z_geo": z.geometry, "z_app": z.appearance.tolist()})
    np.testing.assert_array_equal(started.geometry, named.geometry)
    assert np.abs(started.geometry - run.infer_batch(x, chains).geometry).max() > 0.1
    for given, message in (({"appearance": z.appearance}, "given has appearance; .* are z_app, z_geo"),
                           (z.rows(slice(2)), r"given z_app has the shape \(2, 4\); it must be \(4, 4\)"),
                           (z[:1], "given is tuple; it must be latents of z_app, z_geo"),
                           (z.geometry, "given is ndarray"), ({"z_geo": np.nan * z.geometry}, "of finite numbers"),
                           ({"z_geo": "first"}, "latents are str")):
        with pytest.raises(dgn.UserError, match=message):
            run.infer_batch(x, chains, given=given)
    labelled = SimpleNamespace(groups=(LatentGroup("z_app", (4,), sampled=False), LatentGroup("z_geo", (3,))))
    with pytest.raises(dgn.UserError, match="given has no z_app, which this model takes as the label of each image"):
        checked_given(labelled, {"z_geo": z.geometry}, 4)


def test_a_run_cannot_be_copied(run):
    """MindSpore cannot copy its cells, and says so in other words."""
    for copied in (copy.deepcopy, pickle.dumps):
        with pytest.raises(dgn.UserError, match=r"cannot be copied or pickled; call dgn.load\(path\) again"):
            copied(run)


def test_energy_is_eq_8_of_the_decoded_image(run, images):
    x, z = dgn.images(images, like=run).read(np.arange(4)), run.bank.read(np.arange(4))
    sigma = 1.5  # the config's in the first epochs
    squared = np.square(x - run.decode(*z).image).sum((1, 2, 3))
    expected = squared / (2 * sigma**2) + sum(np.square(a).sum(1) for a in z) / 2
    np.testing.assert_allclose(run.energy(x, z), expected, rtol=1e-4)


def test_only_frames_of_clips_can_be_masked(run, images):
    x, z = dgn.images(images, like=run)[:2], run.bank.read(np.arange(2))
    for mask in (np.ones((2, 1)), np.ones((2, 3, 16, 16))):
        with pytest.raises(dgn.UserError, match="pixels cannot be masked"):
            run.energy(x, z, mask)
        with pytest.raises(dgn.UserError, match="pixels cannot be masked"):
            run.infer_batch(x, run.chain_settings(1), mask)


def test_samples_depend_on_their_seed(run):
    first, again, other = run.sample(5, seed=0), run.sample(5, seed=0), run.sample(5, seed=1)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.image.shape == (5, 3, 16, 16) and np.abs(first.image - other.image).max() > 0
    with pytest.raises(dgn.UserError, match="prior is 'posterior'; it must be one of fitted, prior"):
        run.sample(5, prior="posterior")


def test_samples_are_drawn_from_the_stored_fit_and_without_it_from_one_made_on_the_spot(run, tmp_path):
    again = dgn.load(run.folder.path, device="CPU")
    states = np.concatenate(run.bank.read(np.arange(8)), 1).astype(float)
    np.testing.assert_allclose(again.fitted_prior.mean, states.mean(0), atol=1e-6)
    with moved(run.folder.fitted_prior, tmp_path / "elsewhere"):
        unfitted = dgn.load(run.folder.path, device="CPU")
        np.testing.assert_array_equal(unfitted.sample(3).image, again.sample(3).image)
        again.fitted_prior._replace(mean=states.mean(0) + 9).save(run.folder.fitted_prior, run.checkpoint.name)
        shifted = dgn.load(run.folder.path, device="CPU")
        assert np.abs(shifted.sample(3).image - again.sample(3).image).max() > 0
        np.testing.assert_array_equal(shifted.sample(3, prior="prior").image, again.sample(3, prior="prior").image)


def test_evaluate_and_draw_take_a_run(run, images, tmp_path):
    result = dgn.evaluate(run)
    assert result["train"]["msre"] == pytest.approx(
        np.square(run.sources.train.read(np.arange(8)) - run.decode(*run.bank.read(np.arange(8))).image)
        .sum((1, 2, 3))
        .mean(),
        rel=1e-4,
    )
    assert json.loads(run.folder.results_path.read_text())["unseen"] == result["unseen"]
    pictures = dgn.draw(run, tmp_path / "figures", gamma=2)
    assert all(path.stat().st_size > 1000 for path in pictures) and len(pictures) == 7


def test_new_images_are_not_selected_by_the_pattern_of_the_training(run, images):
    config = dgn.Config(data=dataclasses.replace(run.config.data, pattern="no such file"))
    assert len(dgn.images(images, like=SimpleNamespace(config=config))) == 10


def test_arrays_of_another_kind_are_user_errors(run, images):
    x, (z_app, z_geo) = dgn.images(images, like=run).read(np.arange(4)), run.bank.read(np.arange(4))
    for wrong, message in ((str(images), "images are str"), (x.transpose(0, 2, 3, 1), r"float32 \(4, 16, 16, 3\)"),
                           (x[:, :, ::2, ::2], r"must be an array \(N, 3, 16, 16\)"), (x[0], "must be an array"),
                           (x[:0], "must be an array"), ((255 * x).astype(np.uint8), "images are uint8"),
                           (255 * x, "they must be .* in .0, 1."), (np.nan * x, "images have values from nan")):
        with pytest.raises(dgn.UserError, match=message):
            run.infer(wrong, steps=4)
    np.testing.assert_allclose(run.infer(x.astype(float), steps=4).geometry, run.infer(x, steps=4).geometry)
    for latents in ((z_app,), (z_geo, z_app), (z_app[:2], z_geo), (z_app[0], z_geo[0]), (z_app[:0], z_geo[:0])):
        with pytest.raises(dgn.UserError, match=r"latents have the shapes .* this model has z_app \(N, 4\), z_geo"):
            run.decode(*latents)
    for count in (0, 2.5):
        with pytest.raises(dgn.UserError, match=f"count is {count}"):
            run.sample(count)
    with pytest.raises(dgn.UserError, match="frames is 5, and this model makes images"):
        run.sample(2, frames=5)
    for steps in (-1, 1.5):
        with pytest.raises(dgn.UserError, match=f"steps is {steps}; it must be an integer"):
            run.infer(x, steps=steps)
        with pytest.raises(dgn.UserError, match=f"descent_steps is {steps}; it must be an integer"):
            run.training_latents(steps)
    with pytest.raises(dgn.UserError, match="images are uint8"):
        run.energy((255 * x).astype(np.uint8), (z_app, z_geo))
    with pytest.raises(dgn.UserError, match="latents have the shapes"):
        run.energy(x, (z_geo, z_app))
    with pytest.raises(dgn.UserError, match="there are 4 images, but latents of 2"):
        run.energy(x, (z_app[:2], z_geo[:2]))
    with pytest.raises(dgn.UserError, match=r"z.rows\(slice\(2\)\) are the first of z; z\[:n\] are groups"):
        run.energy(x[:2], dgn.Latents(z_app, z_geo)[:2])
    for latents in (("a", "b"), ({"z_app": z_app},), (z_app + 1j, z_geo), (None, z_geo), ([[1.0], [1.0, 2.0]], z_geo)):
        with pytest.raises(dgn.UserError, match="latents are .* of real numbers"):
            run.decode(*latents)
    for seed in (-1, "a", 1.5):
        with pytest.raises(dgn.UserError, match=f"seed is {seed!r}; it must be an integer"):
            run.infer(x, steps=4, seed=seed)
        with pytest.raises(dgn.UserError, match=f"seed is {seed!r}"):
            run.sample(1, seed=seed)
    with pytest.raises(dgn.UserError, match="the run is None; it must be the path of a run folder"):
        dgn.load(None)


def test_latents_are_decoded_one_by_one_or_in_one_piece(run):
    z = dgn.Latents(*run.bank.read(np.arange(3)))
    decoded = run.decode(*z)
    for whole in (z, list(z)):
        np.testing.assert_array_equal(run.decode(whole).image, decoded.image)
    for some, whole in zip(z.rows([2, 0]), z):
        np.testing.assert_array_equal(some, whole[[2, 0]])
    with pytest.raises(dgn.UserError, match="latents have values that are not finite"):
        run.decode(np.where(np.arange(4) == 1, np.nan, z.appearance), z.geometry)


def test_latents_of_an_image_do_not_depend_on_how_many_follow_it(run, images):
    x = dgn.images(images, like=run).read(np.arange(6))
    z = run.infer(x, steps=6)
    assert np.abs(z.geometry - run.infer(x, steps=6, seed=2).geometry).max() > 0.1
    for count in (1, 4):
        np.testing.assert_allclose(run.infer(x[:count], steps=6).geometry, z.geometry[:count], atol=1e-4)


def test_results_say_how_latents_were_inferred(run):
    def settings(run, *args, **options):
        return run.chain_settings(*args, **options).recorded()

    assert settings(run) == {"start": "mean", "steps": run.config.evaluation.steps}
    by_two = dataclasses.replace(run, sampler=SimpleNamespace(steps=2))
    assert settings(by_two, 7) == {"start": "mean", "steps": 8}
    assert by_two.chain_settings(7, 1).steps == 8 and by_two.chain_settings(7, 1).descent_steps == 2
    assert settings(by_two, 0, 1) == {"start": "mean", "steps": 0, "descent_steps": 2}
    encoded = dataclasses.replace(run, chain_encoder=object())
    assert settings(encoded) == {"start": "encoder", "steps": run.config.evaluation.encoder_steps}
    assert settings(encoded, use_encoder=False) == settings(run)
    assert settings(dataclasses.replace(run, encoder=object()), 7) == {"start": "encoder", "steps": 0}


def test_sigma_is_annealed_from_the_mean_also_if_the_run_has_an_encoder(run, images, monkeypatch):
    config = cfg.changed(run.config, evaluation={"sigma_factor": ((0, 0.1), (50, 1.0))})
    annealed = dataclasses.replace(run, folder=RunFolder(run.folder.path, config),
                                   chain_encoder=make_chain_encoder(config, run.model))
    source = dgn.images(images, like=run)
    x = source[:4]
    z = annealed.infer(x, steps=4, use_encoder=False)
    chains = annealed.chain_settings(4, use_encoder=False)
    np.testing.assert_array_equal(annealed.infer_batch(x, chains).geometry, z.geometry)
    plain = dataclasses.replace(run, chain_encoder=annealed.chain_encoder)
    assert np.abs(plain.infer(x, steps=4, use_encoder=False).geometry - z.geometry).max() > 0.001
    continued, expected = (some.trajectory(x, 4, z, seed=9) for some in (annealed, plain))  # not annealed again
    np.testing.assert_array_equal(continued.latents.geometry, expected.latents.geometry)
    monkeypatch.setattr(chain_encoder, "PLAIN_STEPS", (4,))
    compared = chain_encoder.compare(annealed, Subset(source, np.arange(2)))
    energy = annealed.energy(x[:2], annealed.infer(x[:2], steps=4, use_encoder=False)).mean()
    (measured,) = compared["mean"]
    assert measured["steps"] == 4 and measured["energy"] == pytest.approx(energy, rel=1e-6)


def test_mistakes_are_user_errors(run, tmp_path):
    with pytest.raises(dgn.UserError, match="holds no run"):
        dgn.load(tmp_path, device="CPU")
    with pytest.raises(dgn.UserError, match="no such folder"):
        dgn.images(tmp_path / "nowhere", like=run)
    with pytest.raises(dgn.UserError, match="already holds a run"):
        dgn.train(dgn.Config(), run.folder.path, {**OVERRIDES, "data.path": run.config.data.path}, device="CPU")
    with pytest.raises(dgn.UserError, match="config is dict; it must be the path of a recipe or a dgn.Config"):
        dgn.train({"training.epochs": 2}, tmp_path / "run", device="CPU")
    with pytest.raises(dgn.UserError, match=r"model is .'kind': 'plain'.; it must be a dgn.config.Model"):
        dgn.Config(model={"kind": "plain"})
    for function in (dgn.evaluate, dgn.draw, lambda path: dgn.images(path, like=path)):
        with pytest.raises(dgn.UserError, match="takes a Run, not the path .*; dgn.load opens it"):
            function(str(run.folder.path))
    with pytest.raises(dgn.UserError, match="images are ndarray; dgn.images"):
        dgn.evaluate(run, np.zeros((2, 3, 16, 16), np.float32))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dgn.nothing  # noqa: B018


def test_every_public_name_is_there_and_documented():
    for name in dgn.__all__:
        value = getattr(dgn, name)
        assert value.__doc__ and len(value.__doc__) > 10, name
    assert set(dgn.__all__) <= set(dir(dgn))


def test_importing_the_package_imports_no_mindspore():
    program = (
        "import sys, dgn; assert 'mindspore' not in sys.modules and 'cv2' not in sys.modules; dgn.Run; "
        "assert 'mindspore' in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", program], check=True, env={"PYTHONPATH": str(Path(dgn.__file__).parents[1])}, timeout=100
    )


def test_examples_in_docstrings_run():
    assert doctest.testmod(randomness).attempted and doctest.testmod(randomness).failed == 0
