"""Arrays packed into one block of bytes, which the page holds as base64."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

LEVELS = 32767  # of a quantised value's magnitude


class Packer:
    """Collects arrays; each becomes a JSON reference {at, shape}: byte offset and shape. Numbers are little-endian.

    quantised: weights are stored in 16 bits. Their reference then has `scales`, the reference of one factor an output:
    a weight is its integer times the factor of its output. The error is at most max|w| / 65534 of each output,
    about ten times smaller than float16's. False: all arrays are float32.
    """

    def __init__(self, quantised: bool = True) -> None:
        self._quantised = quantised
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, values: Any) -> dict[str, Any]:
        """An array as float32."""
        return self._append(np.asarray(values, "<f4"))

    def add_weight(self, weight: np.ndarray) -> dict[str, Any]:
        """The weight (inputs, outputs, ...) of a layer."""
        if not self._quantised:
            return self.add(weight)
        axes = tuple(axis for axis in range(weight.ndim) if axis != 1)
        largest = np.abs(weight).max(axes, keepdims=True).astype(np.float64)
        scale = np.where(largest > 0, largest / LEVELS, 1.0)
        reference = self._append(np.rint(weight / scale).astype("<i2"))
        return {**reference, "scales": self.add(scale.ravel())}

    def base64(self) -> str:
        """All arrays as base64."""
        return base64.b64encode(b"".join(self._parts)).decode("ascii")

    def _append(self, array: np.ndarray) -> dict[str, Any]:
        start, data = self._size, np.ascontiguousarray(array).tobytes()
        data += bytes(-len(data) % 4)  # a Float32Array begins at a multiple of 4
        self._parts.append(data)
        self._size += len(data)
        return {"at": start, "shape": list(array.shape)}
