"""The part of a transition that runs over time (Eq. 11): MindSpore's operators, or C++ kernels on CPU.

  a_t = relu(p_t + s_t Ws),  b_t = relu(a_t W2 + b2),  s_{t+1} = tanh(b_t W3 + b3),  s_0 = 0

projection p (N, T, H), the first layer's response to the noise; Ws (D, H), W2 (H, H), b2 (H), W3 (H, D), b3 (D)
-> states s_0 .. s_T, (N, T + 1, D).

Each time step is about ten operators on a few dozen units, whose launches take longer than their arithmetic. For 16
frames they take half of the time of a Langevin step; the kernels of recurrence_cpu.cc are about twenty times faster
(`python -m dgn bench parts`).
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from dgn.nets import choice
from dgn.nets.native import operator


class StockRecurrence(nn.Cell):
    """The time steps unrolled in one graph: the definition, and the implementation for Ascend, GPU and export."""

    def __init__(self) -> None:
        super().__init__()
        self.matmul, self.bias_add = ops.MatMul(), ops.BiasAdd()

    def construct(self, projection: Tensor, ws: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor) -> Tensor:
        samples, steps, _ = projection.shape
        state = ops.zeros((samples, w3.shape[1]), projection.dtype)
        states = (state,)
        for t in range(steps):
            hidden = ops.relu(self.matmul(state, ws) + projection[:, t])
            hidden = ops.relu(self.bias_add(self.matmul(hidden, w2), b2))
            state = ops.tanh(self.bias_add(self.matmul(hidden, w3), b3))
            states = states + (state,)
        return ops.stack(states, 1)


class NativeRecurrence(nn.Cell):
    """The kernels of recurrence_cpu.cc; Langevin dynamics runs only the gradient with respect to `projection`."""

    def __init__(self) -> None:
        super().__init__()

        def states(projection, ws, w2, b2, w3, b3):
            # MindSpore calls this with the shapes of the inputs (lists), and with their types
            return [projection[0], projection[1] + 1, w3[1]] if isinstance(projection, (list, tuple)) else projection

        self.forward = operator("recurrence_cpu.cc", "RecurrenceForward", states)
        self.input_gradient = operator("recurrence_cpu.cc", "RecurrenceInputGradient",
                                       lambda projection, ws, w2, b2, w3, b3, out, dout: projection)
        self.weight_gradient = operator("recurrence_cpu.cc", "RecurrenceWeightGradient",
                                        lambda projection, ws, w2, b2, w3, b3, out, dout: (ws, w2, b2, w3, b3))

    def construct(self, projection: Tensor, ws: Tensor, w2: Tensor, b2: Tensor, w3: Tensor, b3: Tensor) -> Tensor:
        return self.forward(projection, ws, w2, b2, w3, b3)

    def bprop(self, projection, ws, w2, b2, w3, b3, out, dout):
        dweights = self.weight_gradient(projection, ws, w2, b2, w3, b3, out, dout)
        return (self.input_gradient(projection, ws, w2, b2, w3, b3, out, dout),) + dweights


def make_recurrence(kind: str) -> nn.Cell:
    """The recurrence for `kind`, a value of model.recurrence. Raises UserError, see choice.make."""
    return choice.make("model.recurrence", kind, {"stock": StockRecurrence, "native": NativeRecurrence})
