"""A small recurrent network that classifies sequences (5.6, Table 3): LSTM, dense 30, softmax.

Several such models, each with its own training sequences, are one Cell with a leading axis of models, because a single
model is too small to use the device well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from sklearn.decomposition import PCA

from dgn.randomness import generator
from dgn.training.optim import TrainStep, adam, cosine
from dgn.training.regressor import INPUT_NORM

UNITS = 64  # units of the LSTM (not stated in the paper)
HIDDEN = 30  # units of the dense layer after it
BATCH = 40
AXES = 50  # largest number of principal axes of the features
LEARNING_RATE = 3e-3


class Sequences(NamedTuple):
    """n sequences of feature vectors."""

    features: np.ndarray  # (n, F, d) float32
    lengths: np.ndarray  # (n,) number of frames of each sequence; later frames are ignored


class SequenceClassifiers:
    """K classifiers of sequences, trained together on K subsets.

    classes: number of classes. seed: random seed of the weights and the order of samples. Features are projected on the
    principal axes of each model's own training frames. Training uses cross-entropy, Adam, and a learning rate that
    falls along a cosine.
    """

    def __init__(self, classes: int, seed: int, epochs: int = 60) -> None:
        self.classes, self.seed, self.epochs = classes, seed, epochs
        self.networks: RecurrentNetworks | None = None
        self.projections: list[Projection] = []

    def fit(self, sequences: Sequences, labels: np.ndarray, subsets: Sequence[np.ndarray]) -> SequenceClassifiers:
        """Trains model k on the sequences at indices subsets[k]; labels: class (n,) of every sequence."""
        features, frames = sequences.features, sequences.features.shape[1]
        present = np.arange(frames) < sequences.lengths[:, None]
        axes = min(AXES, features.shape[2], *(int(present[rows].sum()) for rows in subsets))
        self.projections = [Projection(features[rows][present[rows]], axes) for rows in subsets]
        self.networks = RecurrentNetworks(len(subsets), axes, self.classes, generator(self.seed, "recognisers"))
        x, last = self._inputs(sequences)
        one_hot = np.eye(self.classes, dtype=np.float32)[labels]

        rng = generator(self.seed, "recognition")
        step = TrainStep(CrossEntropy(self.networks), adam(self.networks.trainable_params()))
        fewest = min(map(len, subsets))
        size = min(BATCH, fewest)
        for epoch in range(self.epochs):
            order = np.stack([rng.permutation(rows)[:fewest] for rows in subsets])
            for start in range(0, fewest - size + 1, size):
                rows = order[:, start:start + size]
                step(cosine(LEARNING_RATE, epoch / self.epochs),
                     [(ms.Tensor(gather(x, rows)), ms.Tensor(last[rows]), ms.Tensor(one_hot[rows]))])
        return self

    def predict(self, sequences: Sequences, subsets: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The class that model k predicts for each sequence at indices subsets[k]. Raises ValueError before `fit`."""
        if self.networks is None:
            raise ValueError("the classifiers are not trained; call fit first")
        x, last = self._inputs(sequences)
        rows = np.stack([np.resize(each, max(map(len, subsets))) for each in subsets])  # repeated to one size
        scores = self.networks(ms.Tensor(gather(x, rows)), ms.Tensor(last[rows])).asnumpy()
        return [scores[k, :len(each)].argmax(1) for k, each in enumerate(subsets)]

    def _inputs(self, sequences: Sequences) -> tuple[np.ndarray, np.ndarray]:
        """Features (K, n, F, axes) for each model, and 1 at the last frame of each sequence (n, F, 1)."""
        x = np.stack([project(sequences.features) for project in self.projections])
        return x, last_frames(sequences.lengths, sequences.features.shape[1])


