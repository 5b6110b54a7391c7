"""Chooses one of several implementations of an operator, depending on the config, the device, and whether the C++
kernels can be built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mindspore import nn

from dgn import device
from dgn.errors import UserError
from dgn.nets.native import BuildError, warn_once

NATIVE = "native"  # name of the C++ kernels, which run only on CPU


@dataclass(frozen=True)
class Choice:
    """The implementations of an operator.

    option: config key, for messages; accelerator: implementation that "auto" selects on Ascend and GPU; cpu_fallback:
    implementation that it selects on CPU if the C++ kernels cannot be built.
    """

    option: str
    accelerator: str
    cpu_fallback: str

    def make(self, kind: str, makers: Mapping[str, Callable[[], nn.Cell]]) -> nn.Cell:
        """The Cell of `kind`, a key of `makers` or "auto".

        Raises UserError if `kind` is unknown, or if it is native and the device is not CPU or the kernels cannot be
        built.
        """
        if kind != "auto" and kind not in makers:
            raise UserError(f"{self.option} is {kind!r}; it must be one of auto, {', '.join(makers)}")
        on_cpu = device.current() == "CPU"
        if kind == NATIVE and not on_cpu:
            raise UserError(f"{self.option} native is a CPU kernel; on {device.current()} use {self.accelerator} or "
                            "auto")
        if kind not in ("auto", NATIVE):
            return makers[kind]()
        if not on_cpu:
            return makers[self.accelerator]()
        try:
            return makers[NATIVE]()
        except BuildError as error:
            if kind == NATIVE:
                raise UserError(f"{self.option} native cannot be built or loaded here: {error}. Use "
                                f"{self.cpu_fallback} or auto") from error
            warn_once(f"no C++ kernels ({error}); using MindSpore's own operators, which are slower")
            return makers[self.cpu_fallback]()
