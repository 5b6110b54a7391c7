"""Recognition on sequences whose classes are known: motion tells them, noise does not, and nobody is in two folds."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from dgn.evaluation import recognition


def sequences(rng, people=12, frames=6, noise=0.2, offset=0.3):
    """Two classes that differ in the direction of a motion; a different offset for every person; unequal lengths."""
    truth = np.tile([0, 1], people)
    persons = np.repeat(np.arange(people), 2)
    lengths = rng.integers(4, frames + 1, len(truth))
    offsets = rng.standard_normal((people, 3))[persons]
    time = np.arange(frames)[:, None] * np.array([1.0, 0, 0])
    x = offsets[:, None] * offset + np.where(truth == 0, 1, -1)[:, None, None] * time + noise * rng.standard_normal((len(truth), frames, 3))
    x[np.arange(frames) >= lengths[:, None]] = 99  # frames that are not there must not count
    return x.astype(np.float32), lengths, truth, persons


def test_a_motion_is_recognised_and_noise_is_not(rng):
    x, lengths, truth, persons = sequences(rng)
    found = recognition.cross_validate(x, lengths, truth, persons, 2, seed=1, count=3, epochs=30)
    assert recognition.compute(truth, found, ["up", "down"])["accuracy"] > 0.95
    blind = recognition.cross_validate(rng.standard_normal(x.shape), lengths, truth, persons, 2, seed=1, count=3, epochs=40)
    assert recognition.compute(truth, blind, ["up", "down"])["accuracy"] < 0.7


def test_people_differ_by_far_more_than_classes(rng):
    x, lengths, truth, persons = sequences(rng, offset=100)
    found = recognition.cross_validate(x, lengths, truth, persons, 2, seed=1, count=3, epochs=30)
    assert (found == truth).mean() > 0.95


def test_sequences_that_begin_with_an_expression(rng):
    """Nothing moves: the classes are told by what the frames are, not by how they change."""
    x, lengths, truth, persons = sequences(rng, noise=0)
    x = np.repeat(np.where(truth == 0, 1, -1)[:, None, None] + 0 * x[:, :1], x.shape[1], 1).astype(np.float32)
    as_they_are, moved = (recognition.cross_validate(x, lengths, truth, persons, 2, 1, 3, 10, from_first) for from_first in (False, True))
    assert (as_they_are == truth).all() and (moved == truth).mean() < 0.8


def test_a_network_of_all_folds_is_an_lstm_of_each(rng):
    networks = recognition.Recognisers(2, 3, 4, rng)
    x = rng.standard_normal((2, 5, 6, 3)).astype(np.float32)
    lengths = np.array([6, 4, 1, 6, 3])
    last = recognition._last(lengths, 6)
    found = networks(ms.Tensor(x), ms.Tensor(np.stack([last, last]))).asnumpy()
    for k in range(2):
        weights = {name: getattr(networks, name).asnumpy()[k].astype(np.float64)
                   for name in ("given", "kept", "bias", "hidden", "hidden_bias", "out", "out_bias")}
        for n, length in enumerate(lengths):
            state, memory = np.zeros(recognition.UNITS), np.zeros(recognition.UNITS)
            for frame in x[k, n, :length]:
                enter, forget, new, leave = np.split(frame @ weights["given"] + weights["bias"][0] + state @ weights["kept"], 4)
                memory = memory / (1 + np.exp(-forget)) + np.tanh(new) / (1 + np.exp(-enter))
                state = np.tanh(memory) / (1 + np.exp(-leave))
            scores = np.maximum(state @ weights["hidden"] + weights["hidden_bias"][0], 0) @ weights["out"] + weights["out_bias"][0]
            np.testing.assert_allclose(found[k, n], scores, atol=1e-5)


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
