"""The part of a transition that runs over time (Eq. 11): MindSpore's operators, or C++ kernels on CPU.

  a_t = relu(driven_t + s_t Ws),  b_t = relu(a_t W2 + b2),  s_{t+1} = tanh(b_t W3 + b3),  s_0 = 0

driven (N, T, H), the first layer's response to the noise; Ws (D, H), W2 (H, H), b2 (H), W3 (H, D), b3 (D)
-> states s_0 .. s_T, (N, T + 1, D).

Each time step is about ten operators on a few dozen units, whose launches take longer than their arithmetic: for 16
frames they are half of a Langevin step, and the kernels of recurrence_cpu.cc are about twenty times faster (`python
-m dgn bench`).
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from dgn.nets.choice import Choice
from dgn.nets.native import operator


class StockRecurrence(nn.Cell):
    """The time steps unrolled in one graph: the definition, and the implementation for Ascend, GPU and export."""

    def __init__(self) -> None:
        super().__init__()
        self.matmul, self.bias_add = ops.MatMul(), ops.BiasAdd()

    def construct(self, driven: Tensor, ws: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor) -> Tensor:
        samples, steps, _ = driven.shape
        state = ops.zeros((samples, w3.shape[1]), driven.dtype)
        states = (state,)
        for t in range(steps):
            hidden = ops.relu(self.matmul(state, ws) + driven[:, t])
            hidden = ops.relu(self.bias_add(self.matmul(hidden, w2), b2))
            state = ops.tanh(self.bias_add(self.matmul(hidden, w3), b3))
            states = states + (state,)
        return ops.stack(states, 1)


class NativeRecurrence(nn.Cell):
    """The kernels of recurrence_cpu.cc; Langevin dynamics runs only the gradient to `driven`."""

    def __init__(self) -> None:
        super().__init__()

        def states(driven, ws, w2, b2, w3, b3):
            # MindSpore calls it with the inputs' shapes (lists), and with their types
            return [driven[0], driven[1] + 1, w3[1]] if isinstance(driven, (list, tuple)) else driven

        self.forward = operator("recurrence_cpu.cc", "RecurrenceForward", states)
        self.input_gradient = operator("recurrence_cpu.cc", "RecurrenceInputGradient",
                                       lambda driven, ws, w2, b2, w3, b3, out, dout: driven)
        self.weight_gradient = operator("recurrence_cpu.cc", "RecurrenceWeightGradient",
                                        lambda driven, ws, w2, b2, w3, b3, out, dout: (ws, w2, b2, w3, b3))

    def construct(self, driven: Tensor, ws: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor) -> Tensor:
        return self.forward(driven, ws, w2, b2, w3, b3)

    def bprop(self, driven, ws, w2, b2, w3, b3, out, dout):
        dweights = self.weight_gradient(driven, ws, w2, b2, w3, b3, out, dout)
        return (self.input_gradient(driven, ws, w2, b2, w3, b3, out, dout),) + dweights


_CHOICE = Choice("model.recurrence", elsewhere="stock", fallback="stock")


def make_recurrence(kind: str) -> nn.Cell:
    """The recurrence that `kind`, a value of model.recurrence, names. Raises UserError as Choice."""
    return _CHOICE.make(kind, {"stock": StockRecurrence, "native": NativeRecurrence})
