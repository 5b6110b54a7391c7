"""What this machine has, and what would not work here.

  dgn doctor
  dgn doctor --device Ascend --run-check

Prints versions, devices, CANN and CUDA, the compiler, which implementation of warp, deconvolution and recurrence would
be used, and a line for everything that would not work. For the requested accelerator (auto: every one with a toolkit
installed) it prints what MindSpore reports when it is selected: libraries that are not loaded, versions that do not
fit, missing Python packages. Runs without MindSpore, too. Exit code 1 if something is missing without which no
training can run, or if the device that is asked for does not work.

A failure of any command is one line. DGN_DEBUG=1 before the command also prints where it arose, and what caused it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import shlex
import sys
from typing import NamedTuple

from dgn import device, machine, provenance
from dgn.cli import add_device
from dgn.errors import RunFailed, UserError

REQUIRED = ("mindspore", "numpy", "yaml", "cv2", "tqdm", "matplotlib", "PIL", "sklearn")  # modules of requirements.txt
STATIC_TLS = re.compile(r"(\S+\.so[\w.]*): cannot allocate memory in static TLS block")
Lines = list[tuple[str, str]]


class Toolkits(NamedTuple):
    """What is installed for accelerators."""

    cann: machine.Cann | None
    cuda: str | None
    npu_smi: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_device(parser)
    parser.add_argument("--run-check", action="store_true", help="also run mindspore.run_check() on the device")


def run(args: argparse.Namespace) -> int:
    missing = machine.unusable(REQUIRED)
    toolkits = Toolkits(machine.cann(), machine.cuda(), machine.npu_smi())
    chosen, lines, notes = choose(args.device, not any(name in ("mindspore", "numpy") for name, _ in missing))
    lines += machine_lines(toolkits)
    if chosen:
        lines += implementations(chosen, notes)
        notes += limits(toolkits)
    attempted = any(name == "mindspore" for name, _ in missing) or attempt(args, chosen, toolkits, lines)
    width = max(len(name) for name, _ in lines) + 2
    for name, text in lines:
        print(f"{name:{width}}{text}")
    notes += ascend_notes(args.device, toolkits.cann)
    for note in notes:
        print(f"note: {note}")
    for name, reason in missing:
        print(f"missing: {name} ({reason}); {remedy(reason)}")
    return 0 if chosen and attempted and not missing else 1


def remedy(reason: str) -> str:
    """Advice for a package whose import failed with `reason`."""
    library = STATIC_TLS.search(reason)
    if library:  # scikit-learn's libgomp on aarch64 must be loaded before MindSpore fills the static TLS block
        return f"it must be loaded first: export LD_PRELOAD={shlex.quote(library[1])}${{LD_PRELOAD:+:$LD_PRELOAD}}"
    return f"{sys.executable} -m pip install -r requirements.txt"


def choose(name: str, with_mindspore: bool) -> tuple[str | None, Lines, list[str]]:
    """Starts the device that was asked for: (its name or None, lines, notes)."""
    try:
        if not with_mindspore:
            raise UserError("nothing runs without MindSpore and NumPy")
        if name in device.DEVICES and not device.available(name):
            raise UserError(f"MindSpore does not offer {name} here; what it reports:")
        chosen = device.start(name)
    except (UserError, RunFailed) as error:
        return None, [("device", f"none: {error}"), ("python", platform.python_version())], []
    lines = [("device", chosen)]
    lines += [(other, "available (--device)" if device.available(other) else "not available")
              for other in device.DEVICES if other != chosen]
    lines += [(key, str(value)) for key, value in provenance.versions().items()]
    notes = []
    if chosen != "CPU":
        notes.append(f"nothing of this program has been run on {chosen} yet: its operators are chosen by MindSpore's "
                     "documentation")
    return chosen, lines, notes


def machine_lines(toolkits: Toolkits) -> Lines:
    """Toolkits, compiler and launcher."""
    cann = f"{toolkits.cann.version} in {toolkits.cann.folder}" if toolkits.cann else "not found"
    lines = [("CANN", cann)]
    lines += [("npu-smi", row) for row in toolkits.npu_smi]
    lines += [("CUDA", toolkits.cuda or "not found"),
              ("GPU libraries", f"of MindSpore here: for CUDA {', '.join(machine.cuda_libraries()) or 'none'}"),
              ("C++", machine.compiler_version(machine.compiler()) or "no g++ or clang++ on PATH"),
              ("threads", f"{os.environ.get('DGN_THREADS') or machine.cores()} in the kernels (DGN_THREADS)"),
              ("msrun", str(machine.msrun() or "not found"))]
    return lines


def implementations(name: str, notes: list[str]) -> Lines:
    """What "auto" means here for each operator that has several implementations."""
    from dgn.nets.deconv import make_deconv
    from dgn.nets.native import cache_folder
    from dgn.nets.recurrence import make_recurrence
    from dgn.nets.warp import make_warp

    cells = {"warp": make_warp("auto", 16, 16), "deconvolution": make_deconv("auto", 2, 2, 3, 2, True),
             "recurrence": make_recurrence("auto")}
    if name == "CPU" and any("Native" not in type(cell).__name__ for cell in cells.values()):
        notes.append("without a C++ compiler MindSpore's own operators are used, which are several times slower")
    return [("kernels", f"built in {cache_folder()}"), *((key, type(cell).__name__) for key, cell in cells.items())]


def attempt(args: argparse.Namespace, chosen: str | None, toolkits: Toolkits, lines: Lines) -> bool:
    """Adds what MindSpore reports of accelerators, and with --run-check the check's output. Returns whether the device
    in use, or asked for, passed."""
    installed = {"Ascend": bool(toolkits.cann or toolkits.npu_smi), "GPU": bool(toolkits.cuda)}
    passed = True
    for name in device.DEVICES:
        requested = name == (chosen or args.device)
        checked = requested and args.run_check
        if checked or (requested and name != "CPU") or (args.device == "auto" and installed.get(name)):
            result = machine.attempt(name, checked)
            lines += [(name, text) for text in (*result.messages, *result.output)]
            passed = passed and (result.succeeded or not requested)
    return passed


def limits(toolkits: Toolkits) -> list[str]:
    """What would not work here, a sentence each."""
    notes, release, libraries = [], machine.cuda_release(toolkits.cuda), machine.cuda_libraries()
    if not device.available("GPU") and release and release not in libraries:
        notes.append(f"--device GPU does not work: CUDA {release} is here, MindSpore's libraries are for "
                     f"{' and '.join(libraries)}")
    if not device.available("Ascend") and toolkits.cann:
        notes.append("--device Ascend does not work although CANN is here: is its set_env.sh sourced?")
    if machine.msrun() is None:
        notes.append("scripts/run_distribute_train.sh does not work: no msrun next to this Python or on PATH")
    if importlib.util.find_spec("onnxruntime") is None:
        notes.append("dgn export --format onnx does not work: no onnxruntime")
    if importlib.util.find_spec("torch") is None:
        notes.append("dgn bench parts --against torch does not work: no PyTorch (it is not a requirement)")
    return notes


def ascend_notes(asked: str, cann: machine.Cann | None) -> list[str]:
    """What does not fit in CANN and its Python packages, if CANN is here or Ascend is asked for."""
    if cann is None:
        if asked != "Ascend":
            return []
        return [f"CANN is neither where ASCEND_HOME_PATH names it nor in {' or '.join(machine.CANN_FOLDERS)}"]
    notes, accepted, absent = [], machine.cann_accepted(), machine.absent_modules()
    if accepted and cann.release not in accepted:
        notes.append(f"CANN {cann.version} is here, this MindSpore accepts {', '.join(accepted)}")
    if "te" in absent:
        notes.append(f"the Python package te of CANN cannot be imported: source {cann.folder}/set_env.sh")
    packages = [package for package in absent if package != "te"]
    if packages:
        notes.append(f"CANN needs Python packages that are not here: {sys.executable} -m pip install "
                     f"{' '.join(packages)}")
    return notes
