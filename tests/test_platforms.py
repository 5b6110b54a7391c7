"""Every MindSpore operator that the code names, and every one in its compiled and exported graphs, is documented for
Ascend, GPU and CPU, and MindSpore's libraries for Ascend and GPU hold a kernel for it.

The graphs are compiled on CPU: a graph that MindSpore's front end would build differently for another device is not
seen.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
from collections.abc import Sequence
from pathlib import Path

import mindspore as ms
import pytest
from mindspore import nn, ops

from tests import kernels, operators
from tests.operators import STRUCTURE, Graphs, other_mindspore

SOURCE = Path(__file__).parents[1] / "src" / "dgn"
CPU_ONLY = {"ops.Custom"}  # the C++ kernels, which are never chosen on another device
# what MindSpore announces to remove and dgn uses, with the version that announces it: why it is used
DEPRECATED = {("FusedSparseAdam", "2.8.0"): "nn.Adam makes one for sparse gradients, which dgn does not have"}
NOT_OPERATORS = {"nn.Cell", "nn.CellList", "nn.Optimizer", "ops.GradOperation", "ops.ReduceOp"}
EVERYWHERE = {"Ascend", "GPU", "CPU"}

# primitives without documentation of their own: (the operator that documents them, what they are)
DOCUMENTED_BY = {
    "BiasAddGrad": ("ops.BiasAdd", "its gradient"),
    "Concat": ("ops.cat", "its compiled form, of exported inference alone"),
    "Conv2DBackpropFilter": ("ops.Conv2D", "its gradient to the weights"),
    "Conv2DBackpropInput": ("ops.Conv2DTranspose", "the same operation; its own text calls the name deprecated"),
    "GridSampler2DGrad": ("ops.grid_sample", "its gradient; its own text names GPU and CPU alone"),
    "MatMulExt": ("ops.matmul", "its compiled form"),
    "Muls": ("ops.mul", "by a number"),
    "PowTensorScalar": ("ops.pow", "to a number; in the gradient of ops.square"),
    "LogSoftmaxGrad": ("ops.log_softmax", "its gradient"),
    "ReluGrad": ("ops.relu", "its gradient"),
    "SigmoidGrad": ("ops.sigmoid", "its gradient"),
    "SoftplusGrad": ("ops.Softplus", "its gradient"),
    "StridedSliceGrad": ("ops.strided_slice", "its gradient"),
    "SumExt": ("ops.sum", "its compiled form; in the gradient of a broadcast"),
    "TanhGrad": ("ops.tanh", "its gradient"),
    "ZerosLikeExt": ("ops.zeros_like", "in the gradient of ops.select, of exported inference alone"),
}


def require_version_of_the_table() -> None:
    """Skips the test under another MindSpore than that of the table: other front ends name other operators."""
    if reason := other_mindspore():
        pytest.skip(reason)


def expect_none(wrong: Sequence[str]) -> None:
    """Fails with what is wrong; under another MindSpore than that of the table the test is skipped with it, because
    others word its documentation and build its libraries."""
    if wrong:
        reason = other_mindspore()
        (pytest.skip if reason else pytest.fail)("\n".join([*([reason] if reason else []), *wrong]))


def require(*libraries: Path) -> None:
    """Skips the test if this MindSpore comes without a library; continuous integration must have those of the table's
    MindSpore."""
    missing = [path.name for path in libraries if not path.is_file()]
    if missing:
        needed = os.environ.get("CI") and not other_mindspore()
        (pytest.fail if needed else pytest.skip)(f"MindSpore {ms.__version__} comes without {missing}")


@pytest.mark.parametrize("version, raised", [("2.10.5", pytest.fail.Exception), ("2.11.0", pytest.skip.Exception)])
def test_what_another_mindspore_says_of_itself_is_no_failure(version, raised, monkeypatch):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(ms, "__version__", version)
    with pytest.raises(raised, match="2.1"):
        require(Path("libno.so"))
    with pytest.raises(raised, match="ops.relu: CPU"):
        expect_none(["ops.relu: CPU"])
    expect_none([])


def named_operators() -> dict[str, list[str]]:
    """ops.* and nn.* names in the code that becomes graphs, with the files that name them."""
    names: dict[str, list[str]] = {}
    files = [SOURCE / "distributed.py"]
    for folder in ("nets", "inference", "training", "evaluation"):
        files += sorted((SOURCE / folder).glob("*.py"))
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("ops", "nn"):
                names.setdefault(f"{node.value.id}.{node.attr}", []).append(path.name)
    return names


def platforms(name: str) -> set[str]:
    """The devices for which MindSpore documents ops.* or nn.*; empty if it does not document any."""
    module, attribute = name.split(".")
    text = inspect.getdoc(getattr({"ops": ops, "nn": nn}[module], attribute, None)) or ""
    section = re.search(r"Supported Platforms:\s*\n\s*(.+)", text)
    return set(re.findall(r"Ascend|GPU|CPU", section.group(1))) if section else set()


OPERATORS = sorted(set(named_operators()) - CPU_ONLY - NOT_OPERATORS)


def test_the_operators_are_read_from_the_code():
    assert {"ops.Conv2DTranspose", "ops.grid_sample", "nn.Adam", "ops.gather", "ops.AllReduce"} <= set(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
def test_documented_everywhere(name):
    if platforms(name) != EVERYWHERE:
        expect_none([f"{name} in {named_operators()[name]} is documented for {platforms(name)}"])


@pytest.fixture(scope="module")
def compiled() -> tuple[Graphs, str]:
    """Operators of every compiled and exported graph, by name, and MindSpore's warnings."""
    return operators.read_graphs()


