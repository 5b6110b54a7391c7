"""What this machine has for MindSpore: devices, CANN, CUDA, packages. It imports only the standard library, so that it
works without MindSpore."""

from __future__ import annotations

import functools
import glob
import importlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dgn.errors import first_line

CANN_FOLDERS = ("/usr/local/Ascend/cann", "/usr/local/Ascend/ascend-toolkit/latest")  # since CANN 8.5, and before
CANN_MODULES = {"te": "te", "attr": "attrs", "Cython": "cython", "decorator": "decorator", "sympy": "sympy",
                "cffi": "cffi", "pathlib2": "pathlib2", "requests": "requests", "absl": "absl-py"}  # module: package
CGROUP = Path("/sys/fs/cgroup")
TIMEOUT = 120  # seconds for a program, because the driver of a broken device may hang
LIBRARIES = {"Ascend": ("ascend", "ge_runner"), "GPU": ("gpu", "cuda", "cudnn")}  # words in names of libraries

_ATTEMPT = "import mindspore as ms; ms.set_device({name!r}); {check} and ms.run_check()"
_FAILED = "MindSpore running check failed"  # run_check prints it, and exits with 0
_LOG = re.compile(r"\[(?:WARNING|ERROR|CRITICAL)\] \w+\([^)]*\):\S+ \[[^\]]*\] (?:\w+\] )?(.+)")
_LOAD = re.compile(r"Load dynamic library: (\S+) failed\. (.+)")
_ERROR = re.compile(r"\w*Error: (.+)")
_ADVICE = re.compile(r" (?:For details|Please (?:refer|confirm|make sure))")


class Cann(NamedTuple):
    """Ascend's toolkit."""

    version: str  # such as 8.5.0, or "unknown"
    folder: Path

    @property
    def release(self) -> str:
        """Major and minor version, such as 8.5."""
        return ".".join(self.version.split(".")[:2])


class Attempt(NamedTuple):
    """The result of selecting a device in a separate process."""

    succeeded: bool
    messages: tuple[str, ...]  # errors of loading libraries first, then warnings, each once
    output: tuple[str, ...]  # lines of mindspore.run_check(), if it ran


def accelerators() -> list[str]:
    """Devices with a driver on this machine, recognized by their device files; a GPU counts only with CUDA_HOME,
    without which MindSpore does not load its GPU library."""
    devices = ["Ascend"] if glob.glob("/dev/davinci[0-9]*") else []
    return devices + (["GPU"] if glob.glob("/dev/nvidia[0-9]*") and os.environ.get("CUDA_HOME") else [])


def attempt(name: str, check: bool = False) -> Attempt:
    """Selects a device and shows MindSpore's warnings. check: whether to run mindspore.run_check() on it."""
    environment = {key: value for key, value in os.environ.items() if key != "MS_ROLE"}  # it joins no other processes
    environment["GLOG_v"] = "2"
    command = [sys.executable, "-c", _ATTEMPT.format(name=name, check=check)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT,
                                env=environment)
    except subprocess.TimeoutExpired:
        return Attempt(False, (f"no answer within {TIMEOUT} s",), ())
    output = tuple(line for line in result.stdout.splitlines() if line.strip() and not _LOG.match(line))
    failed = result.returncode != 0 or any(_FAILED in line for line in output)
    found = reasons(name, f"{result.stdout}\n{result.stderr}")
    if failed and not found:
        last = result.stderr.strip().splitlines()[-1:]
        found = tuple(last or [f"the process ended with exit code {result.returncode}"])
    return Attempt(not failed, found, output)


def reasons(name: str, text: str) -> tuple[str, ...]:
    """The reasons in MindSpore's output why a device is not available: libraries of that device that were not loaded,
    and warnings; without either the last exception. Advice to read the installation guide is dropped."""
    loads, warnings, errors = [], [], []
    for line in text.splitlines():
        load, warning, error = _LOAD.search(line), _LOG.match(line), _ERROR.match(line)
        if load:
            if any(word in f"{load[1]} {load[2]}".lower() for word in LIBRARIES.get(name, ())):
                loads.append(f"{load[1]}: {load[2]}")
        elif warning:
            warnings.append(_ADVICE.split(warning[1])[0])
        elif error:
            errors.append(error[1].split(". ")[0])
    return tuple(dict.fromkeys([*loads, *warnings])) or tuple(errors[-1:])


