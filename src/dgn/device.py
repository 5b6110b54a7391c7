"""MindSpore's global state: versions, environment, device and mode.

This module imports MindSpore inside its functions: versions must be checked, and the environment set, before.
"""

from __future__ import annotations

import functools
import gc
import os
import platform
import re
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import ParamSpec, TypeVar

from dgn import machine, numerics
from dgn.config import Numerics
from dgn.errors import RunFailed, UserError, first_line

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
MINDSPORE = (2, 7, 2), (2, 11)  # from, below
NUMPY_BELOW = 2
NOTICE = 5.0  # seconds without a connection after which a process prints what it waits for
ADDRESS_SPACE = 1_300_000_000  # bytes; with less MindSpore hangs when it is imported, or aborts at exit
PATIENCE = 3600  # seconds that a process waits for the others
OTHER_LAUNCHERS = ("OMPI_COMM_WORLD_SIZE", "RANK_SIZE")  # their numbers of processes
DEVICES = ("Ascend", "GPU", "CPU")  # in order of preference
LOG_LEVEL = "GLOG_v"  # MindSpore reads it when it is imported
_LOG_LEVEL_IS_FREE = LOG_LEVEL not in os.environ  # a value set by the user is kept


def check_versions() -> None:
    """Raises UserError, with a remedy, if MindSpore is missing, or if its version or NumPy's is unsupported."""
    oldest, beyond = (".".join(map(str, version)) for version in MINDSPORE)
    wanted = f">={oldest},<{beyond}"
    remedy = (f"run {sys.executable} -m pip install -r requirements.txt, or scripts/run_train.sh, which creates its "
              "own .venv")
    try:
        version = metadata.version("mindspore")
    except metadata.PackageNotFoundError:
        raise UserError(f"MindSpore {wanted} is required but not installed: {remedy}") from None
    if not MINDSPORE[0] <= tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < MINDSPORE[1]:
        raise UserError(f"MindSpore {wanted} is required, but {version} is installed: {remedy}")
    numpy_version = metadata.version("numpy")
    if int(numpy_version.split(".")[0]) >= NUMPY_BELOW:
        raise UserError(f"MindSpore {wanted} does not work with NumPy {numpy_version}: install numpy>=1.25,<2; "
                        f"{remedy}")


def set_environment(name: str = "auto") -> None:
    """Sets environment variables before MindSpore is first imported; values set by the user are kept.

    name: the requested device. On accelerators MindSpore's warnings are shown (versions of CANN, missing packages). On
    CPU warnings are hidden, because they do not concern the user, and errors, too, because exceptions repeat them.
    """
    if _LOG_LEVEL_IS_FREE:
        on_cpu = name == "CPU" or (name not in DEVICES and not machine.accelerators())
        os.environ[LOG_LEVEL] = "4" if on_cpu else "2"
    if os.environ.get("MS_ROLE") == "MS_WORKER":
        # how long a process waits for the others: one may draw or write while they wait (default on CPU: 30 s); the
        # scheduler keeps the default, by which it notices that a process died
        os.environ.setdefault("MS_NODE_TIMEOUT", os.environ.get("DGN_PATIENCE", str(PATIENCE)))
    # for analyze_fail.ir, which MindSpore writes if a compilation fails or is interrupted; its default is the working
    # directory
    os.environ.setdefault("MS_OM_PATH", f"{os.environ.get('TMPDIR') or '/tmp'}/dgn-{os.getuid()}")
    os.environ.setdefault("DGN_THREADS", str(machine.cores()))  # the C++ kernels do not see CPU quotas
    if platform.machine() == "x86_64":
        # With AVX-512 the oneDNN inside MindSpore 2.10 runs convolutions on plain layouts by its reference code, up to
        # 30 times slower than the matrix products that it uses with AVX2.
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


_GRAPHS = threading.RLock()


