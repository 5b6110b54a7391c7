"""MindSpore's global state: accepted versions, environment, device and mode.

This module imports MindSpore inside its functions: versions must be checked, and the environment set, before.
"""

from __future__ import annotations

import functools
import gc
import os
import platform
import re
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from typing import ParamSpec, TypeVar

from dgn import interrupts, launcher, machine, numerics
from dgn.config import Numerics
from dgn.errors import UserError, first_line

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
MINDSPORE = (2, 7, 2), (2, 11)  # from, below
NUMPY_BELOW = 2
ADDRESS_SPACE = 1_300_000_000  # bytes; with less MindSpore hangs when it is imported, or aborts at exit
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
        os.environ.setdefault("MS_NODE_TIMEOUT", os.environ.get("DGN_PATIENCE", str(launcher.PATIENCE)))
    # for analyze_fail.ir, which MindSpore writes if a compilation fails or is interrupted; its default is the working
    # directory
    os.environ.setdefault("MS_OM_PATH", f"{os.environ.get('TMPDIR') or '/tmp'}/dgn-{os.getuid()}")
    os.environ.setdefault("DGN_THREADS", str(machine.cores()))  # the C++ kernels do not see CPU quotas
    if platform.machine() == "x86_64":
        # With AVX-512 the oneDNN inside MindSpore 2.10 runs convolutions on plain layouts by its reference code, up to
        # 30 times slower than the matrix products that it uses with AVX2.
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")


class _Graphs:
    """The use of compiled graphs in this process. lock: of the thread that uses them. process: number of the process
    that used one first; another one is a fork of it."""

    lock = threading.RLock()
    process: int | None = None


def one_at_a_time(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Decorator: only one thread at a time runs any decorated function. MindSpore crashes if two threads compile or run
    graphs. Ctrl-C raises KeyboardInterrupt (dgn.interrupts.raising).

    Raises UserError in a fork of a process that has run a graph: MindSpore's threads do not exist in it, and it would
    wait forever."""
    @functools.wraps(function)
    def locked(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        if _Graphs.process not in (None, os.getpid()):
            raise UserError(f"process {os.getpid()} is a fork of process {_Graphs.process}, in which MindSpore has "
                            "already run; start processes before that, or with multiprocessing's method spawn, and "
                            "call dgn.load in each")
        with _Graphs.lock, interrupts.raising():
            _Graphs.process = os.getpid()
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
                        f"{name} shows what is missing. Use auto or CPU (--device; in Python device=)")
    _select(name)
    if settings is not None:
        numerics.apply(settings, name)
    ms.set_context(mode=ms.GRAPH_MODE)
    if launcher.launched_by_msrun():
        from dgn.distributed import join

        join()
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
    """Imports MindSpore. Raises UserError if its version is unsupported, if it cannot be imported, or if the working
    directory's name is not UTF-8, with which it fails later."""
    from dgn.files import check_utf8  # not at the top: doctor runs without NumPy

    check_versions()
    with suppress(FileNotFoundError):  # the folder was removed
        check_utf8(os.getcwd())
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


def available(name: str) -> bool:
    """Whether MindSpore can use the device on this machine."""
    if name == "CPU":
        return True
    import mindspore as ms

    with silenced():  # machine.attempt shows the warnings if the user requested this device
        return bool(getattr(ms.device_context, name.lower()).is_available())


def preferred() -> str:
    """The first of DEVICES that MindSpore can use on this machine: the meaning of "auto"."""
    import_mindspore()
    return next(name for name in DEVICES if available(name))


@contextmanager
def silenced() -> Iterator[None]:
    """Discards everything that is written to standard output and standard error within the block, also by MindSpore."""
    for output in (sys.stdout, sys.stderr):
        if output is not None:  # None: it was closed before the program started
            output.flush()
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


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error of MindSpore's runtime means that host or device memory could not be allocated."""
    return any(words in str(error) for words in ("Memory not enough", "Out of Memory", "std::bad_alloc"))
