"""A JSON description of a generator, from which decoder.js rebuilds it.

  {"size", "channels", "frames", "groups": [branch of each latent group], "refine": null or {"weight", "bias"}}

A branch is {"states", "length", "transition", "layers", "scale", "shift", "basis", "affine", "offset"}: latents (Z_0,
xi_1 .. xi_T) of `length` values, of which the first `states` are Z_0; the layers' tanh is multiplied by `scale` and
`shift` is added; a field of control points is multiplied by the matrices of `basis`; `affine` and `offset` are added.
Weights are those that the layers use: He's scale and the smoothing of a kernel are folded into them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import nn

from dgn.nets.deformable import AffineField, GeometryGenerator
from dgn.nets.dynamic import DynamicGenerator, Transition
from dgn.nets.layers import ScaledLayer
from dgn.nets.model import Model
from dgn.page.arrays import Packer

Json = dict[str, Any]


def describe(model: Model, packer: Packer) -> Json:
    """The description of a model; its arrays are added to `packer`."""
    over_time = isinstance(model, DynamicGenerator)
    groups = []
    for group, branch in zip(model.groups, model.branches):
        generator, transition = (branch.emission, branch.latents.transition) if over_time else (branch, None)
        states = branch.state_size if over_time else group.shape[0]
        groups.append({"states": states, "length": group.shape[0], "transition": _transition(transition, packer),
                       **_generator(generator, packer)})
    refine = getattr(model, "refine", None)
    return {"size": model.size, "channels": model.channels, "frames": model.frames, "groups": groups,
            "refine": refine and {"weight": packer.add(refine.weight.asnumpy()),
                                  "bias": packer.add(refine.bias.asnumpy())}}


def _generator(generator: nn.Cell, packer: Packer) -> Json:
    """Layers and output of an ImageGenerator or GeometryGenerator."""
    stack = generator.stack
    hidden = [{**_layer(layer, packer), "stride": layer.stride, "activation": "relu"} for layer in stack.hidden]
    layers = [{**_layer(stack.dense, packer), "stride": 0, "activation": "relu"}, *hidden,
              {**_layer(stack.last, packer), "stride": stack.last.stride, "activation": "tanh"}]
    if not isinstance(generator, GeometryGenerator):
        return {"side": stack.architecture.side, "layers": layers, "scale": 0.5, "shift": 0.5, "basis": None,
                "affine": None, "offset": None}
    return {"side": stack.architecture.side, "layers": layers, "scale": float(generator.scale), "shift": 0.0,
            "basis": _basis(generator, packer), "affine": _affine(generator.affine, packer),
            "offset": None if generator.offset is None else packer.add(generator.offset.asnumpy())}


def _basis(generator: GeometryGenerator, packer: Packer) -> Json | None:
    """left field right^T; None: the stack gives the displacement of every pixel."""
    if not generator.has_basis:
        return None
    left, right = generator.left.asnumpy(), np.swapaxes(generator.right.asnumpy(), -1, -2)
    if left.ndim == 2:  # the same for both components
        both = packer.add(left)
        return {"left": [both, both], "right": [both, both]}
    return {"left": [packer.add(matrix) for matrix in left], "right": [packer.add(matrix) for matrix in right]}


def _affine(affine: AffineField | None, packer: Packer) -> Json | None:
    """The dense layer, and the fields that its outputs weight: a ramp along x or y, and a constant shift."""
    if affine is None:
        return None
    side = affine.shape[-1]
    x, y, shift = affine.fields.asnumpy()[:3, :side * side].reshape(3, side, side)
    return {**_layer(affine.dense, packer, exact=True), "ramp": packer.add(x[0]), "shift": float(shift[0, 0])}


def _transition(transition: Transition | None, packer: Packer) -> Json | None:
    """The three dense layers of Eq. 11; None if a group does not change over time."""
    if transition is None:
        return None
    return {"noise": transition.noise_size, "layers": [
        _layer(layer, packer, exact=True) for layer in (transition.first, transition.second, transition.third)]}


def _layer(layer: ScaledLayer, packer: Packer, exact: bool = False) -> Json:
    weight = layer.folded_weight()
    return {"weight": packer.add(weight) if exact else packer.add_weight(weight),
            "bias": packer.add(layer.bias.asnumpy())}
