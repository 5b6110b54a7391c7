"""Lint, types and layers of the whole source."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("line", [["ruff", "check", "src", "tests"], ["mypy"]], ids=["lint", "types"])
def test_the_source_is_clean(line):
    result = subprocess.run([sys.executable, "-m", *line], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]


SOURCE = ROOT / "src" / "dgn"
LAYERS = (  # modules and folders of dgn: each imports from its own layer and from those before it
    {"config", "console", "device", "distributed", "errors", "files", "indices", "interrupts", "launcher", "machine",
     "numerics", "provenance", "randomness", "reading", "recipe"},
    {"data", "nets"},
    {"inference", "run_folder"},
    {"training"},
    {"package_run", "packaged", "run", "run_training"},
    {"bench", "checks", "evaluation", "experiments", "export", "figures", "infer_folder", "page"},
    {"train_output"},
    {"cli"},
    {"__init__", "__main__"},
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported(source: str) -> list[str]:
    """Names directly below dgn that a module imports, in any of the ways to write it: modules, and names in dgn itself
    such as __version__."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "dgn":
            below = (node.module or "").split(".")[1:]
            names += below[:1] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name.split(".")[1] for alias in node.names if alias.name.startswith("dgn.")]
        elif isinstance(node, ast.ImportFrom) and node.level:
            names.append("a relative import")  # of no layer: unknown
    return names


def top_level() -> set[str]:
    """The modules directly below dgn, and the folders that hold modules."""
    return {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in SOURCE.rglob("*.py")}


def test_imports_are_read_however_they_are_written():
    source = """
import dgn.run, os
from dgn import cli as commands, __version__
from dgn.figures import draw
def late():
    from dgn.nets.model import Model
from . import page
"""
    assert set(imported(source)) == {"run", "cli", "__version__", "figures", "nets", "a relative import"}


def test_every_module_has_a_layer():
    assert top_level() == set(LEVEL), top_level() ^ set(LEVEL)


def test_no_layer_imports_from_above():
    wrong = []
    for path in SOURCE.rglob("*.py"):
        own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for name in imported(path.read_text(encoding="utf-8")):
            if name != "__version__" and (name not in LEVEL or LEVEL[name] > LEVEL[own]):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_module_hides_a_package_of_its_name():
    """msrun runs src/dgn/__main__.py, so src/dgn comes first on the path: packaging.py there would break MindSpore."""
    names = {path.stem for path in (ROOT / "src" / "dgn").glob("*.py")} - {"__init__", "__main__"}
    specs = {name: importlib.util.find_spec(name) for name in sorted(names)}
    assert not [name for name, spec in specs.items() if spec is not None and spec.origin is not None]