@pytest.fixture(scope="module")
def graphs(compiled) -> Graphs:
    return compiled[0]


def announced(log: str) -> set[tuple[str, str]]:
    """What MindSpore's log calls deprecated, each with the version since which it is; a line that names neither as a
    whole."""
    found = set()
    for line in log.splitlines():
        if "deprecated" in line.lower():
            named = re.search(r"'([^']+)'.* deprecated from version (\d[\d.]*\d)", line)
            found.add((named[1], named[2]) if named else (line, ""))
    return found


def test_announcements_are_read_from_the_log():
    log = ("[WARNING] ME(1:2,MainProcess): 'FusedSparseAdam' is deprecated from version 2.8.0 and will be removed\n"
           "[WARNING] ME(1:2,MainProcess): Module 'mindspore.common.api' is deprecated from version 2.9.0 and will be "
           "removed in a future version, use 'mindspore.graph.api' instead.\nanother line\nX will be deprecated\n")
    assert announced(log) == {("FusedSparseAdam", "2.8.0"), ("mindspore.common.api", "2.9.0"),
                              ("X will be deprecated", "")}


@pytest.mark.slow
def test_nothing_is_used_that_mindspore_announces_to_remove(compiled):
    """It does so in its log, which dgn hides on CPU; and older ones do not announce what later ones do."""
    found = announced(compiled[1])
    assert found <= set(DEPRECATED), "\n".join(map(str, found))
    if not other_mindspore():
        assert found == set(DEPRECATED), "what is not announced any more leaves the list"


