"""MindIR files of version 3, which MindSpore 2.10 writes, rewritten as version 1, which MindSpore Lite 2.0 reads.

What differs for the graphs of this project:
  - version 3 passes options of operators (a format, an axis, a transposition) as inputs, version 1 as attributes;
  - version 3 has operators with a scalar (Muls, LessScalar); in version 1 the scalar is a tensor;
  - an enumeration is a number in version 3 and a name in version 1; a type to cast to has another number;
  - constants come before the nodes that use them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from mindspore.train import mind_ir_pb2

from dgn.errors import RunFailed
from dgn.files import replacing

VERSION = 1
_PRIMITIVE, _FUNCTION = 1, 2  # PrimitiveProto.prim_type: with attributes, or with all options as inputs


class Rule(NamedTuple):
    """How an operator of version 3 is written in version 1."""

    tensors: int  # number of inputs that stay inputs
    options: tuple[str, ...] = ()  # attribute names of the inputs after them
    name: str = ""  # in version 1; empty: the same
    fixed: tuple[tuple[str, bool], ...] = ()  # attributes that version 3 does not have
    scalars: bool = False  # a scalar input becomes a float32 tensor


_ARITHMETIC = Rule(2, scalars=True)
_UNTRANSPOSED = tuple((name, False) for name in ("transpose_a", "transpose_b", "transpose_x1", "transpose_x2"))

RULES: dict[str, Rule] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "RealDiv", "Maximum", "Minimum"), _ARITHMETIC),
    **dict.fromkeys(("Greater", "Less", "GreaterEqual", "LessEqual"), _ARITHMETIC),
    "AddScalar": Rule(2, name="Add", scalars=True),
    "SubScalar": Rule(2, name="Sub", scalars=True),
    "Muls": Rule(2, name="Mul", scalars=True),
    "Div": Rule(2, name="RealDiv", scalars=True),
    "Divs": Rule(2, name="RealDiv", scalars=True),
    "GreaterScalar": Rule(2, name="Greater", scalars=True),
    "LessScalar": Rule(2, name="Less", scalars=True),
    "GreaterEqualScalar": Rule(2, name="GreaterEqual", scalars=True),
    "LessEqualScalar": Rule(2, name="LessEqual", scalars=True),
    **dict.fromkeys(("ReLU", "Tanh", "Floor", "Neg", "Square"), Rule(1)),
    "LogicalAnd": Rule(2),
    "Select": Rule(3),
    "ReduceSum": Rule(2, ("keep_dims", "skip_mode")),
    "UnsortedSegmentSum": Rule(3),
    "Cast": Rule(2),
    "Reshape": Rule(2),
    "Transpose": Rule(2),
    "Tile": Rule(2),
    "Gather": Rule(3, ("batch_dims",)),
    "Concat": Rule(1, ("axis",)),
    "BiasAdd": Rule(2, ("data_format",)),
    "MatMul": Rule(2, ("transpose_a", "transpose_b")),
    "BatchMatMul": Rule(2, ("transpose_a", "transpose_b")),
    "MatMulExt": Rule(2, name="BatchMatMul", fixed=_UNTRANSPOSED),
    "StridedSlice": Rule(4, ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")),
}
# operators whose options are attributes in version 3 too
UNCHANGED = frozenset({"Conv2DTranspose", "Conv2D", "Stack", "Load", "UpdateState", "Depend", "MakeTuple",
                       "TupleGetItem"})

_FORMATS = {0: "NCHW", 1: "NHWC"}
_FLOAT32 = 1  # TensorProto.DataType
_TYPES = {30: 9, 34: 6, 35: 7, 42: 10, 43: 1, 44: 11}  # number of a type in MindSpore -> TensorProto.DataType
# further names under which version 1 reads an attribute
_ALIASES = {"data_format": ("format",), "transpose_a": ("transpose_x1",), "transpose_b": ("transpose_x2",)}


def rewrite(source: Path, target: Path, inputs: Sequence[str] = ()) -> None:
    """Writes the MindIR file `source` as version 1 to `target`. inputs: new names of the graph's inputs.

    Raises RunFailed if it is no MindIR file, or has an operator without a rule (named in the message).
    """
    model = mind_ir_pb2.ModelProto()
    try:
        model.ParseFromString(source.read_bytes())
    except OSError as error:
        raise RunFailed(f"cannot read {source}: {error.strerror or error}") from None
    except DecodeError:
        raise RunFailed(f"{source} is not a MindIR file, or a damaged one") from None
    if not model.graph.node:
        raise RunFailed(f"{source} is not a MindIR file: it holds no graph")
    Rewriting(model, source.name).run(inputs)  # only the name, because an export's folder is temporary
    with replacing(target) as beside:
        beside.write_bytes(model.SerializeToString())


class Rewriting:
    """Changes a model from version 3 to version 1, in place."""

    def __init__(self, model, where: str) -> None:
        self.model, self.where = model, where
        self.primitives = {primitive.name: primitive for primitive in model.primitives}
        self.constants = {node.output[0]: node for node in model.graph.node if node.op_type == "Constant"}

    def run(self, inputs: Sequence[str] = ()) -> None:
        """Raises RunFailed, which names the operator, for an operator without a form in version 1."""
        if self.model.functions:
            raise RunFailed(f"{self.where}: the graph calls {len(self.model.functions)} other graphs, which version "
                            f"{VERSION} does not have")
        for number, node in enumerate(list(self.model.graph.node)):
            if node.op_type != "Constant":
                self._rewrite_node(number, node)
        self._constants_first()
        self._rename_inputs(inputs)
        self.model.mind_ir_version = VERSION

    def _rewrite_node(self, number: int, node) -> None:
        primitive = self.primitives.get(node.op_type.removeprefix("REF::"))
        operator = primitive.op_type if primitive is not None else node.op_type
        if primitive is not None and primitive.prim_type != _FUNCTION and operator in UNCHANGED:
            return
        if operator not in RULES or primitive is None:
            known = ", ".join(sorted({*RULES, *UNCHANGED}))
            raise RunFailed(f"{self.where}: the operator {operator} (node {number}) has no form in MindIR {VERSION} "
                            f"that is known here; known are {known}")
        rule = RULES[operator]
        new = self.model.primitives.add()
        new.CopyFrom(primitive)
        new.prim_type, new.op_type = _PRIMITIVE, rule.name or operator
        new.name, new.instance_name = f"{new.op_type}:node{number}", new.op_type
        tensors, options = list(node.input[:rule.tensors]), list(node.input[rule.tensors:])
        if len(tensors) < rule.tensors or len(options) > len(rule.options):
            raise RunFailed(f"{self.where}: the operator {operator} (node {number}) has {len(node.input)} inputs; "
                            f"{rule.tensors} tensors and at most {len(rule.options)} options are known of it")
        for name, source in zip(rule.options, options):
            self._add_option(new, name, source, operator, number)
        for name, value in rule.fixed:
            self._add_attribute(new, name).CopyFrom(_boolean(name, value))
        if rule.scalars:
            tensors = [self._as_tensor(source) for source in tensors]
        if operator == "Cast":
            tensors[1] = self._as_type(tensors[1], number)
        del node.input[:]
        node.input.extend(tensors)
        node.op_type = f"REF::{new.name}"

    def _add_option(self, primitive, name: str, source: str, operator: str, number: int) -> None:
        if source not in self.constants:
            raise RunFailed(f"{self.where}: {name} of the operator {operator} (node {number}) is not a constant")
        value = self.constants[source].attribute[0]
        for alias in (name, *_ALIASES.get(name, ())):
            attribute = self._add_attribute(primitive, alias)
            attribute.CopyFrom(value)
            attribute.name = alias
            if name == "data_format":
                attribute.type, attribute.s = attribute.STRING, _FORMATS[value.i].encode()
                attribute.ClearField("i")

    @staticmethod
    def _add_attribute(primitive, name: str):
        for attribute in primitive.attribute:
            if attribute.name == name:
                return attribute
        return primitive.attribute.add()

    def _as_tensor(self, source: str) -> str:
        """The name of an input; a scalar constant is replaced by a float32 tensor."""
        if source not in self.constants:
            return source
        value = self.constants[source].attribute[0]
        fields = {value.FLOAT: "f", value.DOUBLE: "d", value.INT64: "i", value.INT32: "i"}
        if value.type not in fields:
            return source
        number = np.float32(getattr(value, fields[value.type]))
        return self._constant_tensor(f"{source}_tensor", _FLOAT32, struct.pack("<f", number))

    def _as_type(self, source: str, number: int) -> str:
        """A constant with the type in version 1's numbering, of a constant in MindSpore's."""
        value = self.constants[source].attribute[0] if source in self.constants else None
        if value is None or value.i not in _TYPES:
            what = "not constant" if value is None else value.i
            raise RunFailed(f"{self.where}: Cast (node {number}) to a type that is not known here ({what})")
        return self._constant_tensor(f"{source}_type", _TYPES[value.i])

    def _constant_tensor(self, name: str, data_type: int, data: bytes = b"") -> str:
        """A constant without dimensions; without data only its type matters."""
        if name not in self.constants:
            node = self.model.graph.node.add()
            node.op_type = "Constant"
            node.output.append(name)
            attribute = node.attribute.add()
            attribute.name, attribute.type = "value", attribute.TENSORS
            tensor = attribute.tensors.add()
            tensor.name, tensor.data_type = "value0", data_type
            if data:
                tensor.raw_data = data
            self.constants[name] = node
        return name

    def _constants_first(self) -> None:
        graph = self.model.graph
        nodes = sorted(graph.node, key=lambda node: node.op_type != "Constant")
        copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)

    def _rename_inputs(self, names: Sequence[str]) -> None:
        graph = self.model.graph
        if names and len(names) != len(graph.input):
            raise RunFailed(f"{self.where}: {len(graph.input)} inputs, and {len(names)} names for them")
        new = {value.name: name for value, name in zip(graph.input, names)}
        for value in graph.input:
            value.name = new.get(value.name, value.name)
        for node in graph.node:
            renamed: list[str] = [new.get(name, name) for name in node.input]
            del node.input[:]
            node.input.extend(renamed)


def _boolean(name: str, value: bool):
    return mind_ir_pb2.AttributeProto(name=name, type=mind_ir_pb2.AttributeProto.BOOL, i=int(value))
