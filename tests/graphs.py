"""Which operators the compiled and exported graphs are made of: a program of its own, because MindSpore reads the settings by
which it dumps graphs when it is imported.

  python -m tests.graphs trained FOLDER     compiles every kind of model and method with the operators that Ascend and GPU get
  python -m tests.graphs exported FOLDER    exports models and inference

Prints a line {"graph": name, "operators": [...]} for each graph. Compilation stops before a device's own passes: what is
listed is what MindSpore hands to the back end.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Dict, Iterator, Set, Tuple

N = 2  # samples
TINY = ("data.size=16", "model.width=8", "model.z_app=4", "model.z_geo=3", "inference.steps=1", "model.warp=grid_sample",
        "model.deconv=stock", "model.recurrence=stock")  # the operators that "auto" means on Ascend and GPU
TRAINED = {
    "paper": (),
    "options": ("model.smooth_appearance=true", "model.control_grid=8", "inference.smoothness=0.1", "model.scaling=he", "model.refine=true",
                "training.adversarial=minimax", "training.parts=2", "inference.order=simultaneous"),
    "labels, VAE": ("model.appearance=label", "training.method=vae", "data.grey=true"),
    "plain": ("model.kind=plain",),
    "critic": ("training.adversarial=nonsaturating", "training.r1_every=2"),
    "clips": ("data.frames=3", "model.network=table5", "model.alpha=2", "model.xi_app=0"),
    "16 bits": ("model.precision=mixed",),
}
EXPORTED = {"paper": (), "options": ("model.smooth_appearance=true", "model.control_grid=8", "model.scaling=he", "model.refine=true"),
            "plain": ("model.kind=plain",), "clips": ("data.frames=3", "model.network=table5", "model.alpha=2")}


def dumped(folder: Path) -> Set[str]:
    """Operators of the graphs that were dumped in `folder`, which is emptied."""
    found: Set[str] = set()
    for path in folder.glob("*validate*.ir"):
        found |= set(re.findall(r"^ +%\d+\(.*?\) = (?:PrimFunc_)?(\w+)\(", path.read_text(), re.MULTILINE))
        path.unlink()
    return found


def trained(folder: Path) -> Iterator[Tuple[str, Set[str]]]:
    """Decoder, sampler and every step of each method."""
    import mindspore as ms
    import numpy as np

    from dgn import build
    from dgn import config as cfg

    def zeros(*shape: int) -> ms.Tensor:
        return ms.Tensor(np.zeros(shape, np.float32))

    number = zeros()
    for name, settings in TRAINED.items():
        config = cfg.load(None, [*TINY, *settings])
        model = build.make_model(config, "CPU")
        method = build.make_method(config, model, "CPU")
        x = zeros(N, *([config.data.frames] if config.data.frames else []), model.channels, model.size, model.size)
        latents, noise = ([zeros(*lead, N, *group.shape) for group in model.groups] for lead in ((), (1,)))
        inputs = (x, number, *latents, *(latents if config.training.adversarial != "none" else ()))
        graphs = {"decoder": (model, *latents), "sampler": (method.sampler, x, number, *latents, *noise)}
        if config.training.parts > 1:
            graphs.update({"sum of parts": (method.learning.add, number, *inputs), "step by parts": (method.learning.move, number, number)})
        else:
            graphs["step"] = method.learning.step, number, *inputs
        if name == "critic":  # model and sampler are the paper's
            graphs = {"actor": graphs["step"], "critic": (method.critic.step, number, x, x), "calm critic": (method.calm.step, number, x, x)}
        if name == "16 bits":
            graphs = {"step": graphs["step"]}
        for part, (cell, *given) in graphs.items():
            cell.compile(*given)
            yield f"{name}: {part}", dumped(folder)


def exported(folder: Path) -> Iterator[Tuple[str, Set[str]]]:
    """What `dgn export` writes, read from the MindIR files."""
    import mindspore as ms
    import numpy as np

    from dgn import build
    from dgn import config as cfg
    from dgn.export import cells
    from dgn.inference.langevin import Langevin

    for name, settings in EXPORTED.items():
        config = cells.portable(cfg.load(None, [*TINY, *settings]))
        model = build.make_model(config, "CPU")
        latents, noise = ([ms.Tensor(np.zeros((*lead, 1, *group.shape), np.float32)) for group in model.groups] for lead in ((), (1,)))
        graphs = {"decoder": (model, *latents)}
        if not config.data.frames:
            x = ms.Tensor(np.zeros((1, model.channels, model.size, model.size), np.float32))
            graphs["inference"] = (cells.Inference(Langevin(build.make_energy(model, config), 0.1, 1), 1.0), x, *latents, *noise)
        for part, (cell, *given) in graphs.items():
            ms.export(cell, *given, file_name=str(folder / "exported"), file_format="MINDIR")
            yield f"{name}: exported {part}", in_mindir(folder / "exported.mindir")


def in_mindir(path: Path) -> Set[str]:
    """Operators of a MindIR file."""
    from mindspore.train import mind_ir_pb2

    stored = mind_ir_pb2.ModelProto()
    stored.ParseFromString(path.read_bytes())
    primitives: Dict[str, str] = {primitive.name: primitive.op_type for primitive in stored.primitives}
    kinds = {node.op_type for graph in (stored.graph, *stored.functions) for node in graph.node}
    kinds = {kind.removeprefix("REF::") for kind in kinds}
    return {primitives.get(kind, kind).split("::")[-1] for kind in kinds if kind != "Constant"}


def main(kind: str, folder: Path) -> None:
    os.environ.update(MS_DEV_SAVE_GRAPHS="2", MS_DEV_SAVE_GRAPHS_PATH=str(folder), MS_DEV_DUMP_IR_PASSES="validate", MS_DEV_PRECOMPILE_ONLY="1")
    from dgn import runtime

    runtime.start("CPU")
    for name, operators in {"trained": trained, "exported": exported}[kind](folder):
        print(json.dumps({"graph": name, "operators": sorted(operators)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
