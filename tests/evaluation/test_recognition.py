"""Folds of people, and measures of predicted classes by hand."""

from __future__ import annotations

import numpy as np
import pytest

from dgn.evaluation.recognition import person_folds, recognition_scores


def test_folds_hold_every_sample_once_and_no_person_twice():
    persons = ["a", "a", "b", "c", "c", "c", "d"]
    folds = person_folds(persons, 3, seed=1)
    assert sorted(np.concatenate(folds)) == list(range(7))
    assert all(not {persons[i] for i in folds[a]} & {persons[i] for i in folds[b]} for a in range(3) for b in range(a))
    with pytest.raises(ValueError, match="4 people cannot make 5 folds"):
        person_folds(persons, 5, seed=1)


def test_measures_by_hand():
    result = recognition_scores(np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1]), ["x", "y"], ["a", "a", "b", "b"])
    assert result["accuracy"] == 0.75 and result["mean_recall"] == pytest.approx((2 / 3 + 1) / 2)
    assert result["accuracy_stderr"] == pytest.approx(np.std([0.75, 1, 0.5, 0.75]), rel=0.15)  # ab, aa, bb, ba
    assert result["confusion"] == [[2, 1], [0, 1]]
