"""The recurrence over time: both implementations against the definition in float64 and its finite differences."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from dgn import device
from dgn.errors import UserError
from dgn.nets.gradients import Gradients
from dgn.nets.recurrence import NativeRecurrence, StockRecurrence, make_recurrence


def draw(rng, samples, steps, hidden, states):
    """The six inputs, and dout."""
    shapes = (samples, steps, hidden), (states, hidden), (hidden, hidden), (hidden,), (hidden, states), (states,)
    # small weights: the difference between float32 and float64 must not grow over time
    arrays = [rng.standard_normal(shape).astype(np.float32) * (0.6 / np.sqrt(shape[0]) if len(shape) == 2 else 1)
              for shape in shapes]
    return arrays, rng.standard_normal((samples, steps + 1, states)).astype(np.float32)


def numpy_recurrence(inputs, ws, w2, b2, w3, b3):
    """The definition in float64."""
    inputs, ws, w2, b2, w3, b3 = (a.astype(np.float64) for a in (inputs, ws, w2, b2, w3, b3))
    states = [np.zeros((len(inputs), w3.shape[1]))]
    for t in range(inputs.shape[1]):
        hidden = np.maximum(np.maximum(inputs[:, t] + states[-1] @ ws, 0) @ w2 + b2, 0)
        states.append(np.tanh(hidden @ w3 + b3))
    return np.stack(states, 1)


@pytest.mark.parametrize("case", [(3, 4, 5, 2), (1, 1, 20, 7), (40, 6, 20, 16)])
def test_both_implementations_and_their_gradients(case, rng):
    arrays, dout = draw(rng, *case)
    tensors = [ms.Tensor(a) for a in arrays]
    expected = numpy_recurrence(*arrays)
    gradients = {}
    for net in (StockRecurrence(), NativeRecurrence()):
        np.testing.assert_allclose(net(*tensors).asnumpy(), expected, atol=2e-5)
        gradients[type(net)] = [g.asnumpy() for g in Gradients(net)(*tensors, ms.Tensor(dout))]
    for k, (a, b) in enumerate(zip(*gradients.values())):
        np.testing.assert_allclose(a, b, atol=2e-4 * max(1, np.abs(a).max()), err_msg=str(k))
    for k, gradient in enumerate(gradients[NativeRecurrence]):  # a few entries by finite differences in float64
        for place in [tuple(rng.integers(0, s) for s in gradient.shape) for _ in range(3)]:
            ends = []
            for step in (1e-6, -1e-6):
                perturbed = [a.astype(np.float64) for a in arrays]
                perturbed[k][place] += step
                ends.append((numpy_recurrence(*perturbed) * dout).sum())
            assert gradient[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=2e-3, abs=2e-3)


def test_results_do_not_depend_on_threads(rng, monkeypatch):
    arrays, dout = draw(rng, 50, 15, 20, 16)
    results = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("DGN_THREADS", threads)
        results.append([g.asnumpy() for g in Gradients(NativeRecurrence())(*map(ms.Tensor, arrays), ms.Tensor(dout))])
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)


def test_the_implementation_depends_on_the_device(monkeypatch):
    assert isinstance(make_recurrence("auto"), NativeRecurrence)
    monkeypatch.setattr(device, "current", lambda: "Ascend")
    assert isinstance(make_recurrence("auto"), StockRecurrence)
    monkeypatch.setattr(device, "current", lambda: "GPU")
    with pytest.raises(UserError, match="on GPU use stock or auto"):
        make_recurrence("native")
    with pytest.raises(UserError, match="must be one of"):
        make_recurrence("fast")
