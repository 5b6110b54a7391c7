"""Every MindSpore operator that the code names, and every one that its compiled and exported graphs are made of, is documented
for Ascend, GPU and CPU. (Compiled here, on CPU: a graph that MindSpore's front end would build otherwise for another device is
not seen.)"""

from __future__ import annotations

import ast
import inspect
import json
import mmap
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, Optional, Set

import mindspore as ms
import pytest
from mindspore import nn, ops

SOURCE = Path(__file__).parents[1] / "src" / "dgn"
CPU_ONLY = {"ops.Custom"}  # the C++ kernels, which make_warp and make_deconv never choose elsewhere
NOT_OPERATORS = {"nn.Cell", "nn.CellList", "ops.GradOperation"}
EVERYWHERE = {"Ascend", "GPU", "CPU"}

# what a graph consists of besides operators: it becomes no kernel
STRUCTURE = {"Depend": "order", "Load": "a parameter's value", "UpdateState": "order", "MakeTuple": "a tuple", "TupleGetItem": "its element",
             "LessScalar": "arithmetic on a shape, done when the graph is compiled"}
# primitives that have no documentation of their own: (the operator that documents them, what they are)
DOCUMENTED_BY = {
    "BiasAddGrad": ("ops.BiasAdd", "its gradient"),
    "Conv2DBackpropFilter": ("ops.Conv2D", "its gradient to the weights"),
    "Conv2DBackpropInput": ("ops.Conv2DTranspose", "the same operation; its own text calls it deprecated as a name for users"),
    "GridSampler2DGrad": ("ops.grid_sample", "its gradient; its own text names GPU and CPU alone, see the test of the libraries"),
    "MatMulExt": ("ops.matmul", "what it is compiled to"),
    "Muls": ("ops.mul", "by a number"),
    "PowTensorScalar": ("ops.pow", "to a number; in the gradient of ops.square"),
    "ReluGrad": ("ops.relu", "its gradient"),
    "SoftplusGrad": ("ops.Softplus", "its gradient"),
    "StridedSliceGrad": ("ops.strided_slice", "its gradient"),
    "SumExt": ("ops.sum", "what it is compiled to; in the gradient of a broadcast"),
    "TanhGrad": ("ops.tanh", "its gradient"),
    "ZerosLikeExt": ("ops.zeros_like", "in the gradient of ops.select, of exported inference alone"),
}


def named_operators() -> dict:
    """ops.* and nn.* names in the code that becomes graphs, with the files that name them."""
    found: dict = {}
    for path in (SOURCE / "step.py", *(path for folder in ("nets", "inference", "training", "evaluation")
                                       for path in sorted((SOURCE / folder).glob("*.py")))):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("ops", "nn"):
                found.setdefault(f"{node.value.id}.{node.attr}", []).append(path.name)
    return found


def platforms(name: str) -> set:
    module, attribute = name.split(".")
    text = inspect.getdoc(getattr({"ops": ops, "nn": nn}[module], attribute, None)) or ""
    section = re.search(r"Supported Platforms:\s*\n\s*(.+)", text)
    return set(re.findall(r"Ascend|GPU|CPU", section.group(1))) if section else set()


OPERATORS = sorted(set(named_operators()) - CPU_ONLY - NOT_OPERATORS)


def test_the_code_was_found():
    assert {"ops.Conv2DTranspose", "ops.grid_sample", "nn.Adam", "ops.gather"} <= set(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
def test_documented_everywhere(name):
    assert platforms(name) == EVERYWHERE, f"{name} in {named_operators()[name]} is documented for {platforms(name)}"


@pytest.fixture(scope="module")
def graphs(tmp_path_factory) -> Dict[str, Set[str]]:
    """Primitives of every compiled and exported graph, by name."""
    running = [subprocess.Popen([sys.executable, "-m", "tests.graphs", kind, str(tmp_path_factory.mktemp(kind))], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[1],
                                env={**os.environ, "PYTHONPATH": os.pathsep.join(["src", *sys.path])}) for kind in ("trained", "exported")]
    found = {}
    for process in running:
        said, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
        records = [json.loads(line) for line in said.splitlines() if line.startswith('{"graph"')]
        found.update({record["graph"]: set(record["operators"]) for record in records})
    return found


def own_documentation(primitive: str) -> Optional[str]:
    """The public operator of a primitive's name that says where it runs: Conv2D is ops.Conv2D, ReduceSum ops.reduce_sum."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", primitive).lower()
    return next((f"ops.{name}" for name in (primitive, snake, primitive.lower()) if platforms(f"ops.{name}")), None)


def test_every_operator_of_every_graph_is_documented_everywhere(graphs):
    assert {"Conv2DTranspose", "GridSampler2DGrad", "Adam"} <= graphs["paper: step"] and "Gather" in graphs["paper: exported inference"]
    assert not any({"Custom", "GridSampler2D"} & operators for name, operators in graphs.items() if "exported" in name)
    wrong = []
    for primitive in sorted(set.union(*graphs.values()) - set(STRUCTURE)):
        named = own_documentation(primitive) or DOCUMENTED_BY.get(primitive, (None,))[0]
        if named is None or platforms(named) != EVERYWHERE:
            where = [name for name, operators in graphs.items() if primitive in operators]
            wrong.append(f"{primitive} ({'documented by nothing' if named is None else f'{named}: {platforms(named)}'}) in {where}")
    assert not wrong, "\n".join(wrong)


def test_the_tables_name_what_is_there_and_needs_them(graphs):
    everything = set.union(*graphs.values())
    assert set(STRUCTURE) | set(DOCUMENTED_BY) <= everything
    assert not [primitive for primitive in DOCUMENTED_BY if own_documentation(primitive)]


@pytest.mark.parametrize("device, names, of", [("Ascend", ("libmindspore_ops_ascend.so", "libmindspore_ascend.so*", "ascend/*.so"), "exported"),
                                               ("GPU", ("libmindspore_gpu.so.11.6",), "none")])
def test_the_devices_libraries_know_what_has_no_documentation_of_its_own(graphs, device, names, of):
    """GPU: of the trained graphs; Ascend: of the exported ones, too."""
    plugins = Path(ms.__file__).parent / "lib" / "plugin"
    libraries = [path for name in names for path in sorted(plugins.glob(name))]
    if not libraries:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"this MindSpore comes without its libraries for {device}")
    asked = set.union(*(operators for name, operators in graphs.items() if "exported" not in name or of == "exported")) & set(DOCUMENTED_BY)
    for path in libraries:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            asked = {primitive for primitive in asked if content.find(primitive.encode()) < 0}
    assert not asked, f"unknown to MindSpore's libraries for {device}"
