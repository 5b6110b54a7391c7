"""The gradients of any network as a network: what checks, timings and tests differentiate."""

from __future__ import annotations

from mindspore import nn, ops


class Gradients(nn.Cell):
    """Gradients of sum(dout * net(*inputs)) with respect to every input: (inputs, dout) -> gradients."""

    def __init__(self, net: nn.Cell) -> None:
        super().__init__()
        self.net, self.gradient = net, ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, *inputs_and_dout):
        return self.gradient(self.net)(*inputs_and_dout)
