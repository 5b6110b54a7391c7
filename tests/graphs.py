"""The operators of every compiled and exported graph.

  python -m tests.graphs FOLDER

Compiles the graphs of every kind of model and training method with the operators that "auto" means on Ascend and GPU,
exports models and inference, and prints {"graph": name, "operators": [...]} for each. MindSpore dumps graphs into
FOLDER. Compilation stops before the passes of a device, so the operators are those that MindSpore hands to a back
end. This is a program of its own because MindSpore reads the settings by which it dumps graphs when it is imported.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.update(MS_DEV_SAVE_GRAPHS="2", MS_DEV_DUMP_IR_PASSES="validate", MS_DEV_PRECOMPILE_ONLY="1",
                  MS_DEV_SAVE_GRAPHS_PATH=sys.argv[1] if len(sys.argv) > 1 else ".")

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

import dgn
from dgn import device, recipe
from dgn.config import Config
from dgn.export import cells
from dgn.export.lite2.adjoint import AdjointLangevin
from dgn.inference.energy import make_energy
from dgn.inference.langevin import make_inference_sampler, make_sampler
from dgn.nets.build import make_chain_encoder, make_model
from dgn.nets.model import Model
from dgn.training import recogniser, regressor
from dgn.training.build import make_trainer
from dgn.training.chain_encoder import EncoderLoss
from dgn.training.optim import GradientStep, adam
from tests import sources

SAMPLES = 2
TINY = ("data.size=16", "model.width=8", "model.z_app=4", "model.z_geo=3", "inference.steps=1",
        "model.warp=grid_sample", "model.deconv=stock", "model.recurrence=stock")
TRAINED = {
    "paper": (),
    "options": ("model.smooth_appearance=true", "model.control_grid=8", "model.scaling=he", "model.refine=true",
                "inference.smoothness=[[0,0.1],[5,0.2]]", "training.adversarial=minimax", "training.micro_batches=2",
                "inference.order=simultaneous", "inference.preconditioner=gauss_newton",
                "inference.sigma_app=[[0,4],[5,1]]", "evaluation.momentum=0.5", "evaluation.step_factor=0.5"),
    "decorrelated": ("inference.decorrelation=0.5",),
    "labels, VAE": ("model.appearance=label", "training.method=vae", "data.grey=true"),
    "monotone, autoencoder": ("model.field=monotone", "model.control_grid=8", "training.method=autoencoder"),
    "plain": ("model.kind=plain",),
    "critic": ("training.adversarial=nonsaturating", "training.r1_interval=2"),
    "clips": ("data.frames=3", "model.network=table5", "model.alpha=2", "model.xi_app=0"),
    "plain clips": ("model.kind=plain", "data.frames=3", "training.adversarial=nonsaturating",
                    "training.r1_interval=2"),
    "16 bits": ("model.precision=float16", "training.mean_displacement_weight=0.1"),
}
COVERED = {  # graphs that are made of parts of others and are not compiled
    "labels, VAE": ("decoder", "sampler"),  # the paper's, with one group sampled
    "decorrelated": ("decoder", "sampler", "update"),  # the paper's: the decorrelation is a graph of its own
    "critic": ("decoder", "sampler",  # the paper's
               "update",  # of the likelihood the paper's, of a critic of images that of plain clips
               "critic's update without R1"),  # one of the two critics of plain clips
    "plain clips": ("critic's update with R1",),  # R1 is that of the critic, what the critics see as without R1
    "16 bits": ("decoder", "sampler"),  # their layers are those of the update
    "options": ("exported encoder",),  # the layers of the paper's encoder, and the exported decoder
    "monotone": ("exported encoder",),
}
EXPORTED = {
    "paper": (),
    "options": ("model.smooth_appearance=true", "model.control_grid=8", "model.scaling=he", "model.refine=true"),
    "monotone": ("model.field=monotone", "model.control_grid=8"),
    "plain": ("model.kind=plain",),
    "clips": ("data.frames=3", "model.network=table5", "model.alpha=2"),
    "plain clips": ("model.kind=plain", "data.frames=3"),
}


class Graph(NamedTuple):
    """A Cell and the inputs for which it is compiled."""

    name: str
    cell: nn.Cell
    inputs: tuple[Tensor, ...]


def zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape, np.float32))


def state(model: Model, samples: int) -> tuple[list[Tensor], list[Tensor]]:
    """Latents of each group, and noise for one Langevin step."""
    return ([zeros(samples, *group.shape) for group in model.groups],
            [zeros(1, samples, *group.shape) for group in model.groups])


def trained(name: str, config: Config) -> Iterator[Graph]:
    """Decoder, sampler and every update of a training method; COVERED has those that are left out."""
    model = make_model(config)
    trainer, number, training = make_trainer(config, model), zeros(), config.training
    frames = (config.data.frames,) if config.data.frames else ()
    x, mask = zeros(SAMPLES, *frames, model.channels, model.size, model.size), zeros(SAMPLES, *(frames or (1,)))
    latents, noise = state(model, SAMPLES)
    critics = training.adversarial != "none"
    chosen = (mask,) if critics and frames else ()  # a frame of each clip for the critic of frames
    inputs = (x, mask, number, *latents, *(latents if critics else ()), *chosen)
    update = trainer.update
    yield Graph("decoder", model, tuple(latents))
    yield Graph("sampler", trainer.sampler, (x, mask, number, *latents, *noise))
    if config.evaluation.momentum:
        sampler = make_inference_sampler(trainer.sampler.energy, config)
        yield Graph("sampler of a Run", sampler, (x, mask, number, *latents, *latents, *noise))
    if trainer.decorrelation is not None:
        yield Graph("decorrelation", trainer.decorrelation, tuple(latents))
    if training.micro_batches > 1:
        yield Graph("accumulation of gradients", update.accumulate, (number, *inputs))
        yield Graph("update by accumulated gradients", update.update, (number, number))
    else:
        yield Graph("update", update.whole, (number, *inputs))
    if name == "paper":
        encoder = make_chain_encoder(config, model)
        loss = EncoderLoss(encoder, trainer.sampler.energy, SAMPLES)
        step = GradientStep(loss, adam(encoder.networks.trainable_params()))
        yield Graph("encoder's update", step, (number, x, number, zeros(2), zeros(SAMPLES), *latents))
    if critics and training.r1_interval > 1:
        yield Graph("critic's update with R1", trainer.critic_with_r1.whole, (number, x, x, *chosen))
        yield Graph("critic's update without R1", trainer.critic_without_r1.whole, (number, x, x, *chosen))


def of_evaluation() -> Iterator[Graph]:
    """Updates of the networks that evaluation and experiments train: landmarks (5.5), expressions (5.6)."""
    rng = np.random.default_rng(0)
    net = regressor._Network(6, 4, rng)
    update = GradientStep(regressor._AbsoluteError(net), nn.AdamWeightDecay(net.trainable_params()))
    yield Graph("regressor's update", update, (zeros(), zeros(SAMPLES, 6), zeros(SAMPLES, 4)))
    networks = recogniser.RecurrentNetworks(2, 3, 4, rng)
    update = GradientStep(recogniser.CrossEntropy(networks), adam(networks.trainable_params()))
    frames = zeros(2, SAMPLES, 2, 3), zeros(2, SAMPLES, 2, 1), zeros(2, SAMPLES, 4)
    yield Graph("recogniser's update", update, (zeros(), *frames))


def exported(config: Config) -> Iterator[Graph]:
    """The Cells that `dgn export` writes."""
    config = cells.portable(config)
    model = cells.fold(make_model(config))
    latents, noise = state(model, 1)
    yield Graph("exported decoder", model, tuple(latents))
    if not config.data.frames:
        x = zeros(1, model.channels, model.size, model.size)
        sampler = make_sampler(make_energy(model, config), config)
        yield Graph("exported encoder", make_chain_encoder(config, model), (x,))
        yield Graph("exported inference", cells.Inference(sampler, 1.0), (x, *latents, *noise))
        yield Graph("exported inference for Lite", AdjointLangevin(sampler, 1.0), (x, *latents, *noise))


def needed(name: str, graphs: Iterable[Graph]) -> Iterator[Graph]:
    """The graphs of the configuration `name` that are to be compiled."""
    return (graph for graph in graphs if graph.name not in COVERED.get(name, ()))


def dumped(folder: Path) -> set[str]:
    """Operators of the graphs dumped in `folder`, which is emptied. Raises RuntimeError if there is none."""
    operators: set[str] = set()
    for path in folder.glob("*validate*.ir"):
        operators |= set(re.findall(r"^ +%\d+\(.*?\) = (?:PrimFunc_)?(\w+)\(", path.read_text(), re.MULTILINE))
        path.unlink()
    if not operators:
        raise RuntimeError(f"MindSpore dumped no graph in {folder}; its path must be absolute")
    return operators


def in_mindir(path: Path) -> set[str]:
    """Operators of a MindIR file."""
    from mindspore.train import mind_ir_pb2

    stored = mind_ir_pb2.ModelProto()
    stored.ParseFromString(path.read_bytes())
    primitives: dict[str, str] = {primitive.name: primitive.op_type for primitive in stored.primitives}
    kinds = {node.op_type.removeprefix("REF::") for graph in (stored.graph, *stored.functions) for node in graph.node}
    return {primitives.get(kind, kind).split("::")[-1] for kind in kinds if kind != "Constant"}


def operators(folder: Path) -> Iterator[tuple[str, set[str]]]:
    """(name, operators) of every graph."""
    for name, settings in TRAINED.items():
        for graph in needed(name, trained(name, recipe.load(None, [*TINY, *settings]))):
            graph.cell.compile(*graph.inputs)
            yield f"{name}: {graph.name}", dumped(folder)
    for graph in of_evaluation():
        graph.cell.compile(*graph.inputs)
        yield f"evaluation: {graph.name}", dumped(folder)
    for name, settings in EXPORTED.items():
        for graph in needed(name, exported(recipe.load(None, [*TINY, *settings]))):
            ms.export(graph.cell, *graph.inputs, file_name=str(folder / "exported"), file_format="MINDIR")
            yield f"{name}: {graph.name}", in_mindir(folder / "exported.mindir")


def import_everything() -> None:
    """Imports all modules of dgn: MindSpore also announces what it will remove when it is imported."""
    for module in pkgutil.walk_packages(dgn.__path__, "dgn."):
        if module.name != "dgn.__main__":
            importlib.import_module(module.name)


if __name__ == "__main__":
    import_everything()
    device.start("CPU")
    sources.remember()
    gc.freeze()  # MindSpore collects garbage before each compilation; what is there by now need not be visited
    for graph_name, names in operators(Path(sys.argv[1])):
        print(json.dumps({"graph": graph_name, "operators": sorted(names)}), flush=True)
        gc.freeze()
