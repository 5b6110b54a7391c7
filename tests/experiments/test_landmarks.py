"""Landmarks predicted from displacement fields: the split, the controls, the errors."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from dgn import config as cfg
from dgn.data import faces, labels
from dgn.data.faces import FaceSource
from dgn.errors import UserError
from dgn.evaluation.evaluate import DESCENT_STEPS
from dgn.evaluation.landmarks import canonical_landmarks, carried_landmarks, landmark_distances
from dgn.evaluation.uncertainty import standard_error_of_mean
from dgn.experiments import landmarks
from dgn.nets.model import Decoded
from dgn.training.regressor import LandmarkRegressor, RidgeRegressor
from tests.experiments.conftest import COUNT

pytestmark = pytest.mark.slow

TRAINED = COUNT * 4 // 5  # the last fifth is the test


def in_per_cent_of_the_eye_distance(predicted, truth):
    eyes = np.hypot(*(truth[:, 0] - truth[:, 1]).T)
    return 100 * (np.hypot(*np.moveaxis(predicted - truth, -1, 0)).mean(1) / eyes).mean()


def test_errors_on_generated_faces(run):
    result = landmarks.landmarks(run, count=COUNT, epochs=3)
    pictures = result.pop("pictures")
    assert json.loads(run.folder.results_path.read_text())["landmarks"] == result
    assert [p.name for p in pictures if p.is_file()] == ["landmarks.png"]
    assert (result["images"], result["tested"]) == (COUNT, COUNT - TRAINED)
    data = run.config.data
    source = FaceSource(COUNT, data.size, data.seed + 100)
    images, truth = source.read(np.arange(COUNT)), source.landmarks(np.arange(COUNT))
    mean = in_per_cent_of_the_eye_distance(truth[:TRAINED].mean(0), truth[TRAINED:])
    assert result["mean_shape"] == pytest.approx(mean, rel=1e-5)
    fields = run.decode(*run.infer(images, descent_steps=100)).displacement
    predicted = {"carried": carried_landmarks(
        fields[TRAINED:], np.median(canonical_landmarks(fields[:TRAINED], truth[:TRAINED]), 0))}
    for name, features in (("displacement", fields), ("pixels", images)):
        for key, regressor in ((name, LandmarkRegressor(run.config.training.seed, 3)),
                               (f"{name}_ridge", RidgeRegressor())):
            predicted[key] = regressor.fit(features[:TRAINED], truth[:TRAINED]).predict(features[TRAINED:])
    for name, points in predicted.items():
        error = in_per_cent_of_the_eye_distance(points, truth[TRAINED:])
        assert result[name] == pytest.approx(error, rel=1e-5)
        assert result["relative_to_mean_shape"][name] == pytest.approx(error / mean, rel=1e-5)
        spread = result["standard_errors"][name]
        assert spread == pytest.approx(standard_error_of_mean(landmark_distances(points, truth[TRAINED:])), rel=1e-5)
        assert f"{error:.2f} +- {spread:.2f} ({error / mean:.2f})" in landmarks.summary(result)


def test_faces_of_a_labelled_folder(run, marked):
    members = labels.read(marked)
    faces = landmarks.faces_with_landmarks(run, str(marked), crop=(0, 0, 24, 24))
    cropped = cfg.with_crop(run.config.data, (0, 0, 24, 24))
    np.testing.assert_array_equal(faces.images, labels.read_files(marked, [m.file for m in members], cropped))
    np.testing.assert_array_equal(faces.landmarks, labels.cut_landmarks(marked, members, cropped))
    assert faces.files == [marked / member.file for member in members]
    few = landmarks.faces_with_landmarks(run, str(marked), count=3)
    chosen = [members[k] for k in (0, (COUNT - 1) // 2, COUNT - 1)]  # spread over the folder
    np.testing.assert_array_equal(few.landmarks, labels.cut_landmarks(marked, chosen, run.config.data))
    result = landmarks.landmarks(run, data=str(marked), epochs=1)
    assert (result["images"], result["tested"], result["data"]) == (COUNT, COUNT - TRAINED, str(marked))


def test_the_test_images_are_those_that_the_run_was_not_trained_on(config, marked, tmp_path, capsys):
    def is_test(**data):
        trained = SimpleNamespace(config=cfg.changed(config, data=data), folder=SimpleNamespace(path=tmp_path))
        files = sorted(marked.glob("*.png"))
        return landmarks.is_test(trained, files, [file.name for file in files]).tolist()

    last_fifth = [False] * TRAINED + [True] * (COUNT - TRAINED)
    assert is_test(path=str(marked), limit=7, held_out=5) == [False] * 7 + [True] * (COUNT - 7)
    assert is_test() == last_fifth and "unknown" not in capsys.readouterr().out  # trained on generated faces
    assert is_test(path=str(tmp_path / "gone")) == last_fifth
    assert "the images of the run's training are unknown" in capsys.readouterr().out
    with pytest.raises(UserError, match="trained on all of these images"):
        is_test(path=str(marked), limit=None, held_out=0)


def test_every_image_is_tested_once_in_a_cross_validation(run):
    result = landmarks.landmarks(run, count=COUNT, epochs=1, folds=5)
    truth = FaceSource(COUNT, run.config.data.size, run.config.data.seed + 100).landmarks(np.arange(COUNT))
    others = [np.delete(truth, np.s_[k % 5::5], 0).mean(0) for k in range(COUNT)]  # mean shape of the other folds
    assert result["mean_shape"] == pytest.approx(in_per_cent_of_the_eye_distance(np.stack(others), truth), rel=1e-5)
    assert (result["tested"], result["folds"]) == (COUNT, 5)
    with pytest.raises(UserError, match=f"{COUNT + 1} folds are more than the {COUNT} people on {COUNT} images"):
        landmarks.landmarks(run, count=COUNT, folds=COUNT + 1)


def test_no_person_is_trained_on_and_tested(run, tmp_path):
    """Of a folder of generated views, five images a person, which may come in any order."""
    faces.write_folder(tmp_path / "views", "views", COUNT // 5, 16, seed=5)
    images = landmarks.faces_with_landmarks(run, str(tmp_path / "views"))
    people = np.array(images.people)
    assert len(set(images.people)) == COUNT // 5
    folds = landmarks.cross_validation(images.people, 2)
    assert (np.sum(folds, 0) == 1).all()
    for test in (*folds, landmarks.last_share(images.people)):
        assert test.any() and not set(people[test]) & set(people[~test])
    with pytest.raises(UserError, match=f"5 folds are more than the 4 people on {COUNT} images"):
        landmarks.cross_validation(images.people, 5)
    assert landmarks.last_share(["b", "a", "b", "c", "d", "e"]).tolist() == [False] * 5 + [True]
    assert landmarks.last_share(["a", "b", "a"]).tolist() == [False, True, False]
    with pytest.raises(UserError, match=r"all 3 images show one person \(a\)"):
        landmarks.last_share(["a"] * 3)
    (tmp_path / "views" / "identity.txt").write_text(
        "".join(f"{file.name} {'x' if k % 2 else 'y'}\n" for k, file in enumerate(images.files)))
    assert landmarks.faces_with_landmarks(run, str(tmp_path / "views")).people[:3] == ["y", "x", "y"]


def test_the_displacement_fields_of_several_chains_are_averaged(run):
    images = FaceSource(2, run.config.data.size, 7).read(np.arange(2))
    (decoded, mean), (_, first) = (landmarks.infer(run, images, 4, chains) for chains in (2, 1))
    second = run.decode(*run.infer(images, 4, DESCENT_STEPS, seed=run.config.training.seed + 1)).displacement
    np.testing.assert_allclose(mean, (first + second) / 2, atol=1e-5)
    np.testing.assert_array_equal(decoded.displacement, first)
    assert np.abs(first - second).max() > 1e-3  # the chains are not the same
    with pytest.raises(UserError, match="trained with an encoder and has no chains"):
        landmarks.infer(dataclasses.replace(run, encoder=run.model), images, 4, 2)


def test_every_second_chain_of_a_run_with_mirror_images_sees_the_mirror_image(rng):
    """Of an inference whose fields mirror with its images, all chains have one field."""
    seen = []

    def infer(images, steps, descent_steps, seed):
        seen.append(images)
        return (images,)

    def decode(images):  # dx: the difference across, dy: brightness
        x = images[:, 0]
        return Decoded(images, images, np.stack([np.gradient(x, axis=2), x], 1))

    config = cfg.changed(cfg.Config(), data={"mirror": True})
    images = rng.random((2, 1, 6, 8), np.float32)
    run = SimpleNamespace(config=config, encoder=None, infer=infer, decode=decode)
    _, mean = landmarks.infer(run, images, 4, 3)
    np.testing.assert_allclose(mean, decode(images).displacement, atol=1e-6)
    for chain, mirrored in enumerate((False, True, False)):
        np.testing.assert_array_equal(seen[chain], images[..., ::-1] if mirrored else images)


def test_too_few_images_are_refused(run):
    with pytest.raises(UserError, match="8 of 10 images to train a regressor on are too few"):
        landmarks.landmarks(run, count=10)
