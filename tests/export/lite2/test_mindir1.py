"""MindIR 3 rewritten as MindIR 1: what becomes of operators, constants and names, and what is refused."""

from __future__ import annotations

import struct

import pytest
from mindspore.train import mind_ir_pb2 as proto

from dgn.errors import RunFailed
from dgn.export.lite2 import mindir1

pytestmark = pytest.mark.slow

Attribute = proto.AttributeProto


class Graph:
    """A MindIR file of version 3, node by node."""

    def __init__(self, *inputs: str) -> None:
        self.model = proto.ModelProto(mind_ir_version=3, ir_version="1.1")
        for name in inputs:
            self.model.graph.input.add().name = name
        self.model.graph.output.add().name = "out"

    def constant(self, name: str, **value) -> Graph:
        node = self.model.graph.node.add(op_type="Constant", output=[name])
        node.attribute.add(name="value", **value)
        return self

    def operator(self, kind: str, inputs, output: str = "out", functional: bool = True, **attributes) -> Graph:
        name = f"{kind}:{len(self.model.primitives)}"
        primitive = self.model.primitives.add(name=name, op_type=kind, prim_type=2 if functional else 1)
        for key, value in attributes.items():
            primitive.attribute.add(name=key, type=Attribute.INT64, i=value)
        self.model.graph.node.add(op_type=f"REF::{name}", input=inputs, output=[output])
        return self

    def rewritten(self, folder, *names: str):
        (folder / "new.mindir").write_bytes(self.model.SerializeToString())
        mindir1.rewrite(folder / "new.mindir", folder / "old.mindir", names)
        return proto.ModelProto.FromString((folder / "old.mindir").read_bytes())


def operator_of(model):
    """The only node that is no constant, and its primitive."""
    node, = (node for node in model.graph.node if node.op_type != "Constant")
    primitive, = (p for p in model.primitives if f"REF::{p.name}" == node.op_type)
    return node, primitive


def attributes(primitive) -> dict:
    return {a.name: a.s.decode() if a.type == Attribute.STRING else a.i for a in primitive.attribute}


def test_options_become_attributes_and_enumerations_names(tmp_path):
    graph = Graph("x", "b").operator("BiasAdd", ["x", "b", "format"]).constant("format", type=Attribute.INT64, i=0)
    node, primitive = operator_of(graph.rewritten(tmp_path))
    assert list(node.input) == ["x", "b"] and primitive.prim_type == 1
    assert attributes(primitive) == {"data_format": "NCHW", "format": "NCHW"}


def test_a_number_becomes_a_tensor_and_constants_come_first(tmp_path):
    graph = Graph("x").operator("Muls", ["x", "factor"]).constant("factor", type=Attribute.FLOAT, f=2.5)
    model = graph.rewritten(tmp_path)
    node, primitive = operator_of(model)
    assert primitive.op_type == "Mul" and [n.op_type == "Constant" for n in model.graph.node] == [True, True, False]
    tensor, = (n.attribute[0].tensors[0] for n in model.graph.node if list(n.output) == [node.input[1]])
    assert struct.unpack("<f", tensor.raw_data) == (2.5,) and tensor.data_type == 1 and model.mind_ir_version == 1


def test_a_cast_names_its_type_as_version_1_does(tmp_path):
    model = Graph("x").constant("type", type=Attribute.INT64, i=34).operator("Cast", ["x", "type"]).rewritten(tmp_path)
    node, _ = operator_of(model)
    tensor, = (n.attribute[0].tensors[0] for n in model.graph.node if list(n.output) == [node.input[1]])
    assert tensor.data_type == proto.TensorProto.INT32


def test_inputs_are_renamed_wherever_they_are_used(tmp_path):
    model = Graph("17_cell:z").operator("ReLU", ["17_cell:z"]).rewritten(tmp_path, "z_app")
    assert model.graph.input[0].name == "z_app" and list(operator_of(model)[0].input) == ["z_app"]


def test_operators_that_have_attributes_already_stay(tmp_path):
    model = Graph("x", "w").operator("Conv2D", ["x", "w"], functional=False, group=1).rewritten(tmp_path)
    _, primitive = operator_of(model)
    assert primitive.op_type == "Conv2D" and attributes(primitive) == {"group": 1}


@pytest.mark.parametrize("graph, names, said", [
    (Graph("x").operator("GridSampler2D", ["x"]), (), "GridSampler2D (node 0)"),
    (Graph("x").operator("LSTM", ["x"], functional=False), (), "LSTM"),
    (Graph("x").operator("ReLU", ["x", "x", "x"]), (), "ReLU (node 0) has 3 inputs"),
    (Graph("x", "b").operator("BiasAdd", ["x", "b", "x"]), (), "data_format of the operator BiasAdd"),
    (Graph("x").constant("type", type=Attribute.INT64, i=99).operator("Cast", ["x", "type"]), (), "Cast (node 1)"),
    (Graph("x").operator("ReLU", ["x"]), ("a", "b"), "1 inputs, and 2 names"),
    (Graph("x"), (), "holds no graph")])
def test_an_operator_without_a_rule_is_named(graph, names, said, tmp_path):
    with pytest.raises(RunFailed) as caught:
        graph.rewritten(tmp_path, *names)
    assert said in str(caught.value) and "new.mindir" in str(caught.value) and not (tmp_path / "old.mindir").exists()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text").write_text("no MindIR at all")
    with pytest.raises(RunFailed, match="not a MindIR file"):
        mindir1.rewrite(tmp_path / "text", tmp_path / "old.mindir")
    with pytest.raises(RunFailed, match="cannot read"):
        mindir1.rewrite(tmp_path / "nothing", tmp_path / "old.mindir")
