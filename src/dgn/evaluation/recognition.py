"""Expressions recognised from sequences by a small recurrent network, in person-independent cross-validation (5.6, Table 3).

The networks of all folds are one Cell with a leading axis of folds: one of them alone is too small to keep a processor busy.
"""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from sklearn.decomposition import PCA

from dgn.evaluation.landmarks import INPUT_NORM
from dgn.randomness import generator
from dgn.step import Step, adam

UNITS = 64  # of the LSTM; the paper does not say
HIDDEN = 30  # of the dense layer after it
BATCH = 40
AXES = 50  # principal axes of the features that the network sees, at most
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
                   count: int, epochs: int, from_first: bool = True) -> np.ndarray:
    """The class (n,) that each sequence is given by a network that was trained on the other folds.

    features: (n, F, ...), flattened here; lengths: frames that each sequence has; truth: (n,) classes. from_first: what the
    networks see is how a frame differs from the sequence's first, for sequences that begin with a neutral face: between people
    features differ by far more than between expressions.
    """
    moved = features.reshape(*features.shape[:2], -1).astype(np.float32)
    if from_first:
        moved = moved - moved[:, :1]
    held_out = folds(persons, count, seed)
    known = [np.setdiff1d(np.arange(len(truth)), rows) for rows in held_out]
    there = np.arange(moved.shape[1]) < lengths[:, None]
    axes = min(AXES, moved.shape[2], *(int(there[rows].sum()) for rows in known))
    x = np.stack([_reduce(moved, moved[rows][there[rows]], axes) for rows in known])  # one fold's frames at a time in memory
    last, wanted = _last(lengths, moved.shape[1]), np.eye(classes, dtype=np.float32)[truth]
    networks = Recognisers(count, axes, classes, generator(seed, "recognisers"))
    _fit(networks, x, last, wanted, known, epochs, generator(seed, "recognition"))

    found = np.zeros(len(truth), int)
    rows = np.stack([np.resize(each, max(map(len, held_out))) for each in held_out])  # filled up to one size
    scores = networks(*map(ms.Tensor, (_of(x, rows), last[rows]))).asnumpy()
    for k, each in enumerate(held_out):
        found[each] = scores[k, :len(each)].argmax(1)
    return found


def _reduce(features: np.ndarray, frames: np.ndarray, axes: int) -> np.ndarray:
    """Features (n, F, d) along the principal axes of `frames` (m, d): (n, F, axes), of a mean norm of INPUT_NORM on these."""
    if (frames == frames[0]).all():  # nothing moves
        return np.zeros((*features.shape[:2], axes), np.float32)
    principal = PCA(axes, svd_solver="randomized", random_state=0).fit(frames)
    scale = INPUT_NORM / max(np.linalg.norm(principal.transform(frames), axis=1).mean(), 1e-6)
    reduced = scale * principal.transform(features.reshape(-1, features.shape[2]))
    return reduced.reshape(*features.shape[:2], axes).astype(np.float32)


def _last(lengths: np.ndarray, frames: int) -> np.ndarray:
    """1 at each sequence's last frame, (n, F, 1)."""
    return (np.arange(frames) == lengths[:, None] - 1).astype(np.float32)[..., None]


def _of(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The sequences `rows` (K, N) of x (K, n, F, d) for each fold, (K, N, F, d)."""
    return np.stack([each[chosen] for each, chosen in zip(x, rows)])


class Recognisers(nn.Cell):
    """(K, N, F, d) and one-hot last frames (K, N, F, 1) -> scores (K, N, classes): K networks of a one-layer LSTM, dense 30,
    ReLU, dense. Initial weights are uniform within one over the root of what a unit receives; biases 0, of forget gates 1."""

    def __init__(self, count: int, inputs: int, classes: int, rng: np.random.Generator) -> None:
        super().__init__()

        def uniform(name: str, fan_in: int, outputs: int) -> Parameter:
            return Parameter(Tensor((rng.uniform(-1, 1, (count, fan_in, outputs)) / np.sqrt(fan_in)).astype(np.float32)), name=name)

        bias = np.zeros((count, 1, 4, UNITS), np.float32)
        bias[:, :, 1] = 1  # what is remembered at first is not forgotten over a few frames
        self.given, self.kept = uniform("given", inputs, 4 * UNITS), uniform("kept", UNITS, 4 * UNITS)
        self.bias = Parameter(Tensor(bias.reshape(count, 1, 4 * UNITS)), name="bias")
        self.hidden, self.out = uniform("hidden", UNITS, HIDDEN), uniform("out", HIDDEN, classes)
        self.hidden_bias = Parameter(Tensor(np.zeros((count, 1, HIDDEN), np.float32)), name="hidden_bias")
        self.out_bias = Parameter(Tensor(np.zeros((count, 1, classes), np.float32)), name="out_bias")

    def construct(self, x: Tensor, last: Tensor) -> Tensor:
        count, size, frames, inputs = x.shape
        given = (ops.bmm(x.reshape(count, size * frames, inputs), self.given) + self.bias).reshape(count, size, frames, 4 * UNITS)
        state = memory = chosen = ops.zeros((count, size, UNITS), ms.float32)
        for t in range(frames):
            gates = (given[:, :, t] + ops.bmm(state, self.kept)).reshape(count, size, 4, UNITS)
            let = ops.sigmoid(gates)  # input, forget, -, output
            memory = let[:, :, 1] * memory + let[:, :, 0] * ops.tanh(gates[:, :, 2])
            state = let[:, :, 3] * ops.tanh(memory)
            chosen = chosen + state * last[:, :, t]
        return ops.bmm(ops.relu(ops.bmm(chosen, self.hidden) + self.hidden_bias), self.out) + self.out_bias


class _CrossEntropy(nn.Cell):
    """(x, last, one-hot classes) -> cross-entropy, the mean of a network's batch summed over networks, and that of each sample."""

    def __init__(self, networks: nn.Cell) -> None:
        super().__init__()
        self.networks = networks

    def construct(self, x: Tensor, last: Tensor, truth: Tensor) -> Tuple[Tensor, Tensor]:
        each = -ops.reduce_sum(truth * ops.log_softmax(self.networks(x, last)), -1)
        return ops.reduce_sum(ops.reduce_mean(each, 1)), each


def _fit(networks: Recognisers, x: np.ndarray, last: np.ndarray, wanted: np.ndarray, known: List[np.ndarray], epochs: int,
         rng: np.random.Generator) -> None:
    """Adam on the cross-entropy; its rate falls along a cosine. x: (K, n, F, d); known: the samples that each network may see."""
    step = Step(_CrossEntropy(networks), adam(networks.trainable_params()))
    fewest = min(map(len, known))
    size = min(BATCH, fewest)
    for epoch in range(epochs):
        rate = ms.Tensor(0.5 * RATE * (1 + np.cos(np.pi * epoch / epochs)) + 1e-6, ms.float32)
        order = np.stack([rng.permutation(rows)[:fewest] for rows in known])
        for start in range(0, fewest - size + 1, size):
            rows = order[:, start:start + size]
            step(rate, ms.Tensor(_of(x, rows)), ms.Tensor(last[rows]), ms.Tensor(wanted[rows]))
