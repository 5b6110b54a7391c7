"""Landmarks read off displacement fields by a small network (5.5, Table 2), and the error of any such reading."""

from __future__ import annotations

from typing import Callable, Dict, Tuple

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from dgn.nets.layers import Dense
from dgn.randomness import generator
from dgn.step import Step

HIDDEN = 100
EYES = (0, 1)  # places of the two eyes among the landmarks
BATCH = 100
# Inputs are scaled to this Euclidean norm whatever their number: a step of Adam moves each of 12,288 weights by about the rate,
# and with inputs of unit size the output would jump (raw pixels were then read no better than by the mean shape: 38 %, 14 % so)
INPUT_NORM = 3.0


def error(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of predicted landmarks (n, 5, 2) from the true ones, in per cent of each image's inter-ocular distance."""
    eyes = np.linalg.norm(truth[:, EYES[0]] - truth[:, EYES[1]], axis=1)
    distance = np.linalg.norm(predicted - truth, axis=2).mean(1)
    return float(100 * (distance / eyes).mean())


def compute(predicted: Dict[str, np.ndarray], truth: np.ndarray) -> Dict[str, float]:
    """The error of each prediction (n, 5, 2), by name."""
    return {name: error(points, truth) for name, points in predicted.items()}


def predict(features: Dict[str, np.ndarray], landmarks: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int,
            epochs: int = 200) -> Dict[str, np.ndarray]:
    """Predicted landmarks (n_test, 5, 2) of a regressor on each kind of features, and of the mean shape.

    features: name -> (n, ...) arrays, flattened here; landmarks: (n, 5, 2) in pixels; train, test: indices.
    """
    found = {name: fit(values[train], landmarks[train], seed, epochs)(values[test]) for name, values in features.items()}
    return {**found, "mean_shape": np.broadcast_to(landmarks[train].mean(0), landmarks[test].shape)}


def fit(features: np.ndarray, landmarks: np.ndarray, seed: int, epochs: int = 200, held: float = 0.1,
        weight_decay: float = 1e-4) -> Callable[[np.ndarray], np.ndarray]:
    """The paper's regressor: dense 100, ReLU, dense 10, L1 loss; returns features (n, ...) -> landmarks (n, 5, 2).

    Features are centred and scaled to a mean norm of INPUT_NORM, landmarks to unit variance. Adam's rate falls along a cosine; the weights of
    the epoch with the least error on a share `held` of the samples are kept.
    """
    rng = generator(seed, "landmark regressor")
    order = rng.permutation(len(features))
    kept_out = order[:max(int(held * len(order)), 1)]
    used = order[len(kept_out):]
    flat = features.reshape(len(features), -1).astype(np.float32)
    centre = flat[used].mean(0)
    scale = max(float(np.linalg.norm(flat[used] - centre, axis=1).mean()), 1e-6) / INPUT_NORM
    target = landmarks.reshape(len(landmarks), -1).astype(np.float32)
    middle = target[used].mean(0)
    spread = max(float((target[used] - middle).std()), 1e-6)
    x, y = (flat - centre) / scale, (target - middle) / spread

    net = Regressor(flat.shape[1], target.shape[1], rng)
    step = Step(_AbsoluteError(net), nn.AdamWeightDecay(net.trainable_params(), learning_rate=1e-3, weight_decay=weight_decay))
    size = min(BATCH, len(used))
    best, weights = np.inf, None
    for epoch in range(epochs):
        rate = ms.Tensor(0.5e-3 * (1 + np.cos(np.pi * epoch / epochs)) + 1e-6, ms.float32)
        shuffled = rng.permutation(used)
        for start in range(0, len(shuffled) - size + 1, size):
            rows = shuffled[start:start + size]
            step(rate, ms.Tensor(x[rows]), ms.Tensor(y[rows]))
        loss = float(np.abs(_apply(net, x[kept_out]) - y[kept_out]).mean())
        if loss < best:
            best, weights = loss, [p.asnumpy().copy() for p in net.trainable_params()]
    first, first_bias, second, second_bias = weights

    def read(values: np.ndarray) -> np.ndarray:
        x = (values.reshape(len(values), -1) - centre) / scale
        return ((np.maximum(x @ first + first_bias, 0) @ second + second_bias) * spread + middle).reshape(len(values), -1, 2)

    return read


class Regressor(nn.Cell):
    """(N, inputs) -> (N, outputs) by one hidden layer of 100 with ReLU (5.5)."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.hidden, self.out = Dense(inputs, HIDDEN, rng), Dense(HIDDEN, outputs, rng)
        # He's constant, as plain weights, for inputs of that norm
        for layer, norm in ((self.hidden, INPUT_NORM), (self.out, np.sqrt(HIDDEN))):
            layer.weight.set_data(ms.Tensor((rng.standard_normal(layer.weight.shape) * np.sqrt(2) / norm).astype(np.float32)))
            layer.bias.set_data(ms.Tensor(np.zeros(layer.bias.shape, np.float32)))

    def construct(self, x: Tensor) -> Tensor:
        return self.out(ops.relu(self.hidden(x)))


class _AbsoluteError(nn.Cell):
    """(x, y) -> mean absolute error, and that of each sample."""

    def __init__(self, net: nn.Cell) -> None:
        super().__init__()
        self.net = net

    def construct(self, x: Tensor, y: Tensor) -> Tuple[Tensor, Tensor]:
        errors = ops.reduce_mean(ops.abs(self.net(x) - y), 1)
        return ops.reduce_mean(errors), errors


def _apply(net: nn.Cell, x: np.ndarray) -> np.ndarray:
    return net(ms.Tensor(x)).asnumpy()
