"""Samples of images compared with the training images."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation.sample_quality import frechet_distance
from dgn.experiments import sampling
from dgn.run import PRIORS
from tests.experiments.tiny_clips import results


def test_samples_of_both_distributions_are_measured(run, monkeypatch):
    monkeypatch.setattr(sampling, "IMAGES", 16)
    drawn = {}
    monkeypatch.setattr(sampling.pictures, "samples", lambda path, images, prior: drawn.update({prior: images}) or path)
    sampling.sampling(run, count=5, seed=2, prior="prior")
    result = sampling.sampling(run, count=5, seed=2)
    real = run.sources.train.read(np.arange(16))
    for name in PRIORS:
        assert result[name]["frechet"] == pytest.approx(frechet_distance(run.sample(16, 2, name).image, real), rel=1e-4)
        np.testing.assert_allclose(drawn[name], run.sample(5, 2, name).image)
    assert result["frechet_of_halves"] == pytest.approx(frechet_distance(real[::2], real[1::2]), rel=1e-4)
    measured = {name: value for name, value in result.items() if name != "pictures"}
    assert results(run.folder.path)["sampling"] == measured
    assert list(measured) == [*PRIORS, "frechet_of_halves", "versions", "provenance"]
    assert f"samples of the prior {result['prior']['frechet']:.4f}" in sampling.summary(result)
