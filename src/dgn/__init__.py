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

from typing import TYPE_CHECKING, Any, List  # noqa: E402  (Ctrl-C is handled before)

from dgn import device, provenance  # noqa: E402, F401  (provenance starts its clock)
from dgn.errors import Interrupted, RunFailed, UserError  # noqa: E402

if TYPE_CHECKING:
    from dgn.interface import Config, Decoded, Latents, Run, Source, draw, evaluate, images, load, resume, train

__version__ = "0.2.0"
__all__ = ["Config", "Decoded", "Interrupted", "Latents", "Run", "RunFailed", "Source", "UserError", "draw", "evaluate",
           "images", "load", "resume", "train"]

device.set_environment()


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'dgn' has no attribute {name!r}")
    device.check_versions()
    from dgn import interface

    return getattr(interface, name)


def __dir__() -> List[str]:
    return sorted([*__all__, "__version__"])
