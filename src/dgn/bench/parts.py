"""Times the sampler, a training step and their parts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dgn import device, provenance
from dgn.bench import against_torch, calls, flops, measures
from dgn.config import Config
from dgn.nets.build import make_model
from dgn.nets.conv import NativeConv, make_conv
from dgn.nets.model import Model
from dgn.nets.warp import NativeWarp, make_warp

MATRIX = 1536  # side of the matrices of the reference product
PRODUCT, STEP = "matrix product", "training step"
RECURRENCE = "Z_t of both groups, forward and to the latents"


@dataclass(frozen=True)
class Setup:
    """batch: samples. steps: Langevin steps of a call. rounds: timed repetitions. torch: also time PyTorch."""

    batch: int = 100
    steps: int = 5
    rounds: int = 7
    torch: bool = False

    @property
    def sampler(self) -> str:
        """The sampler's name in the results."""
        return f"sampler, {self.steps} steps"


@dataclass(frozen=True)
class Times:
    """Seconds of every call of each part, by name, and what else the report needs."""

    setup: Setup
    model: Model
    frames: int  # of a clip; 0: images
    seconds: dict[str, list[float]]
    rivals: Sequence[str]  # names of the PyTorch programs
    native: bool  # whether the C++ kernels are used here

    @property
    def images(self) -> int:
        """Images in a batch; of clips: frames."""
        return self.setup.batch * (self.frames or 1)

    def as_json(self) -> dict[str, Any]:
        """Versions, device, batch and the seconds of every call."""
        return {"versions": provenance.versions(), "device": device.current(), "batch": self.setup.batch,
                "seconds": self.seconds}


def measure(config: Config, setup: Setup = Setup()) -> Times:
    """Times every part on random data, with random weights. Raises UserError if PyTorch is asked for and cannot run."""
    rng = np.random.default_rng(0)
    model, frames = make_model(config), config.data.frames
    x = calls.random_images(config, model, setup.batch, rng)
    native = device.current() == "CPU" and isinstance(make_warp("auto", model.size, model.size), NativeWarp)

    seconds = measures.measure({PRODUCT: calls.matrix_product(MATRIX, rng)}, setup.rounds)
    rivals = {}
    if setup.torch:
        rivals = against_torch.programs(model, config.model, x, setup.steps, config.inference.step_size)

    def add(parts: dict[str, calls.Call]) -> None:
        seconds.update(measures.measure(parts, setup.rounds))

    add({setup.sampler: calls.sampler(model, config, x, setup.steps), **rivals})
    add({STEP: calls.training_step(model, config, x)})
    add(calls.generators(model, setup.batch, rng))
    kinds = ("native", "grid_sample", "reference") if native else ("grid_sample", "reference")
    add(calls.warps(kinds, (setup.batch * (frames or 1), model.channels, model.size), rng))
    if config.training.adversarial != "none":
        convolutions = ("native", "stock") if isinstance(make_conv("auto", 1, 3), NativeConv) else ("stock",)
        add(calls.adversarial(convolutions, model, config, x))
    if frames:
        add({RECURRENCE: calls.recurrence(model, setup.batch, frames, rng)})
    return Times(setup, model, frames, seconds, tuple(rivals), native)


def summary(times: Times) -> str:
    """The times as text: a table, the rate of the sampler, and ratios."""
    seconds, setup, model, sampler = times.seconds, times.setup, times.model, times.setup.sampler
    rate = 2 * MATRIX ** 3 / statistics.median(seconds[PRODUCT])
    work = {sampler: times.images * setup.steps * flops.langevin_step(model),
            STEP: times.images * flops.training_step(model)}
    clips = f" clips of {times.frames} frames" if times.frames else ""
    versions = ", ".join(f"{key} {value}" for key, value in provenance.versions().items())
    steps_per_second = times.images * setup.steps / statistics.median(seconds[sampler])
    lines = [f"{device.current()}, batch {setup.batch}{clips}, {model.channels}x{model.size}x{model.size}; {versions}",
             f"matrix product {rate / 1e9:.0f} GFLOP/s", table(seconds, work, rate),
             f"Langevin: {steps_per_second:.0f} image-steps a second; "
             f"{flops.langevin_step(model) / 1e6:.1f} MFLOP each"]
    if times.frames:
        share = statistics.median(seconds[RECURRENCE]) * setup.steps / statistics.median(seconds[sampler])
        lines.append(f"recurrence: {100 * share:.1f} % of a Langevin step; "
                     f"peak memory {measures.peak_memory():.0f} MiB")
    lines += [f"ratio  {rival} / {sampler}: {measures.ratio(seconds, rival, sampler):.2f}" for rival in times.rivals]
    if times.native:
        lines += [f"ratio  warp grid_sample / native, {what}: "
                  f"{measures.ratio(seconds, f'warp grid_sample, {what}', f'warp native, {what}'):.1f}"
                  for what in ("forward", "forward and both gradients")]
    lines += [f"ratio  {what}, stock / native: {measures.ratio(seconds, f'{what}, stock', f'{what}, native'):.1f}"
              for what in ("critic step", "critic step with R1") if f"{what}, native" in seconds]
    return "\n".join(lines)


def table(seconds: dict[str, list[float]], work: dict[str, int], rate: float) -> str:
    """Median, fastest and slowest call of each part; where its floating-point operations are known (`work`), the rate
    as a percentage of `rate`, the rate of the matrix product."""
    lines = [f"{'':48} {'median':>9} {'min':>9} {'max':>9}   share of the matrix product's rate"]
    for name, values in seconds.items():
        median = statistics.median(values)
        share = f"{100 * work[name] / median / rate:6.0f} %" if name in work else ""
        times = " ".join(f"{1e3 * value:6.1f} ms" for value in (median, min(values), max(values)))
        lines.append(f"{name:48} {times} {share}")
    return "\n".join(lines)