def own_documentation(primitive: str) -> str | None:
    """The public operator of a primitive's name: Conv2D is ops.Conv2D, ReduceSum is ops.reduce_sum."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", primitive).lower()
    return next((f"ops.{name}" for name in (primitive, snake, primitive.lower()) if platforms(f"ops.{name}")), None)


def where(primitive: str, graphs: Graphs) -> list[str]:
    """Names of the graphs that hold a primitive."""
    return [name for name, primitives in graphs.items() if primitive in primitives]


@pytest.mark.slow
def test_every_operator_of_every_graph_is_documented_everywhere(graphs):
    assert {"Conv2DTranspose", "GridSampler2DGrad", "Adam"} <= graphs["paper: update"]
    assert "Gather" in graphs["paper: exported inference"]
    exported = set().union(*(primitives for name, primitives in graphs.items() if "exported" in name))
    assert not {"Custom", "GridSampler2D"} & exported
    wrong = []
    for primitive in operators.used(graphs):
        name = own_documentation(primitive) or DOCUMENTED_BY.get(primitive, (None,))[0]
        if name is None or platforms(name) != EVERYWHERE:
            reason = "not documented" if name is None else f"{name}: {platforms(name)}"
            wrong.append(f"{primitive} ({reason}) in {where(primitive, graphs)}")
    expect_none(wrong)


@pytest.mark.slow
def test_the_exceptions_are_needed(graphs):
    require_version_of_the_table()
    everything = set().union(*graphs.values())
    assert set(STRUCTURE) | set(DOCUMENTED_BY) <= everything
    assert not [primitive for primitive in DOCUMENTED_BY if own_documentation(primitive)]


@pytest.mark.slow
def test_every_operator_of_every_graph_has_a_kernel_on_ascend(graphs):
    require(kernels.ASCEND_KERNELS, kernels.ASCEND_ADAPTERS)
    missing = [f"{name} in {where(name, graphs)}" for name in operators.used(graphs) if kernels.on_ascend(name) is None]
    expect_none(missing)


@pytest.mark.slow
def test_every_operator_of_every_graph_has_a_kernel_on_gpu(graphs):
    require(kernels.GPU_KERNELS, kernels.EXPANDER)
    missing = [f"{name} in {where(name, graphs)}" for name in operators.used(graphs) if kernels.on_gpu(name) is None]
    expect_none(missing)


def test_kernels_are_read_from_the_libraries():
    """Operators of the two interfaces of Ascend, and names that are in no library."""
    require(kernels.ASCEND_KERNELS, kernels.ASCEND_ADAPTERS, kernels.GPU_KERNELS)
    interfaces = {"GridSampler2D": "aclnn", "GridSampler2DGrad": "aclnn", "Mul": "aclnn", "Conv2D": "acl",
                  "Conv2DTranspose": "acl", "Adam": "acl", "AllReduce": "hccl"}
    found = {name: kernels.on_ascend(name) for name in interfaces}
    expect_none([f"{name}: {found[name]}, not {interface}" for name, interface in interfaces.items()
                 if found[name] is None or found[name].interface != interface])
    for name in ("NoSuchOperator", "Conv2", "GridSampler"):
        assert kernels.on_ascend(name) is None and kernels.on_gpu(name) is None
    if kernels.on_gpu("Conv2D") != ("kernel", "Conv2dFwdGpuKernelMod"):
        expect_none([f"Conv2D on GPU: {kernels.on_gpu('Conv2D')}"])


@pytest.mark.slow
def test_the_table_of_operators_is_current(graphs):
    require(kernels.ASCEND_KERNELS, kernels.ASCEND_ADAPTERS, kernels.GPU_KERNELS, kernels.EXPANDER)
    require_version_of_the_table()
    document = operators.DOCUMENT.read_text(encoding="utf-8")
    assert operators.replaced(document, operators.table(graphs)) == document, "run python -m tests.operators"


def test_the_table_is_written_between_the_comments():
    document = f"before\n{operators.BEGIN}\nold\n{operators.END}\nafter\n"
    assert operators.replaced(document, "new") == f"before\n{operators.BEGIN}\nnew\n{operators.END}\nafter\n"
    with pytest.raises(ValueError, match="lacks the comments"):
        operators.replaced("no comments", "new")


def test_uses_are_the_kinds_of_graphs():
    graphs = {"paper: decoder": frozenset("ab"), "options: update by accumulated gradients": frozenset("b"),
              "critic: critic's update with R1": frozenset("c"), "paper: exported inference": frozenset("a")}
    assert [operators.uses(name, graphs) for name in "abcd"] == [
        ["decoder", "export"], ["decoder", "training"], ["critic"], ["several processes"]]
