"""Trainings of a few iterations: on the device against CPU, and on several devices against one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, Iterator, Mapping

import numpy as np

from dgn import device, recipe
from dgn.bench import processes
from dgn.bench.calls import random_images, whole_mask
from dgn.checks.check import Check, Setup, relative_error
from dgn.config import Config, changed
from dgn.distributed import ProcessGroup
from dgn.errors import RunFailed
from dgn.files import write_arrays, write_text
from dgn.inference.langevin import draw_noise
from dgn.nets.build import make_model
from dgn.training.build import make_trainer
from dgn.training.trainer import Batch

ITERATIONS, STEPS = 20, 5
BATCH = 8  # a multiple of the devices
# Rounding differs between devices and grows along the chains and the weights; choices, see docs/devices.md for what CPU
# with other operators reaches.
LOSS, WEIGHTS = 1e-3, 2e-2
BY_OPERATORS = {"warp": "grid_sample", "deconv": "stock", "recurrence": "stock"}  # what Ascend and GPU run

Curves = Mapping[str, np.ndarray]  # "<training> losses" (iterations,), "<training> weights": change of all weights


def trainings(setup: Setup) -> Dict[str, Config]:
    """The recipe, clips with the networks of Table 5, and a critic with lazy R1, all with the recipe's operators."""
    clips = ["data.frames=3", "model.network=table5", "model.alpha=2"]
    critic = ["training.adversarial=nonsaturating", "training.r1_interval=2"]
    if setup.quick:
        clips += ["data.size=16", "model.width=16"]
        critic += ["data.size=16", "model.width=16", "training.critic_width=2"]
    else:
        clips.append("model.width=256")
    kinds = [f"model.{key}={getattr(setup.config.model, key)}" for key in BY_OPERATORS]
    return {"images": setup.config, "clips": recipe.load(None, clips + kinds),
            "critic": recipe.load(None, critic + kinds)}


def curves(setup: Setup, group: ProcessGroup = ProcessGroup()) -> Dict[str, np.ndarray]:
    """The loss of every iteration, and the change of the weights, of each training on random images. A collective;
    every process has its share of each batch."""
    results: Dict[str, np.ndarray] = {}
    for name, config in trainings(setup).items():
        if setup.quick and name == "clips":
            continue
        config = changed(config, inference={"steps": 1 if setup.quick else STEPS, "steps_per_graph": 0},
                         training={"batch_size": BATCH, "shards": group.size, "micro_batches": 1})
        model = make_model(config)
        trainer = make_trainer(config, model, group)
        before, own = _weights(model), slice(group.rank, None, group.size)
        x = random_images(config, model, BATCH, np.random.default_rng(1))[own]
        mask = whole_mask(config, len(x))
        latents = tuple(z[0][own] for z in draw_noise(model, 1, BATCH, 1, "check"))
        losses = []
        for iteration in range(iterations(setup)):
            noise = tuple(n[:, own] for n in draw_noise(model, trainer.draws, BATCH, 1, "check", iteration))
            latents, metrics = trainer.step(Batch(x, mask, noise, 1.0, 1e-3, iteration), latents)
            losses.append(metrics.loss)
        results[f"{name} losses"] = group.all_sum(losses) / group.size
        results[f"{name} weights"] = _weights(model) - before
    return results


def iterations(setup: Setup) -> int:
    """Of each training; three have a step without R1 between two with it."""
    return 3 if setup.quick else ITERATIONS


def _weights(model) -> np.ndarray:
    return np.concatenate([parameter.asnumpy().ravel() for parameter in model.trainable_params()])


def checks(setup: Setup) -> Iterator[Check]:
    """20 iterations on this device, with the operators of accelerators, against CPU with its own; then on several
    devices against this one."""
    accelerated = Setup(changed(setup.config, model=BY_OPERATORS), setup.batch, setup.devices, setup.quick)
    here = curves(accelerated)
    what = f"{iterations(setup)} iterations, {{}} as on "
    yield from compare(f"{what}CPU", here, _elsewhere(setup, 1, "CPU"))
    if setup.devices > 1:
        there = _elsewhere(accelerated, setup.devices, device.current())
        yield from compare(f"{what}{setup.devices} devices", here, there)


def compare(name: str, here: Curves, there: Curves) -> Iterator[Check]:
    """Checks of the losses and of the weights' changes, named by `name` with the quantity in its place."""
    for key, expected in there.items():
        training, kind = key.split()
        what, tolerance = ("loss", LOSS) if kind == "losses" else ("change of the weights", WEIGHTS)
        yield Check(f"{training}, {name.format(what)}", relative_error(here[key], expected), tolerance)


def _elsewhere(setup: Setup, count: int, name: str) -> Curves:
    """The curves of `count` other processes on a device."""
    with tempfile.TemporaryDirectory() as scratch:
        config, result = Path(scratch) / "config.yaml", Path(scratch) / "curves.npz"
        write_text(config, recipe.dump(setup.config))
        words = ["check", "--config", str(config), "--device", name, "--curves", str(result)]
        words += ["--quick"] if setup.quick else []
        if count > 1:
            processes.msrun(count, words)
        else:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            done = subprocess.run([sys.executable, "-m", "dgn", *words], capture_output=True, text=True,
                                  env=environment)
            if done.returncode:
                raise RunFailed(f"the training on {name} failed: {done.stderr.strip().splitlines()[-1:]}")
        with np.load(result) as stored:
            return dict(stored)


def write_curves(setup: Setup, group: ProcessGroup, path: Path) -> None:
    """`curves` into an .npz; of several processes the first one writes."""
    results = curves(setup, group)
    if group.is_first:
        write_arrays(path, **results)
    group.barrier()
