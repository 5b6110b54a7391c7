"""Landmark regressors (5.5): the paper's network, one hidden layer trained with the L1 loss, and ridge regression."""

from __future__ import annotations

from typing import NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from sklearn.linear_model import RidgeCV

from dgn.nets.layers import Dense
from dgn.randomness import generator
from dgn.training.optim import TrainStep, cosine

HIDDEN = 100
BATCH = 100
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-4
VALIDATION = 0.1  # fraction of the samples that is used to select the epoch with the smallest error
# Mean Euclidean norm of the inputs for any number of inputs. An Adam step changes each of 12,288 weights by about the
# learning rate: with inputs of unit variance the output would jump, and the error on raw pixels was as large as for the
# mean shape (38 % instead of 14 %).
INPUT_NORM = 3.0
PENALTIES = np.logspace(-4, 1, 11)  # penalties of ridge regression, for inputs with mean norm 1


class LandmarkRegressor:
    """Features -> landmarks by a dense layer of 100 units, ReLU, and a dense layer; the paper's regressor (Table 2).

    seed: random seed of the weights, the order of samples and the validation split.
    """

    def __init__(self, seed: int, epochs: int = 200) -> None:
        self.seed, self.epochs = seed, epochs
        self.fitted: _Fitted | None = None

    def fit(self, features: np.ndarray, landmarks: np.ndarray) -> LandmarkRegressor:
        """Trains on n samples: features (n, ...), flattened here; landmarks (n, p, 2) in pixels.

        Features are centred and scaled to a mean norm of INPUT_NORM, landmarks to unit variance. Adam's learning rate
        falls along a cosine.
        """
        rng = generator(self.seed, "landmark regressor")
        order = rng.permutation(len(features))
        validation, training = np.split(order, [max(int(VALIDATION * len(order)), 1)])
        inputs, outputs = flat(features), flat(landmarks)
        centre, middle = inputs[training].mean(0), outputs[training].mean(0)
        scale = mean_norm(inputs[training]) / INPUT_NORM
        spread = max(float((outputs[training] - middle).std()), 1e-6)
        x, y = (inputs - centre) / scale, (outputs - middle) / spread

        net = _Network(x.shape[1], y.shape[1], rng)
        optimizer = nn.AdamWeightDecay(net.trainable_params(), learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        step, batch = TrainStep(_AbsoluteError(net), optimizer), min(BATCH, len(training))
        least, best = np.inf, ()
        for epoch in range(self.epochs):
            shuffled = rng.permutation(training)
            for start in range(0, len(shuffled) - batch + 1, batch):
                rows = shuffled[start:start + batch]
                step(cosine(LEARNING_RATE, epoch / self.epochs), [(ms.Tensor(x[rows]), ms.Tensor(y[rows]))])
            error = float(np.abs(net(ms.Tensor(x[validation])).asnumpy() - y[validation]).mean())
            if error < least:
                least, best = error, tuple(p.asnumpy().copy() for p in net.trainable_params())
        self.fitted = _Fitted(best, centre, scale, middle, spread)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Landmarks (n, p, 2) in pixels of features (n, ...). Raises ValueError before `fit`."""
        if self.fitted is None:
            raise ValueError("the regressor is not trained; call fit first")
        (hidden, hidden_bias, out, out_bias), centre, scale, middle, spread = self.fitted
        x = (flat(features) - centre) / scale
        values = (np.maximum(x @ hidden + hidden_bias, 0) @ out + out_bias) * spread + middle
        return values.reshape(len(features), -1, 2)


class RidgeRegressor:
    """Features -> landmarks by ridge regression, for few images, with the penalty in PENALTIES that has the smallest
    leave-one-out error."""

    def __init__(self) -> None:
        self.ridge, self.scale = RidgeCV(PENALTIES), 1.0

    def fit(self, features: np.ndarray, landmarks: np.ndarray) -> RidgeRegressor:
        """Fits n samples: features (n, ...), flattened here and scaled to a mean norm of 1 about their mean; landmarks
        (n, p, 2) in pixels."""
        inputs = flat(features)
        self.scale = mean_norm(inputs)
        self.ridge.fit(inputs / self.scale, flat(landmarks))
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Landmarks (n, p, 2) in pixels of features (n, ...). Raises sklearn's NotFittedError (a ValueError) before
        `fit`."""
        return self.ridge.predict(flat(features) / self.scale).reshape(len(features), -1, 2)


def flat(values: np.ndarray) -> np.ndarray:
    """(n, ...) as a matrix (n, d) float32."""
    return values.reshape(len(values), -1).astype(np.float32)


def mean_norm(inputs: np.ndarray) -> float:
    """Mean Euclidean norm of the rows of (n, d) after centring; at least 1e-6, because callers divide by it."""
    return max(float(np.linalg.norm(inputs - inputs.mean(0), axis=1).mean()), 1e-6)


class _Fitted(NamedTuple):
    """Weights and biases of the two layers, and the normalization of inputs and outputs."""

    weights: tuple[np.ndarray, ...]
    centre: np.ndarray
    scale: float
    middle: np.ndarray
    spread: float


class _Network(nn.Cell):
    """(N, inputs) -> (N, outputs); initial weights with He scaling for inputs of norm INPUT_NORM."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.hidden, self.out = Dense(inputs, HIDDEN, rng), Dense(HIDDEN, outputs, rng)
        for layer, norm in ((self.hidden, INPUT_NORM), (self.out, np.sqrt(HIDDEN))):
            weight = rng.standard_normal(layer.weight.shape) * np.sqrt(2) / norm
            layer.weight.set_data(ms.Tensor(weight.astype(np.float32)))
            layer.bias.set_data(ms.Tensor(np.zeros(layer.bias.shape, np.float32)))

    def construct(self, x: Tensor) -> Tensor:
        return self.out(ops.relu(self.hidden(x)))


class _AbsoluteError(nn.Cell):
    """(x, y) -> mean absolute error, and the mean absolute error of each sample (N,)."""

    def __init__(self, net: nn.Cell) -> None:
        super().__init__()
        self.net = net

    def construct(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        errors = ops.reduce_mean(ops.abs(self.net(x) - y), 1)
        return ops.reduce_mean(errors), errors
