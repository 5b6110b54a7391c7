"""Recognition on sequences whose classes are known: motion tells them, noise does not, and nobody is in two folds."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation import recognition


def sequences(rng, people=12, frames=6, noise=0.2):
    """Two classes that differ in the direction of a motion; a different offset for every person; unequal lengths."""
    truth = np.tile([0, 1], people)
    persons = np.repeat(np.arange(people), 2)
    lengths = rng.integers(4, frames + 1, len(truth))
    offsets = rng.standard_normal((people, 3))[persons]
    time = np.arange(frames)[:, None] * np.array([1.0, 0, 0])
    x = offsets[:, None] * 0.3 + np.where(truth == 0, 1, -1)[:, None, None] * time + noise * rng.standard_normal((len(truth), frames, 3))
    x[np.arange(frames) >= lengths[:, None]] = 99  # frames that are not there must not count
    return x.astype(np.float32), lengths, truth, persons


def test_a_motion_is_recognised_and_noise_is_not(rng):
    x, lengths, truth, persons = sequences(rng)
    found = recognition.cross_validate(x, lengths, truth, persons, 2, seed=1, count=3, epochs=30)
    assert recognition.compute(truth, found, ["up", "down"])["accuracy"] > 0.95
    blind = recognition.cross_validate(rng.standard_normal(x.shape), lengths, truth, persons, 2, seed=1, count=3, epochs=10)
    assert recognition.compute(truth, blind, ["up", "down"])["accuracy"] < 0.8


def test_results_are_the_same_again(rng):
    x, lengths, truth, persons = sequences(rng, people=6)
    twice = [recognition.cross_validate(x, lengths, truth, persons, 2, seed=1, count=2, epochs=3) for _ in range(2)]
    np.testing.assert_array_equal(*twice)


def test_folds_hold_everybody_once_and_nobody_twice():
    persons = ["a", "a", "b", "c", "c", "c", "d"]
    found = recognition.folds(persons, 3, seed=1)
    assert sorted(np.concatenate(found)) == list(range(7))
    assert all(not {persons[i] for i in found[a]} & {persons[i] for i in found[b]} for a in range(3) for b in range(a))
    with pytest.raises(ValueError, match="4 people cannot make 5 folds"):
        recognition.folds(persons, 5, seed=1)


def test_measures_by_hand():
    result = recognition.compute(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ["x", "y"])
    assert result["accuracy"] == 0.75 and result["mean_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert result["confusion"] == [[2, 1], [0, 1]]
