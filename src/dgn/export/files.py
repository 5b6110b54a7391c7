"""Cells as MindIR or ONNX files that were loaded again and compared before they count."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import List, Optional, Sequence

import mindspore as ms
import numpy as np
from mindspore import nn

from dgn.errors import RunFailed
from dgn.export import mindir1
from dgn.files import disk_errors

TOLERANCE = 1e-4  # largest difference to the live model, relative to the largest value


def write(cell: nn.Cell, inputs: Sequence[np.ndarray], path: Path, expected: Sequence[np.ndarray], free: Sequence[int] = (),
          names: Sequence[str] = ()) -> float:
    """Writes a cell to `path` (.mindir or .onnx) and returns the largest relative difference of what the file gives for
    `inputs` to `expected`.

    free: for each input the axis that may have any length, -1 for none; empty: all shapes are as given.
    names: of the inputs, if the file is to be rewritten as MindIR 1 once it is known to be right (see dgn.export.mindir1).
    Raises RunFailed if it cannot be written or loaded, or gives something else; nothing is then left at `path`.
    """
    kind = path.suffix[1:]
    shapes = [_shape(x, axis) for x, axis in zip(inputs, free)] if free else [ms.Tensor(x) for x in inputs]
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".unfinished-") as scratch:
            fresh = Path(scratch) / path.name
            try:
                ms.export(cell, *shapes, file_name=str(fresh.with_suffix("")), file_format=kind.upper())
                found = (run_onnx if kind == "onnx" else run_mindir)(fresh, inputs)
            except (RuntimeError, TypeError, ValueError) as error:
                raise RunFailed(f"cannot export {path}: {str(error).strip().splitlines()[0]}") from None
            difference = _difference(found, expected)
            if not difference <= TOLERANCE:
                raise RunFailed(f"{path} loaded again differs from the model by {difference:.1e} of the largest value (allowed "
                                f"{TOLERANCE:.0e}); it was not kept")
            if names:
                mindir1.rewrite(fresh, path, names)
            else:
                os.replace(fresh, path)
    return difference


def run_mindir(path: Path, inputs: Sequence[np.ndarray]) -> List[np.ndarray]:
    """What a MindIR file gives for inputs, in this MindSpore."""
    found = nn.GraphCell(ms.load(str(path)))(*[ms.Tensor(x) for x in inputs])
    return [value.asnumpy() for value in (found if isinstance(found, tuple) else (found,))]


def run_onnx(path: Path, inputs: Sequence[np.ndarray]) -> List[np.ndarray]:
    """What an ONNX file gives for inputs, in onnxruntime. Raises RunFailed if that is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise RunFailed("an ONNX file is checked with onnxruntime, which is not installed here: pip install onnxruntime") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {given.name: x for given, x in zip(session.get_inputs(), inputs)})


def _shape(x: np.ndarray, axis: int) -> ms.Tensor:
    """A stand-in for an input, one axis of which is free."""
    shape: List[Optional[int]] = list(x.shape)
    if axis >= 0:
        shape[axis] = None
    return ms.Tensor(shape=shape, dtype=ms.float32)


def _difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    if len(found) != len(expected) or any(a.shape != b.shape for a, b in zip(found, expected)):
        return float("inf")
    shares = [np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-12) for a, b in zip(found, expected)]
    return float(np.max(shares))  # unlike Python's max it does not pass over what is no number
