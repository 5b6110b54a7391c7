"""The exchange measure on models that are known to separate or to ignore the factors."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation.exchange import exchange_correlations, probe
from dgn.nets.model import Decoded


def picture(brightness, place):
    """A bright bar on a gray background: the bar's place is geometry, the background's brightness appearance."""
    x = np.arange(32)
    bar = np.exp(-0.5 * ((x - 16 - 6 * place[:, None]) / 3) ** 2)
    return (0.5 + 0.2 * brightness[:, None, None, None] + 0.2 * bar[:, None, None, :]).repeat(32, 2)


def run(decode, rng, faces=300):
    train = rng.uniform(-1, 1, (800, 2))
    predict = probe(picture(train[:, 0], train[:, 1]), train, 1e-3)
    factors = rng.uniform(-1, 1, (faces, 2))
    return exchange_correlations(decode, predict, ("brightness", "place"), factors, factors[:, :1], factors[:, 1:])


def separating(z_app, z_geo):
    image = picture(z_app[:, 0], z_geo[:, 0])
    return Decoded(image, image, None)


def test_a_model_that_separates(rng):
    result = run(separating, rng)
    assert result["place"]["own"] > 0.95 and result["brightness"]["own"] > 0.95
    assert result["place"]["geometry_donor_stderr"] < 0.01
    # of independent values: 1 / sqrt(n) for the faces whose geometry or appearance is shown, not for the pairs
    assert 0.02 < result["place"]["appearance_donor_stderr"] < 0.1
    assert result["place"]["geometry_donor"] > 0.95 and abs(result["place"]["appearance_donor"]) < 0.2
    assert result["brightness"]["appearance_donor"] > 0.95 and abs(result["brightness"]["geometry_donor"]) < 0.2


def test_donors_among_few_faces_do_not_correlate_by_chance():
    for seed in range(4):  # all ordered pairs of 20 donors correlate by -1/19
        result = run(separating, np.random.default_rng(seed), faces=20)
        assert result["place"]["appearance_donor"] == pytest.approx(-1 / 19, abs=0.03)
        assert result["place"]["geometry_donor"] > 0.95


def test_an_image_that_ignores_the_latents_correlates_with_neither_donor(rng):
    def decode(z_app, z_geo):
        image = picture(np.zeros(len(z_app)), np.zeros(len(z_app)))
        return Decoded(image, image, None)
    for donors in run(decode, rng).values():
        assert len(donors) == 5 and donors == pytest.approx(dict.fromkeys(donors, 0), abs=1e-6)
