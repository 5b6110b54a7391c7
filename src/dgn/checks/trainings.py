"""Repeats iterations of CPU trainings on the device from the same state; compares several devices with one.

Free trainings cannot be compared: the energy has kinks (ReLU, cells of the bilinear interpolation), at which rounding
decides between two gradients, and the chains and Adam amplify the difference. So every repeated iteration starts from
the recorded weights, moments and latents, and the median over the iterations is compared. A kink changes one
iteration; a wrong gradient changes all.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Parameter, ops

from dgn import device, recipe
from dgn.bench.calls import random_images, whole_mask
from dgn.bench.msrun import msrun, read_log, run_logged
from dgn.checks.check import Check, Setup, relative_error
from dgn.config import Config, changed
from dgn.distributed import ProcessGroup
from dgn.errors import RunFailed
from dgn.files import write_arrays, write_text
from dgn.inference.chains import draw_noise, random_latents
from dgn.nets.build import make_model
from dgn.nets.model import Arrays
from dgn.reading import read_arrays
from dgn.training.build import make_trainer
from dgn.training.trainer import Batch, Trainer

ITERATIONS, REPEATED, STEPS = 20, (0, 1, 2, 5, 10, 15, 19), 5
QUICK_ITERATIONS = 3  # with a step without R1 between two with it; all are repeated
BATCH = 8  # a multiple of the devices
# Largest median errors; see docs/devices.md for what CPU with other operators reaches. Adam's first updates are the
# signs of the gradients, those that are nearly 0 among them.
TOLERANCES = {"loss": 1e-4, "latents": 1e-3, "change of the weights": 2e-2}
BY_OPERATORS = {"warp": "grid_sample", "deconv": "stock", "recurrence": "stock"}  # what Ascend and GPU run

Record = Mapping[str, np.ndarray]  # "<training>.<iteration>.<quantity>": results, state.<k>, start.<g>


def trainings(setup: Setup) -> dict[str, Config]:
    """The recipe, clips with the networks of Table 5, and a critic with lazy R1, all with the recipe's operators."""
    # as clips_table5.yaml: without the scaling, random weights saturate every tanh, and rounding moves pixels
    clips = ["data.frames=3", "model.network=table5", "model.alpha=2", "model.scaling=he"]
    critic = ["training.adversarial=nonsaturating", "training.r1_interval=2"]
    if setup.quick:
        clips += ["data.size=16", "model.width=16"]
        critic += ["data.size=16", "model.width=16", "training.critic_width=2"]
    else:
        clips.append("model.width=256")
    kinds = [f"model.{key}={getattr(setup.config.model, key)}" for key in BY_OPERATORS]
    configs = {"images": setup.config, "clips": recipe.load(None, clips + kinds),
               "critic": recipe.load(None, critic + kinds)}
    return {name: changed(config, inference={"steps": 1 if setup.quick else STEPS, "steps_per_graph": 0},
                          training={"batch_size": BATCH, "micro_batches": 1}) for name, config in configs.items()}


class Training:
    """A training on random images; each process has its part of the batch."""

    def __init__(self, config: Config, processes: ProcessGroup) -> None:
        config = changed(config, training={"shards": processes.size})
        self.model, self.processes = make_model(config), processes
        self.trainer: Trainer = make_trainer(config, self.model, processes)
        self.own = slice(processes.rank, None, processes.size)
        self.x = random_images(config, self.model, BATCH, np.random.default_rng(1))[self.own]
        self.mask = whole_mask(config, len(self.x))

    def start(self) -> Arrays:
        """The first latents of the whole batch."""
        return random_latents(self.model, BATCH, 1, "check")

    def state(self) -> list[Parameter]:
        """Weights, moments and steps, in an order that does not depend on the device."""
        cells = *self.trainer.networks.values(), *self.trainer.optimizers.values()
        return [parameter for cell in cells for parameter in cell.get_parameters()]

    def restore(self, values: Sequence[np.ndarray]) -> None:
        """Sets `state`; compiled graphs see it."""
        for parameter, value in zip(self.state(), values):
            ops.assign(parameter, ms.Tensor(value))

    def step(self, iteration: int, latents: Arrays) -> tuple[Arrays, dict[str, np.ndarray]]:
        """One iteration from latents of the whole batch: the new ones, and what is compared. A collective."""
        before = self._weights()
        noise = tuple(n[:, self.own] for n in draw_noise(self.model, self.trainer.draws, BATCH, 1, "check", iteration))
        own, metrics = self.trainer.step(Batch(self.x, self.mask, noise, 1.0, 1e-3, iteration),
                                         tuple(z[self.own] for z in latents))
        latents = tuple(self._gathered(z) for z in own)
        loss = self.processes.all_sum([metrics.loss]) / self.processes.size
        return latents, {"loss": loss, "latents": np.concatenate([z.reshape(BATCH, -1) for z in latents], 1),
                         "change of the weights": self._weights() - before}

    def _weights(self) -> np.ndarray:
        return np.concatenate([parameter.asnumpy().ravel() for cell in self.trainer.networks.values()
                               for parameter in cell.trainable_params()])

    def _gathered(self, own: np.ndarray) -> np.ndarray:
        parts = self.processes.gather_values(own.ravel()).reshape(self.processes.size, *own.shape)
        whole = np.empty((BATCH, *own.shape[1:]), np.float32)
        for rank, part in enumerate(parts):
            whole[rank::self.processes.size] = part
        return whole


