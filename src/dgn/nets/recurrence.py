"""What of a transition runs over time (Eq. 11): MindSpore's operators, or a C++ kernel on CPU.

driven (N, T, H), what the noise gives to the first layer; Ws (D, H), W2 (H, H), b2 (H), W3 (H, D), b3 (D)
-> states s_0 .. s_T, (N, T + 1, D), s_0 = 0.

Each step is some ten operators on a few dozen units, which take longer to be called than to be computed: over 16 frames they
are half of a Langevin step, and the kernel of recurrence_cpu.cc is some twenty times faster (`python -m dgn bench`).
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from dgn import device
from dgn.nets.native import check_choice, native_or, operator

KINDS = ("auto", "stock", "native")


class StockRecurrence(nn.Cell):
    """The steps one after the other in one graph: for Ascend and GPU, for export, and the definition."""

    def __init__(self) -> None:
        super().__init__()
        self.matmul, self.bias_add = ops.MatMul(), ops.BiasAdd()

    def construct(self, driven: Tensor, of_state: Tensor, second: Tensor, second_bias: Tensor, third: Tensor, third_bias: Tensor) -> Tensor:
        samples, steps, _ = driven.shape
        state = ops.zeros((samples, third.shape[1]), driven.dtype)
        states = (state,)
        for t in range(steps):
            hidden = ops.relu(self.matmul(state, of_state) + driven[:, t])
            hidden = ops.relu(self.bias_add(self.matmul(hidden, second), second_bias))
            state = ops.tanh(self.bias_add(self.matmul(hidden, third), third_bias))
            states = states + (state,)
        return ops.stack(states, 1)


class NativeRecurrence(nn.Cell):
    """The kernels of recurrence_cpu.cc; Langevin dynamics runs only the gradient to the noise."""

    def __init__(self) -> None:
        super().__init__()

        def states(driven, of_state, second, second_bias, third, third_bias):
            # called with shapes, and with types
            return [driven[0], driven[1] + 1, third[1]] if isinstance(driven, (list, tuple)) else driven

        self.forward = operator("recurrence_cpu.cc", "RecurrenceForward", states)
        self.input_gradient = operator("recurrence_cpu.cc", "RecurrenceInputGradient",
                                       lambda driven, ws, w2, b2, w3, b3, out, dout: driven)
        self.weight_gradient = operator("recurrence_cpu.cc", "RecurrenceWeightGradient",
                                        lambda driven, ws, w2, b2, w3, b3, out, dout: (ws, w2, b2, w3, b3))

    def construct(self, driven: Tensor, of_state: Tensor, second: Tensor, second_bias: Tensor, third: Tensor, third_bias: Tensor) -> Tensor:
        return self.forward(driven, of_state, second, second_bias, third, third_bias)

    def bprop(self, driven, of_state, second, second_bias, third, third_bias, out, dout):
        weights = self.weight_gradient(driven, of_state, second, second_bias, third, third_bias, out, dout)
        return (self.input_gradient(driven, of_state, second, second_bias, third, third_bias, out, dout),) + weights


def make_recurrence(kind: str) -> nn.Cell:
    """The operator named by `kind`; "auto" is native on CPU (stock if it cannot be built), stock elsewhere."""
    check_choice("model.recurrence", kind, KINDS, "stock")
    if kind == "stock" or device.current() != "CPU":
        return StockRecurrence()
    return native_or(NativeRecurrence, "model.recurrence", kind, StockRecurrence, "stock",
                     "recurrence: the native kernel is not available ({error}); using MindSpore's operators, which are slower")
