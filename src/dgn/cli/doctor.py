"""What this machine has, and what would not work here.

  dgn doctor
  dgn doctor --device CPU

Prints versions, devices, CANN and CUDA, the compiler, and which implementation of warp, deconvolution and recurrence would
be used. Exit code 1 if something is missing without which no training can run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
from pathlib import Path
from typing import List, Optional, Tuple

from dgn import runtime
from dgn.cli import add_device
from dgn.errors import RunFailed, UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    troubles: List[str] = []
    try:
        device = runtime.start(args.device)
    except (UserError, RunFailed) as error:
        print(f"device       none: {error}")
        return 1
    lines: List[Tuple[str, str]] = [("device", device)]
    lines += [(name, runtime_line(name)) for name in runtime.DEVICES if name != device]
    lines += [(key, str(value)) for key, value in runtime.versions().items()]
    lines += [("CANN", cann() or "not found"), ("CUDA", cuda() or "not found"), ("C++", compiler() or "no g++ or clang++ on PATH"),
              ("kernels", f"built in {kernel_folder()}")]
    lines += implementations(device, troubles)
    width = max(len(name) for name, _ in lines) + 2
    for name, text in lines:
        print(f"{name:{width}}{text}")
    if device != "CPU":
        troubles.append(f"nothing of this program has been run on {device} yet: its operators are chosen by MindSpore's documentation")
    if shutil.which("msrun") is None:
        troubles.append("msrun is not on PATH: scripts/run_distribute_train.sh looks for it beside its Python")
    for trouble in troubles:
        print(f"note: {trouble}")
    return 0


def runtime_line(device: str) -> str:
    """Whether a device could be chosen."""
    return "available (--device)" if runtime.available(device) else "not available"


def cann() -> Optional[str]:
    """Version and place of Ascend's toolkit, by its environment variables or its usual place."""
    named = (os.environ.get("ASCEND_HOME_PATH"), os.environ.get("ASCEND_TOOLKIT_HOME"), "/usr/local/Ascend/ascend-toolkit/latest")
    for folder in filter(None, named):
        if Path(folder).is_dir():
            found = sorted(Path(folder).glob("**/version.info"))[:1]
            version = found[0].read_text(encoding="utf-8", errors="replace").strip().splitlines()[0] if found else "version unknown"
            return f"{version} in {folder}"
    return None


def cuda() -> Optional[str]:
    """The version that nvcc names, and the driver's GPU."""
    said = [line for command, word in ((("nvcc", "--version"), "release"), (("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"), ""))
            for line in _said(command) if word in line]
    return "; ".join(line.strip() for line in said[:2]) or None


def compiler() -> Optional[str]:
    """The compiler of the C++ kernels."""
    name = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    return next(iter(_said((name, "--version"))), None) if name else None


def kernel_folder() -> Path:
    """Where the C++ kernels are built."""
    from dgn.nets.native import cache_folder
    return cache_folder()


def implementations(device: str, troubles: List[str]) -> List[Tuple[str, str]]:
    """What "auto" means here for each operator that has several implementations."""
    from dgn.nets.deconv import make_deconv
    from dgn.nets.recurrence import make_recurrence
    from dgn.nets.warp import make_warp

    made = {"warp": make_warp("auto", 16, 16, device), "deconvolution": make_deconv("auto", 2, 2, 3, 2, True, device),
            "recurrence": make_recurrence("auto", device)}
    if device == "CPU" and any("Native" not in type(cell).__name__ for cell in made.values()):
        troubles.append("without a C++ compiler MindSpore's own operators are used, which are several times slower")
    return [(name, type(cell).__name__) for name, cell in made.items()]


def _said(command: Tuple[str, ...]) -> List[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return []
