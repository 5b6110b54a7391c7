"""Expressions recognised from sequences by a small recurrent network, in person-independent cross-validation (5.6, Table 3)."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.nets.blocks import Dense
from dgn.randomness import generator
from dgn.step import Step, adam, restart_adam

UNITS = 64  # of the LSTM; the paper does not say
HIDDEN = 30  # of the dense layer after it
BATCH = 40
INPUT_NORM = 3.0  # mean Euclidean norm of a frame's features, whatever their number (see evaluation.landmarks)
RATE = 3e-3


def folds(persons: Sequence[Any], count: int, seed: int) -> List[np.ndarray]:
    """Samples of each of `count` folds, indices; nobody is in two. Raises ValueError if there are fewer people than folds."""
    everyone = sorted(set(persons))
    if len(everyone) < count:
        raise ValueError(f"{len(everyone)} people cannot make {count} folds")
    shuffled = generator(seed, "recognition folds").permutation(len(everyone))
    fold = {everyone[person]: place % count for place, person in enumerate(shuffled)}
    return [np.flatnonzero([fold[person] == k for person in persons]) for k in range(count)]


def compute(truth: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> Dict[str, Any]:
    """accuracy: share of all that are right; mean_recall: averaged over classes; confusion: rows of true classes, counts."""
    confusion = np.zeros((len(classes), len(classes)), int)
    np.add.at(confusion, (truth, predicted), 1)
    recall = np.diag(confusion) / np.maximum(confusion.sum(1), 1)
    return {"accuracy": float((truth == predicted).mean()), "mean_recall": float(recall.mean()), "classes": list(classes),
            "confusion": confusion.tolist()}


def cross_validate(features: np.ndarray, lengths: np.ndarray, truth: np.ndarray, persons: Sequence[Any], classes: int, seed: int,
                   count: int = 10, epochs: int = 60) -> np.ndarray:
    """The class (n,) that each sequence is given by a network that was trained on the other folds.

    features: (n, F, ...), flattened here; lengths: frames that each sequence has; truth: (n,) classes.
    """
    features = features.reshape(*features.shape[:2], -1).astype(np.float32)
    learner = _Learner(features.shape[2], classes, seed)
    found = np.zeros(len(truth), int)
    for k, held_out in enumerate(folds(persons, count, seed)):
        known = np.setdiff1d(np.arange(len(truth)), held_out)
        centre, scale = _standard(features[known], lengths[known])
        learner.fit((features[known] - centre) * scale, lengths[known], truth[known], epochs, generator(seed, "recognition", k))
        found[held_out] = learner.predict((features[held_out] - centre) * scale, lengths[held_out])
    return found


def _standard(features: np.ndarray, lengths: np.ndarray) -> Tuple[np.ndarray, float]:
    """Mean of the frames that are there, and what brings a frame's norm to INPUT_NORM on average."""
    frames = features[np.arange(features.shape[1]) < lengths[:, None]]
    centre = frames.mean(0)
    return centre, np.float32(INPUT_NORM / max(np.linalg.norm(frames - centre, axis=1).mean(), 1e-6))


class Recogniser(nn.Cell):
    """(N, F, d) and one-hot last frames (N, F, 1) -> scores (N, classes): a one-layer LSTM, dense 30, ReLU, dense."""

    def __init__(self, inputs: int, classes: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, UNITS, batch_first=True)
        self.hidden, self.out = Dense(UNITS, HIDDEN, rng, 1.0), Dense(HIDDEN, classes, rng, 1.0)

    def construct(self, x: Tensor, last: Tensor) -> Tensor:
        states, _ = self.lstm(x)
        return self.out(ops.relu(self.hidden(ops.reduce_sum(states * last, 1))))


class _CrossEntropy(nn.Cell):
    """(x, last, one-hot classes) -> mean cross-entropy, and that of each sample."""

    def __init__(self, net: nn.Cell) -> None:
        super().__init__()
        self.net = net

    def construct(self, x: Tensor, last: Tensor, truth: Tensor) -> Tuple[Tensor, Tensor]:
        scores = self.net(x, last)
        each = -ops.reduce_sum(truth * ops.log_softmax(scores), 1)
        return ops.reduce_mean(each), each


class _Learner:
    """One compiled network, begun anew for every fold."""

    def __init__(self, inputs: int, classes: int, seed: int) -> None:
        self.classes = classes
        self.net = Recogniser(inputs, classes, generator(seed, "recogniser"))
        self.step = Step(_CrossEntropy(self.net), adam(self.net.trainable_params()))

    def fit(self, x: np.ndarray, lengths: np.ndarray, truth: np.ndarray, epochs: int, rng: np.random.Generator) -> None:
        """Adam on the cross-entropy; its rate falls along a cosine."""
        self.begin(rng)
        last, wanted = _last(lengths, x.shape[1]), np.eye(self.classes, dtype=np.float32)[truth]
        size = min(BATCH, len(x))
        for epoch in range(epochs):
            rate = ms.Tensor(0.5 * RATE * (1 + np.cos(np.pi * epoch / epochs)) + 1e-6, ms.float32)
            order = rng.permutation(len(x))
            for start in range(0, len(order) - size + 1, size):
                rows = order[start:start + size]
                self.step(rate, ms.Tensor(x[rows]), ms.Tensor(last[rows]), ms.Tensor(wanted[rows]))

    def begin(self, rng: np.random.Generator) -> None:
        """Uniform initial weights of one over the root of what a unit receives; no biases."""
        for parameter in self.net.trainable_params():
            matrix = parameter.ndim == 2
            reach = 1 / np.sqrt(UNITS if "lstm" in parameter.name else parameter.shape[0]) if matrix else 0.0
            ops.assign(parameter, ms.Tensor(rng.uniform(-reach, reach, parameter.shape).astype(np.float32)))
        restart_adam(self.step.optimizer)

    def predict(self, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Classes (n,)."""
        last, found = _last(lengths, x.shape[1]), []
        for start in range(0, len(x), BATCH):
            rows = np.resize(np.arange(start, min(start + BATCH, len(x))), BATCH)  # one compiled size
            scores = self.net(ms.Tensor(np.ascontiguousarray(x[rows])), ms.Tensor(last[rows])).asnumpy()
            found.append(scores.argmax(1)[:min(BATCH, len(x) - start)])
        return np.concatenate(found)


def _last(lengths: np.ndarray, frames: int) -> np.ndarray:
    """1 at each sequence's last frame, (n, F, 1)."""
    return (np.arange(frames) == lengths[:, None] - 1).astype(np.float32)[..., None]
