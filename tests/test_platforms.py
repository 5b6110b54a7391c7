"""Every MindSpore operator that the model, sampler and learning name is documented for Ascend, GPU and CPU."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from mindspore import nn, ops

SOURCE = Path(__file__).parents[1] / "src" / "dgn"
CPU_ONLY = {"ops.Custom"}  # the C++ kernels, which make_warp and make_deconv never choose elsewhere
NOT_OPERATORS = {"nn.Cell", "nn.CellList", "ops.GradOperation"}


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
    text = inspect.getdoc(getattr({"ops": ops, "nn": nn}[module], attribute)) or ""
    section = re.search(r"Supported Platforms:\s*\n\s*(.+)", text)
    return set(re.findall(r"Ascend|GPU|CPU", section.group(1))) if section else set()


OPERATORS = sorted(set(named_operators()) - CPU_ONLY - NOT_OPERATORS)


def test_the_code_was_found():
    assert {"ops.Conv2DTranspose", "ops.grid_sample", "nn.Adam", "ops.gather"} <= set(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
def test_documented_everywhere(name):
    assert platforms(name) == {"Ascend", "GPU", "CPU"}, f"{name} in {named_operators()[name]} is documented for {platforms(name)}"
