"""Starts the launchers in scripts/ as a user does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ODD = "my dïr (1), x"  # a folder's name with a space, an accent, parentheses and a comma


def copy_project(parent: Path) -> Path:
    """A copy of the launchers, with links to the rest of the project."""
    project = parent / ODD
    shutil.copytree(ROOT / "scripts", project / "scripts")
    for name in ("src", "config", "requirements.txt"):
        (project / name).symlink_to(ROOT / name)
    (project / "ascend310_infer").mkdir()
    return project


def environment(**changes: str | None) -> dict:
    """The environment of the tests without PYTHONPATH, with changes; None removes a variable."""
    merged = {**os.environ, "PYTHONPATH": None, "DGN_PYTHON": sys.executable, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def run(project: Path, script: str, *args, cwd: Path, **changes: str | None) -> subprocess.CompletedProcess:
    line = ["bash", str(project / "scripts" / script), *map(str, args)]
    return subprocess.run(line, cwd=cwd, text=True, capture_output=True, env=environment(**changes), timeout=200)


def source(project: Path, command: str, *args, **changes: str | None) -> subprocess.CompletedProcess:
    """Runs a command with the functions of common.sh."""
    common = project / "scripts" / "common.sh"
    line = ["bash", "-c", f'set -euo pipefail; . "$0"; {command}', str(common), *map(str, args)]
    return subprocess.run(line, text=True, capture_output=True, env=environment(**changes), timeout=200)
