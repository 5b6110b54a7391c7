"""The operators of all graphs with the kernels that run them on Ascend and GPU, as a table in docs/operators.md.

  python -m tests.operators    rewrites the table; tests/test_platforms.py checks that it is current
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import mindspore as ms

from tests import kernels

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "operators.md"
BEGIN, END = "<!-- begin: python -m tests.operators -->", "<!-- end -->"
# parts of a graph without a kernel
STRUCTURE = {"Depend": "order", "Load": "a parameter's value", "UpdateState": "order", "MakeTuple": "a tuple",
             "TupleGetItem": "an element of a tuple",
             "LessScalar": "arithmetic on a shape, done when the graph is compiled"}
INTERFACES = {"aclnn": "aclnn", "acl": "ACL (older)", "hccl": "HCCL", "kernel": "kernel", "expanded": "expanded"}
USES = {"decoder": "decoder", "sampler": "sampler", "update": "training", "accumulation": "training",
        "decorrelation": "training", "critic's": "critic", "regressor's": "evaluation", "recogniser's": "evaluation",
        "encoder's": "training", "exported": "export"}  # first word of a graph's name -> its column in the table

Graphs = dict[str, frozenset[str]]  # operators by graph, named "model: graph"


def other_mindspore() -> str:
    """Why results are not those of the table of operators: MindSpore is of another version; empty if it is not."""
    document = DOCUMENT.read_text(encoding="utf-8")
    version = re.search(r"MindSpore (\d+\.\d+)", document.partition(BEGIN)[2]).group(1)
    if ms.__version__.startswith(f"{version}."):
        return ""
    return f"the table is of MindSpore {version}, this is {ms.__version__}"


def read_graphs() -> tuple[Graphs, str]:
    """The operators of every compiled and exported graph, from the program tests.graphs, and MindSpore's warnings in
    it. Takes about half a minute."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *sys.path]), "GLOG_v": "2"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, "-m", "tests.graphs", folder], cwd=ROOT, env=environment,
                              capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"graph"')]
    return {record["graph"]: frozenset(record["operators"]) for record in records}, done.stderr


def used(graphs: Graphs) -> list[str]:
    """All operators of the graphs that run as kernels, and the collectives of several processes."""
    return sorted((frozenset(kernels.COLLECTIVES).union(*graphs.values())) - set(STRUCTURE))


def table(graphs: Graphs) -> str:
    """The table in Markdown."""
    lines = [f"MindSpore {'.'.join(ms.__version__.split('.')[:2])}", "",
             "| operator | Ascend | class or adapter | GPU | class | used by |", "|---|---|---|---|---|---|"]
    for operator in used(graphs):
        cells = [operator]
        for kernel in (kernels.on_ascend(operator), kernels.on_gpu(operator)):
            cells += ["none", ""] if kernel is None else [INTERFACES[kernel.interface], f"`{kernel.name}`"]
        cells.append(", ".join(uses(operator, graphs)))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def uses(operator: str, graphs: Graphs) -> list[str]:
    """The kinds of graphs that hold an operator."""
    kinds = {USES[name.split(": ")[1].split()[0]] for name, operators in graphs.items() if operator in operators}
    return [use for use in dict.fromkeys(USES.values()) if use in kinds] or ["several processes"]


def replaced(document: str, content: str) -> str:
    """The document with other content between the marker comments."""
    before, _, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{DOCUMENT.name} lacks the comments {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def main() -> None:
    """Rewrites the table."""
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(encoding="utf-8"), table(read_graphs()[0])), encoding="utf-8")


if __name__ == "__main__":
    main()