def one_at_a_time(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function that one thread at a time calls, of all functions with this decorator. They run graphs: MindSpore
    compiles and runs these for one thread at a time, else the process ends with a segmentation fault."""
    @functools.wraps(function)
    def locked(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        with _GRAPHS:
            return function(*args, **options)
    return locked


def start(name: str = "auto", settings: Numerics | None = None) -> str:
    """Selects the device ("auto": Ascend, then GPU, then CPU), applies the numerics of a config, sets graph mode, joins
    the group of processes that msrun started, and returns the device's name. After the first call "auto" means the
    device in use. A card that was selected before by mindspore.set_device(name, number) is kept.

    Raises UserError if the device is unknown or not available, RunFailed if the processes cannot connect.
    """
    if name != "auto" and name not in DEVICES:
        raise UserError(f"unknown device {name!r}; it must be one of auto, {', '.join(DEVICES)}")
    check_versions()
    set_environment(name)
    import mindspore as ms

    started = ms.get_context("mode") == ms.GRAPH_MODE  # set below
    if name == "auto":
        name = current() if started else preferred()
    elif not available(name):
        reasons = "; ".join(machine.attempt(name).messages[:2])
        raise UserError(f"{name} is not available in MindSpore {ms.__version__} ({reasons}); dgn doctor --device "
                        f"{name} shows what is missing. Use --device auto or CPU")
    _select(name)
    if settings is not None:
        numerics.apply(settings, name)
    ms.set_context(mode=ms.GRAPH_MODE)
    if launched_by_msrun():
        _join()
    return name


def _select(name: str) -> None:
    """Sets MindSpore's device; if this kind of device is already set, also with a number, it is kept. Raises UserError
    if another device is in use."""
    import mindspore as ms

    before = current()
    try:
        ms.set_device(name)
    except RuntimeError as error:  # the device is already set, or in use
        if before != name:
            raise UserError(f"{name} cannot be used in this process, which uses {before} ({first_line(error)}); start "
                            "a new process") from None


def import_mindspore() -> None:
    """Imports MindSpore. Raises UserError if its version is unsupported or it cannot be imported."""
    check_versions()
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if 0 <= space < ADDRESS_SPACE:
        raise UserError(f"ulimit -v limits this process to {space / 1e9:.1f} GB of address space, but MindSpore needs "
                        f"at least {ADDRESS_SPACE / 1e9:.1f} GB; raise the limit")
    if "mindspore" in sys.modules:
        return
    collecting = gc.isenabled()
    gc.disable()  # the import creates many objects and hardly any garbage; collections would take a tenth of its time
    try:
        import mindspore  # noqa: F401
    except (ImportError, OSError) as error:
        raise UserError(f"MindSpore cannot be imported: {first_line(error)}; dgn doctor shows what is "
                        "missing") from None
    finally:
        if collecting:
            gc.enable()
    gc.freeze()  # MindSpore collects garbage before each compilation; objects loaded so far are skipped


def current() -> str:
    """The device in use: Ascend, GPU or CPU."""
    import mindspore as ms

    return ms.get_context("device_target")


def launched_by_msrun() -> bool:
    """Whether msrun started this process, as a worker or as the scheduler."""
    return os.environ.get("MS_ROLE") in ("MS_WORKER", "MS_SCHED")


def launched_processes() -> int:
    """The number of processes that msrun started together, from the environment, so also before they connect; 1 without
    msrun."""
    count = os.environ.get("MS_WORKER_NUM", "")
    return max(int(count), 1) if launched_by_msrun() and count.isdecimal() else 1


def check_launcher() -> None:
    """Raises UserError if mpirun or a script with a rank table started this process and others, because each of them
    would train separately."""
    sizes = {name: os.environ.get(name, "") for name in OTHER_LAUNCHERS}
    for name, size in sizes.items():
        if not launched_by_msrun() and size.isdecimal() and int(size) > 1:
            raise UserError(f"{name} is {size}: it seems that mpirun or a script with a rank table started {size} "
                            "processes, and each would train separately. Use scripts/run_distribute_train.sh, which "
                            f"starts them with msrun; for a training in one process unset {name}")


@functools.cache
def _join() -> None:
    """Connects to the other processes and runs a first collective; the scheduler serves them here and exits. Raises
    RunFailed if they cannot connect."""
    from mindspore import communication

    from dgn.distributed import process_group

    variables = {name: os.environ.get(name) for name in ("MS_ROLE", "MS_WORKER_NUM", "MS_SCHED_HOST", "MS_SCHED_PORT")}
    missing = [name for name, value in variables.items() if not value]
    if missing:
        raise UserError(f"MS_ROLE is {variables['MS_ROLE']}, as msrun sets it, but {', '.join(missing)} is not set; "
                        "unset MS_ROLE for a training in one process")
    host, port = str(variables["MS_SCHED_HOST"]), str(variables["MS_SCHED_PORT"])
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL)  # init below blocks in C++
    try:
        if variables["MS_ROLE"] == "MS_WORKER" and not _answers(host, port):
            listed = ", ".join(f"{name}={value}" for name, value in variables.items())
            print(f"dgn: waiting for the scheduler and the other processes ({listed}); if this is not a process of "
                  "msrun, stop it and unset these variables", file=sys.stderr, flush=True)
        communication.init()
        process_group().barrier()  # HCCL connects in the first collective
    except RuntimeError as error:
        reason = first_line(error).rstrip(".")
        raise RunFailed(f"the {variables['MS_WORKER_NUM']} processes cannot connect through the scheduler at "
                        f"{host}:{port}: {reason}. On all hosts, MASTER_ADDR must be the address of the first host, "
                        "the port must be free and open, and the devices must reach each other (docs/devices.md, "
                        "Several hosts)") from None
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

    own = getattr(getattr(ms, "device_context", None), name.lower(), None)
    check = getattr(own, "is_available", None)
    with silenced():  # machine.attempt shows the warnings if the user requested this device
        return bool(check() if check else ms.hal.is_available(name))  # older versions have no is_available here


def preferred() -> str:
    """The first of DEVICES that MindSpore can use on this machine: the meaning of "auto"."""
    import_mindspore()
    return next(name for name in DEVICES if available(name))


@contextmanager
def silenced() -> Iterator[None]:
    """Discards everything that is written to standard output and standard error within the block, also by MindSpore."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        for number, stream in zip((1, 2), saved):
            os.dup2(stream, number)
            os.close(stream)


def versions() -> dict:
    """Versions to record with every result."""
    import mindspore as ms

    from dgn import __version__

    return {"dgn": __version__, "mindspore": ms.__version__, "numpy": metadata.version("numpy"),
            "python": platform.python_version(),
            "processor": f"{machine.cpuinfo('model name') or platform.machine()} ({os.cpu_count()} cores)"}


def software() -> str:
    """The versions that must be equal in all processes of a training, as text."""
    known, cann = versions(), machine.cann() if current() == "Ascend" else None
    shared = {name: known[name] for name in ("dgn", "mindspore", "numpy")}
    if cann:
        shared["CANN"] = cann.version
    return ", ".join(f"{name} {version}" for name, version in shared.items())


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of MindSpore's runtime means that host or device memory could not be allocated."""
    return any(words in str(error) for words in ("Memory not enough", "Out of Memory", "std::bad_alloc"))