def record(setup: Setup) -> dict[str, np.ndarray]:
    """Trains each training in this process: the results of the repeated iterations, and the states before them."""
    recorded: dict[str, np.ndarray] = {}
    for name, config in _compared(setup).items():
        training = Training(config, ProcessGroup())
        latents = training.start()
        for iteration in range(QUICK_ITERATIONS if setup.quick else ITERATIONS):
            state, start = [parameter.asnumpy().copy() for parameter in training.state()], latents
            latents, results = training.step(iteration, latents)
            if setup.quick or iteration in REPEATED:
                parts = {"state": state, "start": start}
                recorded.update({f"{name}.{iteration}.{part}.{k}": value for part, values in parts.items()
                                 for k, value in enumerate(values)})
                recorded.update({f"{name}.{iteration}.{what}": value for what, value in results.items()})
    return recorded


def repeat(setup: Setup, recorded: Record, processes: ProcessGroup = ProcessGroup()) -> dict[str, np.ndarray]:
    """The results of the recorded iterations, each from its recorded state. A collective."""
    repeated: dict[str, np.ndarray] = {}
    for name, config in _compared(setup).items():
        training = Training(config, processes)
        for iteration in sorted({int(key.split(".")[1]) for key in recorded if key.startswith(f"{name}.")}):
            prefix = f"{name}.{iteration}"
            training.restore(_numbered(recorded, f"{prefix}.state"))
            _, results = training.step(iteration, tuple(_numbered(recorded, f"{prefix}.start")))
            repeated.update({f"{prefix}.{what}": value for what, value in results.items()})
    return repeated


def _compared(setup: Setup) -> dict[str, Config]:
    return {name: config for name, config in trainings(setup).items() if not (setup.quick and name == "clips")}


def _numbered(recorded: Record, prefix: str) -> list[np.ndarray]:
    count = sum(key.startswith(f"{prefix}.") for key in recorded)
    return [recorded[f"{prefix}.{k}"] for k in range(count)]


def checks(setup: Setup) -> Iterator[Check]:
    """Iterations on this device, with the operators of accelerators, against CPU with its own; then on several devices
    against this one."""
    accelerated = replace(setup, config=changed(setup.config, model=BY_OPERATORS))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        states = folder / "record.npz"
        _run_elsewhere(setup, folder, ["--record", str(states)], "CPU")
        recorded = read_arrays(states)
        here = repeat(accelerated, recorded)
        yield from compare("as on CPU", here, recorded)
        if setup.devices > 1:
            there = folder / "there.npz"
            _run_elsewhere(accelerated, folder, ["--repeat", str(states), str(there)], device.current(), setup.devices)
            yield from compare(f"as on {setup.devices} devices", here, read_arrays(there))


def compare(name: str, here: Record, there: Record) -> Iterator[Check]:
    """For each training and quantity the median error over the iterations; the note has the largest one."""
    for training in dict.fromkeys(key.split(".")[0] for key in here):
        for what, tolerance in TOLERANCES.items():
            errors = [relative_error(value, there[key]) for key, value in here.items()
                      if key.startswith(f"{training}.") and key.endswith(f".{what}")]
            yield Check(f"{training}, {len(errors)} iterations, {what} {name}", float(np.median(errors)), tolerance,
                        f"largest {max(errors):.1e}")


def _run_elsewhere(setup: Setup, folder: Path, words: Sequence[str], name: str, count: int = 1) -> None:
    """Runs `dgn check` with further arguments in `count` other processes on a device; writes their recipe into
    `folder`, their output into the folder of logs."""
    logs = (setup.logs or folder) / f"{name}_{count}"
    config = folder / "config.yaml"
    write_text(config, recipe.dump(setup.config))
    command = ["check", "--config", str(config), "--device", name, *words, *(["--quick"] if setup.quick else [])]
    if count > 1:
        msrun(count, command, logs)
        return
    log = logs / "output.log"
    if run_logged([sys.executable, "-m", "dgn", *command], log):
        last = read_log(log)[-1:] or ["no message"]
        raise RunFailed(f"the training on {name} failed: {last[0].removeprefix('dgn: ')}; its output is in {log}")


def write_record(setup: Setup, path: Path) -> None:
    """`record` into an .npz."""
    write_arrays(path, **record(setup))


def write_repeated(setup: Setup, processes: ProcessGroup, states: Path, path: Path) -> None:
    """`repeat` of an .npz into another; of several processes the first one writes."""
    results = repeat(setup, read_arrays(states), processes)
    if processes.is_first:
        write_arrays(path, **results)
    processes.barrier()