def cann() -> Cann | None:
    """The toolkit that the environment names, or in its usual places; None if there is none."""
    named = (os.environ.get("ASCEND_HOME_PATH"), os.environ.get("ASCEND_TOOLKIT_HOME"), *CANN_FOLDERS)
    for folder in map(Path, filter(None, named)):
        if folder.is_dir():
            return Cann(_cann_version(folder), folder)
    return None


def _cann_version(folder: Path) -> str:
    for path in (folder / "compiler" / "version.info", folder / "version.info", *sorted(folder.glob("*/version.info"))):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith("Version="):
                return line.partition("=")[2].strip()
    return "unknown"


def cann_accepted() -> list[str]:
    """Releases of CANN that the installed MindSpore accepts, by its own check; [] if it cannot be read."""
    try:
        checks = importlib.import_module("mindspore.run_check._check_version")
        return list(checks.AscendEnvChecker(None).version)
    except Exception:  # a private module, which other versions may lack or change
        return []


def absent_modules() -> list[str]:
    """The packages of CANN_MODULES whose module is not installed."""
    return [package for module, package in CANN_MODULES.items() if importlib.util.find_spec(module) is None]


def unusable(modules: Sequence[str]) -> list[tuple[str, str]]:
    """Modules that cannot be imported, and why: a package may be installed and lack a library of the system."""
    failed = []
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # ImportError, OSError of a shared library, whatever a broken package raises
            failed.append((name, first_line(error)))
    return failed


def npu_smi() -> list[str]:
    """The rows of npu-smi's table of devices; [] without npu-smi."""
    rows = [line.strip(" |").split("|") for line in output_of(("npu-smi", "info")) if re.match(r"\s*\|.*\w", line)]
    return [" | ".join(" ".join(cell.split()) for cell in row) for row in rows]


def cuda() -> str | None:
    """The release that nvcc names, and the driver's GPU."""
    lines = [line for line in output_of(("nvcc", "--version")) if "release" in line]
    lines += output_of(("nvidia-smi", "--query-gpu=name", "--format=csv,noheader"))
    return "; ".join(line.strip() for line in lines[:2]) or None


def cuda_release(cuda_line: str | None) -> str | None:
    """Major and minor version in the line that `cuda` gives."""
    release = re.search(r"release (\d+\.\d+)", cuda_line or "")
    return release[1] if release else None


def cuda_libraries() -> list[str]:
    """CUDA releases for which the installed MindSpore has a library; [] without MindSpore."""
    spec = importlib.util.find_spec("mindspore")
    if spec is None or spec.origin is None:
        return []
    plugins = (Path(spec.origin).parent / "lib" / "plugin").glob("libmindspore_gpu.so.*")
    return sorted(path.name.removeprefix("libmindspore_gpu.so.") for path in plugins)


def msrun() -> Path | None:
    """MindSpore's launcher of several processes, next to this Python, where the scripts look first, or on PATH."""
    beside = Path(sys.executable).with_name("msrun")
    on_path = shutil.which("msrun")
    return beside if beside.is_file() else Path(on_path) if on_path else None


def compiler() -> str | None:
    """The C++ compiler that builds the kernels: $CXX, g++ or clang++."""
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


@functools.cache
def compiler_version(command: str | None) -> str | None:
    """The first line of a C++ compiler's --version; None if there is none, or the command is malformed."""
    try:
        words = shlex.split(command or "")
    except ValueError:
        return None
    return next(iter(output_of((*words, "--version"))), None) if words else None


def output_of(command: tuple[str, ...]) -> list[str]:
    """Lines of a program's standard output; [] if there is no such program or it does not answer."""
    try:
        return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return []


def cpuinfo(*keys: str) -> str | None:
    """The value of the first line of /proc/cpuinfo with one of these keys; None without one."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() in keys), None)


def cores() -> int:
    """Number of cores that this process may use: limited by its affinity mask and the quota of its control group."""
    count = len(os.sched_getaffinity(0))
    return max(1, min(count, _quota(CGROUP) or count))


def _quota(cgroup: Path) -> int | None:
    """The CPU quota of the control group in cores, rounded up; None without one. (Version 2, then version 1.)"""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((cgroup / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return None
    try:
        return -(-int(quota) // int(period)) if int(quota) > 0 else None
    except ValueError:  # "max"
        return None
