"""Covariance of latents with the view."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dgn import config as cfg
from dgn.data import labels
from dgn.data.faces import VIEWS, FaceSource
from dgn.errors import UserError
from dgn.experiments import views
from tests.experiments.conftest import FEI_VIEWS, PEOPLE

pytestmark = pytest.mark.slow


def test_r_is_that_of_eq_21_in_both_bases(run):
    run.folder.add_results(train={"msre": 1.0})
    result = views.views(run, people=PEOPLE)
    written = json.loads(run.folder.results_path.read_text())
    assert written["train"] == {"msre": 1.0}  # other sections stay
    pictures = result.pop("pictures")
    assert written["views"] == result and [p.name for p in pictures if p.is_file()] == [
        "views_r.png", "views_lines.png", "views_traversals.png"]

    images = views.images_by_view(run.config.data, None, PEOPLE)
    theta = np.array(list(images)) / np.linalg.norm(list(images))  # these views have mean 0
    latents = run.infer(np.concatenate(list(images.values())))
    for name, z in zip(("z_app", "z_geo"), latents):
        means = z.reshape(len(images), PEOPLE, -1).mean(1)
        np.testing.assert_allclose(result["dimensions"]["groups"][name]["r"], np.abs(theta @ means), rtol=1e-4)
        # a rotation of the axes leaves the norm of all covariances unchanged
        norms = [np.linalg.norm(result[kind]["groups"][name]["r"]) for kind in views.AXES]
        assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    largest = {name: max(group["r"]) for name, group in result["principal"]["groups"].items()}
    assert result["principal"]["ratio"] == pytest.approx(largest["z_geo"] / largest["z_app"])
    assert f"ratio {result['principal']['ratio']:.2f}" in views.summary(result).splitlines()[1]


def test_views_of_a_labelled_folder(run, fei):
    result = views.views(run, data=str(fei), crop=(5, 2, 23, 20), people=PEOPLE)
    assert result["principal"]["views"] == sorted(FEI_VIEWS.values())
    assert np.shape(result["principal"]["groups"]["z_geo"]["means"]) == (5, 3)


def test_images_are_of_the_same_people_at_every_view(config, fei):
    images = views.images_by_view(config.data, str(fei), 2, (5, 2, 23, 20))
    cropped = cfg.with_crop(config.data, (5, 2, 23, 20))
    for number, view in FEI_VIEWS.items():
        files = [f"{person}-{number}.jpg" for person in (1, 2)]
        np.testing.assert_array_equal(images[view], labels.read_files(fei, files, cropped))
    faces = views.images_by_view(config.data, None, 3)
    assert list(faces) == list(VIEWS) and not np.array_equal(faces[-30.0], faces[30.0])
    other_people = FaceSource(3, config.data.size, config.data.seed + 100, view=15.0)
    np.testing.assert_array_equal(faces[15.0], other_people.read(np.arange(3)))


def test_one_person_is_refused(run):
    with pytest.raises(UserError, match="one person is too few"):
        views.views(run, people=1)
