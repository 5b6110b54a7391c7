"""What this machine has, and what would not work here.

  dgn doctor
  dgn doctor --device CPU

Prints versions, devices, CANN and CUDA, the compiler, which implementation of warp, deconvolution and recurrence would be used,
and a line for everything that would not work. Exit code 1 if something is missing without which no training can run.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import List, Optional, Tuple

from dgn import device as runtime
from dgn.cli import add_device
from dgn.errors import RunFailed, UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    try:
        device = runtime.start(args.device)
    except (UserError, RunFailed) as error:
        print(f"device       none: {error}")
        return 1
    troubles: List[str] = []
    ascend, gpu = cann(), cuda()
    lines: List[Tuple[str, str]] = [("device", device)]
    lines += [(name, runtime_line(name)) for name in runtime.DEVICES if name != device]
    lines += [(key, str(value)) for key, value in runtime.versions().items()]
    lines += [("CANN", ascend or "not found"), ("CUDA", gpu or "not found"),
              ("GPU libraries", f"of MindSpore here: for CUDA {', '.join(cuda_wanted()) or 'none'}"),
              ("C++", compiler() or "no g++ or clang++ on PATH"), ("kernels", f"built in {kernel_folder()}"),
              ("threads", f"{os.environ.get('DGN_THREADS') or os.cpu_count()} in the kernels (DGN_THREADS)"),
              ("msrun", str(msrun() or "not found"))]
    lines += implementations(device, troubles)
    width = max(len(name) for name, _ in lines) + 2
    for name, text in lines:
        print(f"{name:{width}}{text}")
    troubles += absent(device, ascend, gpu)
    for trouble in troubles:
        print(f"note: {trouble}")
    missing = unusable()
    for name, reason in missing:
        print(f"missing: {name} ({reason}); {sys.executable} -m pip install -r requirements.txt")
    return 1 if missing else 0


REQUIRED = ("yaml", "cv2", "tqdm", "matplotlib", "PIL", "sklearn")  # modules of requirements.txt besides MindSpore and NumPy


def unusable() -> List[Tuple[str, str]]:
    """Required packages that cannot be imported, and why: OpenCV may be installed and lack a library of the system."""
    found = []
    for name in REQUIRED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            found.append((name, str(error).splitlines()[0]))
    return found


def absent(device: str, ascend: Optional[str], gpu: Optional[str]) -> List[str]:
    """What would not work here, a sentence each. ascend, gpu: what cann and cuda found."""
    notes = []
    if device != "CPU":
        notes.append(f"nothing of this program has been run on {device} yet: its operators are chosen by MindSpore's documentation")
    release = re.search(r"release (\d+\.\d+)", gpu or "")
    if not runtime.available("GPU") and release and release.group(1) not in cuda_wanted():
        notes.append(f"--device GPU does not work: CUDA {release.group(1)} is here, MindSpore's libraries are for {' and '.join(cuda_wanted())}")
    if not runtime.available("Ascend") and ascend:
        notes.append("--device Ascend does not work although CANN is here: is its set_env.sh sourced, and its version one that MindSpore's "
                     "release notes name?")
    if msrun() is None:
        notes.append("scripts/run_distribute_train.sh does not work: no msrun beside this Python or on PATH")
    if importlib.util.find_spec("onnxruntime") is None:
        notes.append("dgn export --format onnx does not work: no onnxruntime")
    if importlib.util.find_spec("torch") is None:
        notes.append("dgn bench --against torch does not work: no PyTorch (it is not a requirement)")
    return notes


def msrun() -> Optional[Path]:
    """MindSpore's launcher of several processes: beside this Python, as the scripts look for it, or on PATH."""
    beside = Path(sys.executable).with_name("msrun")
    found = shutil.which("msrun")
    return beside if beside.is_file() else Path(found) if found else None


def cuda_wanted() -> List[str]:
    """The CUDA versions that the installed MindSpore has libraries for."""
    import mindspore

    plugins = (Path(mindspore.__file__).parent / "lib" / "plugin").glob("libmindspore_gpu.so.*")
    return sorted(path.name.removeprefix("libmindspore_gpu.so.") for path in plugins)


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
    said = [line for line in _said(("nvcc", "--version")) if "release" in line]
    said += _said(("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"))
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
