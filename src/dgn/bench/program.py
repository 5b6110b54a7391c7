"""Compares the C++ program of ascend310_infer with Python: a call of the decoder, and one Langevin step, on CPU."""

from __future__ import annotations

import functools
import re
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import mindspore as ms
import numpy as np

from dgn import config as cfg
from dgn.bench import calls
from dgn.bench.measures import measure
from dgn.errors import RunFailed, UserError
from dgn.export import cells, files
from dgn.export.cpp_files import write_samples
from dgn.export.lite2 import mindir1
from dgn.export.lite2.adjoint import AdjointLangevin
from dgn.inference import langevin
from dgn.inference.chains import run_arrays
from dgn.inference.energy import make_energy
from dgn.nets.build import make_model
from dgn.nets.model import decode, present

BATCHES = (1, 8)
CALLS, WARM_UP = 50, 5  # of a turn


class Times(NamedTuple):
    """Milliseconds of a call."""

    median: float
    high: float  # 95th percentile, nearest rank


Turn = Callable[[], Times]


def compare(program: Path, config: cfg.Config, rounds: int, threads: int) -> str:
    """A table of milliseconds for calls of an untrained model by the program (dgn_infer) and by Python, which take
    turns; each number is the median over `rounds` turns.

    Raises UserError if there is no program or the model is of clips, RunFailed if the program fails.
    """
    if not program.is_file():
        raise UserError(f"there is no {program}; build it with `bash ascend310_infer/build.sh`")
    if config.data.frames:
        raise UserError("the program infers no latents of clips, so that there is nothing to compare")
    lines = [f"{'':34} {'program':>20} {'Python':>20}   median and 95th percentile, {threads} "
             f"thread{'s' * (threads > 1)}"]
    for batch in BATCHES:
        with tempfile.TemporaryDirectory(dir=files.plain_folder()) as folder:
            for name, candidates in tasks(program, config, batch, threads, Path(folder)).items():
                turns = [[turn() for turn in candidates] for _ in range(rounds)]
                medians = [Times(*map(statistics.median, zip(*times))) for times in zip(*turns)]
                lines.append(f"{name + f', batch {batch}':34} "
                             + " ".join(f"{t.median:8.2f} {t.high:8.2f} ms" for t in medians))
    return "\n".join(lines)


def tasks(program: Path, config: cfg.Config, batch: int, threads: int, folder: Path) -> dict[str, tuple[Turn, ...]]:
    """The decoder and a Langevin step, each by the program and by Python."""
    live = make_model(config)
    portable = cells.portable(config)
    model = cells.fold(make_model(portable))
    groups, sigma = model.groups, cfg.last_sigma(config)
    example = cells.example(model, batch, 1)
    (images, z, noise), inputs = example, example.inputs(groups)
    names = [group.name for group in groups]
    sampler = langevin.make_sampler(make_energy(live, config), config, 1)
    adjoint = AdjointLangevin(langevin.make_sampler(make_energy(model, portable), portable, 1), sigma)
    files.write(model, z, folder / "decoder.mindir", present(decode(live, *z)),
                rewrite=functools.partial(mindir1.rewrite, inputs=names))
    files.write(adjoint, list(inputs.values()), folder / "inference_lite.mindir",
                run_arrays(sampler, images, None, sigma, z, noise)[0],
                rewrite=functools.partial(mindir1.rewrite, inputs=list(inputs)))
    for name, values in zip(names, z):
        write_samples(folder / "latents" / name, np.tile(values, (CALLS, 1)))
        write_samples(folder / "start" / name, values)
    write_samples(folder / "images", images)
    common = [program, "--device_type", "CPU", "--threads", threads, "--warmup", WARM_UP,
              "--output_path", folder / "out"]
    decoding = ["--mindir_path", folder / "decoder.mindir", "--input_path", folder / "latents"]
    inferring = ["--mindir_path", folder / "inference_lite.mindir", "--job", "infer", "--steps", 0,
                 "--descent_steps", CALLS, "--input_path", folder / "images", "--start_path", folder / "start"]
    return {"decoder": (_program([*common, *decoding]), _python(calls.waiting(live, *map(ms.Tensor, z)))),
            "Langevin step": (_program([*common, *inferring]), _python(calls.sampler(live, config, images, 1)))}


def _program(words: Sequence[object]) -> Turn:
    """A turn of the program, which times its own calls."""
    def turn() -> Times:
        result = subprocess.run(list(map(str, words)), capture_output=True, text=True)
        times = re.search(r"median ([\d.]+) ms, 95th percentile ([\d.]+) ms", result.stdout)
        if result.returncode or not times:
            raise RunFailed(f"{words[0]} failed: {result.stderr.strip()}")
        return Times(*map(float, times.groups()))
    return turn


def _python(call: calls.Call) -> Turn:
    """A turn of Python."""
    def turn() -> Times:
        milliseconds = 1e3 * np.array(measure({"call": call}, CALLS, WARM_UP)["call"])
        return Times(float(np.median(milliseconds)), float(np.percentile(milliseconds, 95, method="inverted_cdf")))
    return turn