class Projection:
    """Feature vectors (..., d) -> (..., axes) along the principal axes of `frames` (m, d).

    Scaled so that the mean norm of `frames` is INPUT_NORM; zeros if all `frames` are equal.
    """

    def __init__(self, frames: np.ndarray, axes: int) -> None:
        self.axes, self.pca = axes, None
        if not (frames == frames[0]).all():
            self.pca = PCA(axes, svd_solver="randomized", random_state=0).fit(frames)
            self.scale = INPUT_NORM / max(np.linalg.norm(self.pca.transform(frames), axis=1).mean(), 1e-6)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        shape = (*features.shape[:-1], self.axes)
        if self.pca is None:
            return np.zeros(shape, np.float32)
        projected = self.scale * self.pca.transform(features.reshape(-1, features.shape[-1]))
        return projected.reshape(shape).astype(np.float32)


def last_frames(lengths: np.ndarray, frames: int) -> np.ndarray:
    """1 at the last frame of each sequence, else 0, (n, F, 1)."""
    return (np.arange(frames) == lengths[:, None] - 1).astype(np.float32)[..., None]


def gather(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The sequences at indices `rows` (K, N) of x (K, n, F, d), (K, N, F, d), for each model."""
    return x[np.arange(len(x))[:, None], rows]


class RecurrentNetworks(nn.Cell):
    """K networks, each an LSTM of one layer, dense 30, ReLU, dense: (K, N, F, d), last frames (K, N, F, 1) -> scores
    (K, N, classes).

    Initial weights are uniform within +-1 / sqrt(inputs of a unit); biases are 0, but 1 for the forget gates.
    """

    def __init__(self, count: int, inputs: int, classes: int, rng: np.random.Generator) -> None:
        super().__init__()

        def uniform(name: str, fan_in: int, outputs: int) -> Parameter:
            values = rng.uniform(-1, 1, (count, fan_in, outputs)) / np.sqrt(fan_in)
            return Parameter(Tensor(values.astype(np.float32)), name=name)

        bias = np.zeros((count, 1, 4, UNITS), np.float32)
        bias[:, :, 1] = 1  # forget gates: initially the cell keeps its value for several frames
        self.input_weight = uniform("input_weight", inputs, 4 * UNITS)
        self.state_weight = uniform("state_weight", UNITS, 4 * UNITS)
        self.bias = Parameter(Tensor(bias.reshape(count, 1, 4 * UNITS)), name="bias")
        self.hidden, self.out = uniform("hidden", UNITS, HIDDEN), uniform("out", HIDDEN, classes)
        self.hidden_bias = Parameter(Tensor(np.zeros((count, 1, HIDDEN), np.float32)), name="hidden_bias")
        self.out_bias = Parameter(Tensor(np.zeros((count, 1, classes), np.float32)), name="out_bias")

    def construct(self, x: Tensor, last: Tensor) -> Tensor:
        count, size, frames, inputs = x.shape
        projection = ops.bmm(x.reshape(count, size * frames, inputs), self.input_weight) + self.bias
        projection = projection.reshape(count, size, frames, 4 * UNITS)
        state = cell = final = ops.zeros((count, size, UNITS), ms.float32)
        for t in range(frames):
            values = (projection[:, :, t] + ops.bmm(state, self.state_weight)).reshape(count, size, 4, UNITS)
            gates = ops.sigmoid(values)  # input, forget, unused, output
            cell = gates[:, :, 1] * cell + gates[:, :, 0] * ops.tanh(values[:, :, 2])
            state = gates[:, :, 3] * ops.tanh(cell)
            final = final + state * last[:, :, t]
        return ops.bmm(ops.relu(ops.bmm(final, self.hidden) + self.hidden_bias), self.out) + self.out_bias


class CrossEntropy(nn.Cell):
    """(x, last frames, one-hot classes (K, N, classes)) -> cross-entropy: sum over K of the mean over N, and (K, N)."""

    def __init__(self, networks: nn.Cell) -> None:
        super().__init__()
        self.networks = networks

    def construct(self, x: Tensor, last: Tensor, one_hot: Tensor) -> tuple[Tensor, Tensor]:
        each = -ops.reduce_sum(one_hot * ops.log_softmax(self.networks(x, last)), -1)
        return ops.reduce_sum(ops.reduce_mean(each, 1)), each
