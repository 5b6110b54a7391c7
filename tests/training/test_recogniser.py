"""The recogniser of sequences: it is an LSTM, it recognises motion and not noise, and it is reproducible."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from dgn.evaluation.recognition import person_folds, recognition_scores
from dgn.experiments.recognition import cross_validate, relative_to_first
from dgn.training import recogniser
from dgn.training.recogniser import SequenceClassifiers, Sequences

pytestmark = pytest.mark.slow


def sequences(rng, people=12, frames=4, noise=0.2, offset=0.3):
    """Two classes that differ in the direction of a motion; a different offset for every person; unequal lengths."""
    truth = np.tile([0, 1], people)
    persons = np.repeat(np.arange(people), 2)
    lengths = rng.integers(frames - 2, frames + 1, len(truth))
    offsets = rng.standard_normal((people, 3))[persons]
    time = np.arange(frames)[:, None] * np.array([1.0, 0, 0])
    x = offsets[:, None] * offset + np.where(truth == 0, 1, -1)[:, None, None] * time
    x += noise * rng.standard_normal(x.shape)
    x[np.arange(frames) >= lengths[:, None]] = 99  # frames that a sequence does not have must not count
    return x.astype(np.float32), lengths, truth, persons


def accuracy(x, lengths, truth, persons, epochs, from_first=True) -> float:
    """In cross-validation of three folds."""
    given = Sequences(relative_to_first(x) if from_first else x, lengths)
    predicted = cross_validate(SequenceClassifiers(2, 1, epochs), given, truth, person_folds(persons, 3, 1))
    return recognition_scores(truth, predicted, ["up", "down"], persons)["accuracy"]


def test_a_motion_is_recognised_and_noise_is_not(rng):
    x, *known = sequences(rng)
    assert accuracy(x, *known, epochs=30) > 0.95
    assert accuracy(rng.standard_normal(x.shape).astype(np.float32), *known, epochs=40) < 0.7


def test_a_motion_is_recognised_although_people_differ_by_far_more(rng):
    assert accuracy(*sequences(rng, offset=100), epochs=30) > 0.95


def test_sequences_that_start_with_an_expression(rng):
    """Nothing moves: classes differ in what the frames are, not in how they change."""
    x, lengths, truth, persons = sequences(rng, noise=0)
    x = np.repeat(np.where(truth == 0, 1, -1)[:, None, None] + 0 * x[:, :1], x.shape[1], 1).astype(np.float32)
    assert accuracy(x, lengths, truth, persons, 10, from_first=False) == 1
    assert accuracy(x, lengths, truth, persons, 10, from_first=True) < 0.8


def test_a_network_of_all_subsets_is_an_lstm_of_each(rng):
    networks = recogniser.RecurrentNetworks(2, 3, 4, rng)
    x = rng.standard_normal((2, 5, 6, 3)).astype(np.float32)
    lengths = np.array([6, 4, 1, 6, 3])
    last = recogniser.last_frames(lengths, 6)
    scores = networks(ms.Tensor(x), ms.Tensor(np.stack([last, last]))).asnumpy()
    for k in range(2):
        weights = {p.name: p.asnumpy()[k].astype(np.float64) for p in networks.trainable_params()}
        for n, length in enumerate(lengths):
            state, memory = np.zeros(recogniser.UNITS), np.zeros(recogniser.UNITS)
            for frame in x[k, n, :length]:
                gates = frame @ weights["input_weight"] + weights["bias"][0] + state @ weights["state_weight"]
                enter, forget, new, leave = np.split(gates, 4)
                memory = memory / (1 + np.exp(-forget)) + np.tanh(new) / (1 + np.exp(-enter))
                state = np.tanh(memory) / (1 + np.exp(-leave))
            hidden = np.maximum(state @ weights["hidden"] + weights["hidden_bias"][0], 0)
            np.testing.assert_allclose(scores[k, n], hidden @ weights["out"] + weights["out_bias"][0], atol=1e-5)


def test_training_is_reproducible(rng):
    x, lengths, truth, _ = sequences(rng, people=6)
    subsets = [np.arange(8), np.arange(4, 12)]
    first, again = (SequenceClassifiers(2, 1, 3).fit(Sequences(x, lengths), truth, subsets).networks for _ in range(2))
    for a, b in zip(first.trainable_params(), again.trainable_params()):
        np.testing.assert_array_equal(a.asnumpy(), b.asnumpy())


def test_features_are_projected_on_their_principal_axes(rng):
    frames = (rng.standard_normal((50, 2)) * [3, 1] @ rng.standard_normal((2, 5)) + 7).astype(np.float32)
    project = recogniser.Projection(frames, 2)
    projected = project(frames.reshape(10, 5, 5)).reshape(50, 2)
    assert np.linalg.norm(projected, axis=1).mean() == pytest.approx(recogniser.INPUT_NORM, rel=1e-5)
    centred = frames - frames.mean(0)  # two axes hold all of it, so distances are kept but for the scale
    ratio = np.linalg.norm(projected, axis=1) / np.linalg.norm(centred, axis=1)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)
    assert (recogniser.Projection(frames[:1].repeat(4, 0), 2)(frames) == 0).all()


def test_prediction_needs_training():
    with pytest.raises(ValueError, match="call fit first"):
        SequenceClassifiers(2, 1).predict(Sequences(np.zeros((1, 2, 3), np.float32), np.array([2])), [np.array([0])])
