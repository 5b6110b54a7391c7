"""Writes Cells as MindIR or ONNX files; each is loaded again and compared with the model before it is kept."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn

from dgn import device
from dgn.errors import RunFailed, first_line
from dgn.files import disk_errors, replacing

TOLERANCE = 1e-4  # largest accepted difference from the model, relative to the largest value
_PLAIN = re.compile(r"[0-9a-zA-Z@_\-.:/]+")  # paths that mindspore.export accepts
_TEMPORARY = ("/tmp", "/var/tmp", "/dev/shm")


@device.one_at_a_time
def write(cell: nn.Cell, inputs: Sequence[np.ndarray], path: Path, expected: Sequence[np.ndarray],
          free: Sequence[int] = (), rewrite: Callable[[Path, Path], None] | None = None) -> float:
    """Writes a cell to `path` (.mindir or .onnx), loads the file again and runs it on `inputs`. Returns the largest
    difference of its outputs to `expected`, relative to the largest value.

    free: for each input the axis that may have any length, -1 for none; empty: all shapes are fixed.
    rewrite(source, target): converts the file after the comparison.
    Raises RunFailed if the file cannot be written or loaded, or if its outputs differ; then `path` is not written.
    """
    kind = path.suffix[1:]
    shapes = [_shape(x, axis) for x, axis in zip(inputs, free)] if free else [ms.Tensor(x) for x in inputs]
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)  # an error of the folder comes before the work
        with tempfile.TemporaryDirectory(dir=plain_folder(), prefix="dgn-export-") as scratch:
            fresh = Path(scratch) / (path.name if _PLAIN.fullmatch(path.name) else f"model.{kind}")
            try:
                ms.export(cell, *shapes, file_name=str(fresh.with_suffix("")), file_format=kind.upper())
                outputs = (run_onnx if kind == "onnx" else run_mindir)(fresh, inputs)
            except (RuntimeError, TypeError, ValueError) as error:
                raise RunFailed(f"cannot export {path}: {first_line(error)}") from None
            difference = _difference(outputs, expected)
            if not difference <= TOLERANCE:
                raise RunFailed(f"{path} loaded again differs from the model by {difference:.1e} of the largest value "
                                f"(allowed {TOLERANCE:.0e}); it was not kept")
            with replacing(path) as beside:
                if rewrite:
                    rewrite(fresh, beside)
                else:
                    shutil.copyfile(fresh, beside)
    return difference


def write_weights(weights: Mapping[str, ms.Parameter], path: Path) -> None:
    """Writes parameters by name to a .safetensors file with MindSpore's writer, and reads it again. Raises RunFailed if
    it cannot be written, or if other values are read; then `path` is not written."""
    with disk_errors(path), tempfile.TemporaryDirectory(dir=plain_folder(), prefix="dgn-export-") as scratch:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(scratch) / "weights.safetensors"
        ms.save_checkpoint([{"name": name, "data": weight} for name, weight in weights.items()], str(fresh),
                           format="safetensors")
        stored = ms.load_checkpoint(str(fresh), format="safetensors")
        for name, weight in weights.items():
            if name not in stored or not np.array_equal(stored[name].asnumpy(), weight.asnumpy()):
                raise RunFailed(f"{path} read again has other values of {name}; it was not kept")
        with replacing(path) as beside:
            shutil.copyfile(fresh, beside)


def plain_folder() -> Path:
    """A folder for temporary files whose path mindspore.export accepts: only letters, digits and @ _ - . : /.

    Raises RunFailed if there is none.
    """
    for folder in (tempfile.gettempdir(), *_TEMPORARY):
        if _PLAIN.fullmatch(folder) and os.access(folder, os.W_OK):
            return Path(folder)
    raise RunFailed("MindSpore exports to paths of letters, digits and @ _ - . : / only, and no such temporary folder "
                    "can be written; name one in TMPDIR")


def run_mindir(path: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs of a MindIR file in this MindSpore."""
    outputs = nn.GraphCell(ms.load(str(path)))(*[ms.Tensor(x) for x in inputs])
    return [value.asnumpy() for value in (outputs if isinstance(outputs, tuple) else (outputs,))]


def run_onnx(path: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Outputs of an ONNX file in onnxruntime. Raises RunFailed if that is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise RunFailed("an ONNX file is checked with onnxruntime, which is not installed here: pip install "
                        "onnxruntime") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {given.name: x for given, x in zip(session.get_inputs(), inputs)})


def _shape(x: np.ndarray, axis: int) -> ms.Tensor:
    """A placeholder for an input, of which one axis may have any length."""
    shape: list[int | None] = list(x.shape)
    if axis >= 0:
        shape[axis] = None
    return ms.Tensor(shape=shape, dtype=ms.float32)


def _difference(outputs: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    if len(outputs) != len(expected) or any(a.shape != b.shape for a, b in zip(outputs, expected)):
        return float("inf")
    relative = [np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-12) for a, b in zip(outputs, expected)]
    return float(np.max(relative))  # unlike Python's max it propagates NaN
