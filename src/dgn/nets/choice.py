"""Chooses the implementation of an operator that has several: by the config, the device, and whether the C++ kernels
build."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mindspore import nn

from dgn import device
from dgn.errors import UserError
from dgn.nets.native import BuildError, warn_once

NATIVE = "native"  # the name of the C++ kernels, which are for CPU


@dataclass(frozen=True)
class Choice:
    """The implementations of an operator.

    option: the config's key; elsewhere: the kind that "auto" takes on Ascend and GPU; fallback: the kind that it
    takes on CPU where the C++ kernels cannot be used.
    """

    option: str
    elsewhere: str
    fallback: str

    def make(self, kind: str, makers: Mapping[str, Callable[[], nn.Cell]]) -> nn.Cell:
        """The Cell of `kind`, a key of `makers` or "auto".

        Raises UserError if `kind` is unknown, or is native on another device than CPU or where it cannot be built.
        """
        if kind != "auto" and kind not in makers:
            raise UserError(f"{self.option} is {kind!r}; it must be one of auto, {', '.join(makers)}")
        on_cpu = device.current() == "CPU"
        if kind == NATIVE and not on_cpu:
            raise UserError(f"{self.option} native is a CPU kernel; on {device.current()} use {self.elsewhere} or auto")
        if kind not in ("auto", NATIVE):
            return makers[kind]()
        if not on_cpu:
            return makers[self.elsewhere]()
        try:
            return makers[NATIVE]()
        except BuildError as error:
            if kind == NATIVE:
                raise UserError(f"{self.option} native cannot be built or loaded here: {error}. Use {self.fallback} or "
                                "auto") from error
            warn_once(f"no C++ kernels ({error}); using MindSpore's own operators, which are slower")
            return makers[self.fallback]()
