"""MindSpore's global state: versions, environment, device and mode.

This module imports MindSpore inside its functions: versions must be checked, and the environment set, before.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import signal
import socket
import sys
import threading
import time
from importlib import metadata
from typing import Optional

from dgn.errors import RunFailed, UserError

MINDSPORE = (2, 7, 2), (2, 11)  # from, below
NUMPY_BELOW = 2
NOTICE = 5.0  # seconds without a connection after which a process says what it waits for
PATIENCE = 3600  # seconds that a process waits for the others
DEVICES = ("Ascend", "GPU", "CPU")  # in order of preference
_started: Optional[str] = None  # the device in use


def check_versions() -> None:
    """Raises UserError, saying what to do, if MindSpore or NumPy is missing or of a version that does not fit."""
    oldest, beyond = (".".join(map(str, version)) for version in MINDSPORE)
    wanted = f"from {oldest} to below {beyond}"
    remedy = (f"run {sys.executable} -m pip install -r requirements.txt, or scripts/run_train.sh, which makes its own "
              ".venv")
    try:
        found = metadata.version("mindspore")
    except metadata.PackageNotFoundError:
        raise UserError(f"MindSpore {wanted} is needed and none is installed: {remedy}") from None
    if not MINDSPORE[0] <= tuple(int(part) for part in re.findall(r"\d+", found)[:3]) < MINDSPORE[1]:
        raise UserError(f"MindSpore {wanted} is needed, {found} is installed: {remedy}")
    numpy_version = metadata.version("numpy")
    if int(numpy_version.split(".")[0]) >= NUMPY_BELOW:
        raise UserError(f"MindSpore {wanted} computes wrongly with NumPy {numpy_version}: install numpy>=1.25,<2; "
                        f"{remedy}")


def set_environment() -> None:
    """Environment that must stand before MindSpore is first imported; what the user has set stays."""
    os.environ.setdefault("GLOG_v", "3")  # errors only: its warnings are not about what the user does
    if os.environ.get("MS_ROLE") == "MS_WORKER":
        # how long a process waits for the others: one may be drawing or writing while they wait (CPU's own limit is 30
        # s); the scheduler keeps that limit, by which it misses a process that died
        os.environ.setdefault("MS_NODE_TIMEOUT", os.environ.get("DGN_PATIENCE", str(PATIENCE)))
    if platform.machine() == "x86_64":
        # With AVX-512 the oneDNN inside MindSpore 2.10 runs convolutions on plain layouts by its reference code, up to
        # 30 times slower than the matrix products that it uses with AVX2.
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


def start(name: str = "auto") -> str:
    """Selects the device ("auto": Ascend, then GPU, then CPU), sets graph mode, joins the group of processes that msrun
    started, and returns the device's name. After the first call "auto" is the device in use.

    Raises UserError if the device is unknown or absent, RunFailed if the processes do not connect.
    """
    if name != "auto" and name not in DEVICES:
        raise UserError(f"unknown device {name!r}; it must be one of auto, {', '.join(DEVICES)}")
    check_versions()
    set_environment()
    import mindspore as ms

    global _started
    if name == "auto":
        name = _started or next(candidate for candidate in DEVICES if available(candidate))
    elif not available(name):
        raise UserError(f"no {name} here: MindSpore {ms.__version__} finds no such device or its driver; use auto or "
                        "CPU")
    ms.set_device(name)
    ms.set_context(mode=ms.GRAPH_MODE)
    if launched_by_msrun():
        _join()
    _started = name
    return name


def import_mindspore() -> None:
    """Imports MindSpore. Ctrl-C meanwhile exits at once: an exception inside the import of its libraries would abort the
    process with a dump. Raises UserError if it cannot be imported."""
    check_versions()
    main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGINT, _exit_interrupted) if main else None
    try:
        import mindspore  # noqa: F401
    except (ImportError, OSError) as error:
        raise UserError(f"MindSpore cannot be imported: {str(error).strip().splitlines()[0]}") from None
    finally:
        if main:
            signal.signal(signal.SIGINT, previous)


def _exit_interrupted(number: int, frame: object) -> None:
    os.write(2, b"dgn: interrupted\n")
    os._exit(130)


def current() -> str:
    """The device in use: Ascend, GPU or CPU."""
    import mindspore as ms

    return ms.get_context("device_target")


def launched_by_msrun() -> bool:
    """Whether msrun started this process, as a worker or as the scheduler."""
    return os.environ.get("MS_ROLE") in ("MS_WORKER", "MS_SCHED")


@functools.lru_cache(maxsize=None)
def _join() -> None:
    """Connects to the other processes; the scheduler serves them here and exits. Raises RunFailed if they do not
    connect."""
    from mindspore import communication

    variables = {name: os.environ.get(name) for name in ("MS_ROLE", "MS_WORKER_NUM", "MS_SCHED_HOST", "MS_SCHED_PORT")}
    missing = [name for name, value in variables.items() if not value]
    if missing:
        raise UserError(f"MS_ROLE is {variables['MS_ROLE']}, as msrun sets it, but {', '.join(missing)} is not set; unset "
                        "MS_ROLE for a training in one process")
    if variables["MS_ROLE"] == "MS_WORKER" and not _answers(str(variables["MS_SCHED_HOST"]), str(variables["MS_SCHED_PORT"])):
        listed = ", ".join(f"{name}={value}" for name, value in variables.items())
        print(f"dgn: waiting for the scheduler and the other processes ({listed}); if this is not a process of msrun, stop "
              "it and unset these variables", file=sys.stderr, flush=True)
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL)  # the call below blocks in C++
    try:
        communication.init()
    except RuntimeError as error:
        raise RunFailed(f"the processes do not connect: {str(error).strip().splitlines()[0]}") from None
    finally:
        signal.signal(signal.SIGINT, previous)


def _answers(host: str, port: str) -> bool:
    """Whether the scheduler accepts connections within a few seconds."""
    end = time.monotonic() + NOTICE
    while time.monotonic() < end:
        try:
            with socket.create_connection((host, int(port)), timeout=1):
                return True
        except (OSError, ValueError):
            time.sleep(0.2)
    return False


def available(name: str) -> bool:
    """Whether MindSpore can use the device on this machine."""
    if name == "CPU":
        return True
    import mindspore as ms

    # loading an absent driver writes to standard output and error from C++
    with _silenced():
        return bool(ms.hal.is_available(name))


class _silenced:
    """Sends what C++ code writes to the two standard streams to nowhere."""

    def __enter__(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.saved = [os.dup(1), os.dup(2)]
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        os.close(nowhere)

    def __exit__(self, *_) -> None:
        for number, saved in zip((1, 2), self.saved):
            os.dup2(saved, number)
            os.close(saved)


def versions() -> dict:
    """Versions that belong beside every number."""
    import mindspore as ms

    from dgn import __version__

    return {"dgn": __version__, "mindspore": ms.__version__, "numpy": metadata.version("numpy"),
            "python": platform.python_version(), "processor": _processor()}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            names = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.machine()} ({os.cpu_count()} cores)"
