"""Deformable generator networks in MindSpore.

    import dgn
    run = dgn.load("runs/faces_demo")
    z = run.infer(dgn.images("cuts/", like=run))
    picture = run.decode(z.appearance, z.geometry[::-1]).image

Importing this package sets the environment that MindSpore needs before its own import; MindSpore itself is imported
when a public name is first used.
"""

from __future__ import annotations

from dgn import interrupts

if interrupts.is_program():
    interrupts.exit_at_once()

import importlib  # noqa: E402  (Ctrl-C is handled before)
from typing import TYPE_CHECKING, Any  # noqa: E402

from dgn import device, provenance  # noqa: E402, F401  (provenance starts its clock)
from dgn.errors import Interrupted, RunFailed, UserError  # noqa: E402

if TYPE_CHECKING:
    from dgn.config import Config
    from dgn.data.source import Source
    from dgn.evaluation.evaluate import evaluate
    from dgn.figures.draw import draw
    from dgn.nets.model import Decoded, Latents
    from dgn.run import Run, images, load
    from dgn.run_training import resume, train

__version__ = "0.2.0"
__all__ = ["Config", "Decoded", "Interrupted", "Latents", "Run", "RunFailed", "Source", "UserError", "draw", "evaluate",
           "images", "load", "resume", "train"]
_MODULES = {"Config": "config", "Source": "data.source", "evaluate": "evaluation.evaluate", "draw": "figures.draw",
            "Decoded": "nets.model", "Latents": "nets.model", "Run": "run", "images": "run", "load": "run",
            "resume": "run_training", "train": "run_training"}  # of the names that are imported when they are used

device.set_environment()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'dgn' has no attribute {name!r}")
    device.check_versions()
    return getattr(importlib.import_module(f"dgn.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
