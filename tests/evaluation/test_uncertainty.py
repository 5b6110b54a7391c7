"""Standard errors against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation.uncertainty import bootstrap_standard_error, plus_minus, standard_error_of_mean


def test_the_error_of_a_mean_is_the_closed_form(rng):
    values = rng.standard_normal(400)
    # 200 replicates: a deviation of 5 %
    assert standard_error_of_mean(values) == pytest.approx(values.std() / 20, rel=0.15)


def test_values_of_one_person_are_not_independent(rng):
    people = rng.standard_normal(100)
    values, units = np.repeat(people, 5), np.repeat([f"P{k}" for k in range(100)], 5)
    assert standard_error_of_mean(values, units) == pytest.approx(people.std() / 10, rel=0.15)
    assert standard_error_of_mean(values) < 0.6 * standard_error_of_mean(values, units)
    # units of unequal size: the mean of all values, not of the units' means
    few = np.array([1.0, 1, 1, 1, 0])
    assert standard_error_of_mean(few, [0, 0, 0, 0, 1]) == pytest.approx(np.std([1, 0.8, 0.8, 0]), rel=0.15)


def test_the_error_of_a_nonlinear_measure(rng):
    """A correlation of normal values with correlation r scatters by (1 - r^2) / sqrt(n)."""
    x = rng.standard_normal(500)
    y = 0.8 * x + 0.6 * rng.standard_normal(500)

    def correlation(weights):
        cov = np.cov(x, y, aweights=weights)
        return cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1])
    assert bootstrap_standard_error(correlation, 500) == pytest.approx((1 - 0.8 ** 2) / 500 ** 0.5, rel=0.25)


def test_one_unit_tells_nothing():
    assert standard_error_of_mean(np.ones(1)) is None and standard_error_of_mean(np.arange(3.0), ["a"] * 3) is None
    assert plus_minus(7.2, None) == "7.20" and plus_minus(7.2, 0.114) == "7.20 +- 0.11"
    assert plus_minus(None, None) == "-"
    assert plus_minus(0.5, 0.01, "+.1f", scale=100) == "+50.0 +- 1.0"
