"""Chooses one of several implementations of an operator, depending on the config, the device, and whether the C++
kernels can be built."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mindspore import nn

from dgn import device
from dgn.errors import UserError
from dgn.nets.native import BuildError, warn_once

NATIVE = "native"  # name of the C++ kernels, which run only on CPU


def make(option: str, kind: str, makers: Mapping[str, Callable[[], nn.Cell]], accelerator: str = "stock",
         cpu_fallback: str = "stock") -> nn.Cell:
    """The Cell of `kind`, a key of `makers` or "auto".

    option: config key, for messages. accelerator: kind that "auto" selects on Ascend and GPU. cpu_fallback: kind that
    it selects on CPU if the C++ kernels cannot be built.
    Raises UserError if `kind` is unknown, or if it is native and the device is not CPU or the kernels cannot be built.
    """
    if kind != "auto" and kind not in makers:
        raise UserError(f"{option} is {kind!r}; it must be one of auto, {', '.join(makers)}")
    on_cpu = device.current() == "CPU"
    if kind == NATIVE and not on_cpu:
        raise UserError(f"{option} native is a CPU kernel; on {device.current()} use {accelerator} or auto")
    if kind not in ("auto", NATIVE):
        return makers[kind]()
    if not on_cpu:
        return makers[accelerator]()
    try:
        return makers[NATIVE]()
    except BuildError as error:
        if kind == NATIVE:
            raise UserError(f"{option} native cannot be built or loaded here: {error}. Use {cpu_fallback} or "
                            "auto") from error
        warn_once(f"no C++ kernels ({error}); using MindSpore's own operators, which are slower")
        return makers[cpu_fallback]()
