"""Fuzz test of the C++ code that reads input, with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import tempfile

import pytest
from mindspore.train import mind_ir_pb2 as proto

from tests.ascend310.conftest import HERE, run

pytestmark = pytest.mark.slow

COUNT = 3_300  # for each seed


def small_mindir() -> bytes:
    """A minimal valid file: a graph with a weight."""
    model = proto.ModelProto(ir_version="1.1", mind_ir_version=1, model_version="2.10.0")
    graph = model.graph
    graph.input.add(name="z").tensor.add(dims=[2, 4], data_type=1)
    graph.output.add(name="out")
    graph.parameter.add(name="weight", dims=[4, 3], data_type=1, raw_data=bytes(48))
    graph.node.add(op_type="REF::MatMul:1", input=["z", "weight"], output=["out"])
    model.primitives.add(name="MatMul:1", op_type="MatMul", prim_type=1).attribute.add(name="transpose_a", type=9)
    return model.SerializeToString()


def test_invalid_inputs_are_rejected(tools, tmp_path):
    configured = run("cmake", "-S", HERE, "-B", tmp_path / "build", "-DDGN_WERROR=ON", "-DDGN_SANITIZE=ON",
                     "-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O0")  # builds fast
    assert configured.returncode == 0, configured.stderr
    built = run("cmake", "--build", tmp_path / "build", "--target", "dgn_fuzz", "--parallel", 2)
    assert built.returncode == 0, built.stdout + built.stderr
    (tmp_path / "valid.mindir").write_bytes(small_mindir())
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # since it writes many small files
    with tempfile.TemporaryDirectory(dir=memory) as scratch:
        for seed in (1, 2, 3):
            done = run(tmp_path / "build" / "dgn_fuzz", COUNT, seed, scratch, tmp_path / "valid.mindir")
            assert done.returncode == 0, (seed, done.stderr)
            last = done.stderr.splitlines()[-1]
            assert last.startswith(f"{COUNT} inputs, ") and int(last.split()[2]) > 0.9 * COUNT
