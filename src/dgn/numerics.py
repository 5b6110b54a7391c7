"""Applies the numerics section of a config to MindSpore: rounding, determinism, compilation."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

from dgn.config import Numerics

log = logging.getLogger(__name__)

# settings that each device supports; other settings are ignored, with a warning unless they have the default value
SUPPORTED = {"Ascend": ("hf32", "deterministic", "jit_level", "launch_groups"),
             "GPU": ("hf32", "deterministic", "jit_level"), "CPU": ("deterministic", "jit_level")}
LAUNCH_THREADS = 2  # MindSpore's default; launch_groups is a multiple of it

_applied: dict[str, Any] = {}  # in this process; most of them can be set only once


def apply(numerics: Numerics, name: str) -> None:
    """Applies the settings that the device `name` supports; it must be selected already.

    Call this before the processes connect and before the first operator. Settings can be applied once per process; a
    later run with others logs a warning.
    """
    import mindspore as ms

    if os.environ.get("MS_COMPILER_CACHE_ENABLE") == "1" and not _applied:
        log.warning("MS_COMPILER_CACHE_ENABLE is 1: MindSpore identifies cached graphs by their order of compilation "
                    "only, so it may use those of another config; unset it")
    context, defaults = ms.device_context, Numerics()
    setters: dict[str, Callable[[Any], None]] = {
        "hf32": (context.gpu.op_precision.conv_allow_tf32 if name == "GPU"
                 else context.ascend.op_precision.conv_allow_hf32),
        "deterministic": ms.set_deterministic,
        "jit_level": lambda level: ms.set_context(jit_config={"jit_level": level}),
        "launch_groups": lambda groups: ms.runtime.set_kernel_launch_group(LAUNCH_THREADS, groups)}
    for key, setter in setters.items():
        value, default = getattr(numerics, key), getattr(defaults, key)
        if key not in SUPPORTED[name]:
            if value != default and key not in _applied:
                log.warning("numerics.%s is ignored on %s", key, name)
            value = default
        elif key not in _applied and (value != default or key == "hf32"):  # CANN's own default is HF32
            setter(value)
        if value != _applied.setdefault(key, value):
            log.warning("numerics.%s stays %s in this process, because another run was opened before", key,
                        _applied[key])
