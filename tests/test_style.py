"""Lint and types of the whole source."""

from __future__ import annotations

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


def test_no_layer_imports_from_above():
    """data, nets <- inference <- training <- run <- evaluation, figures, export, experiments, bench, page <- cli."""
    layers = [
        {"data", "nets"},
        {"inference"},
        {"training"},
        {"run"},
        {"evaluation", "figures", "export", "experiments", "bench", "page", "checks"},
        {"cli"},
    ]
    level = {name: k for k, names in enumerate(layers) for name in names}
    wrong = []
    for path in (ROOT / "src" / "dgn").rglob("*.py"):
        own = path.relative_to(ROOT / "src" / "dgn").parts[0].removesuffix(".py")
        for line in path.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) > 1 and words[0] in ("from", "import") and words[1].startswith("dgn."):
                other = words[1].split(".")[1]
                if own in level and level.get(other, 0) > level[own]:
                    wrong.append(f"{path.relative_to(ROOT)}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_no_module_hides_a_package_of_its_name():
    """msrun runs src/dgn/__main__.py, so src/dgn comes first on the path: packaging.py there would break MindSpore."""
    names = {path.stem for path in (ROOT / "src" / "dgn").glob("*.py")} - {"__init__", "__main__"}
    specs = {name: importlib.util.find_spec(name) for name in sorted(names)}
    assert not [name for name, spec in specs.items() if spec is not None and spec.origin is not None]
