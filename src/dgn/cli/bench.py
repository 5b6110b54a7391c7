"""Time the sampler, a learning step and their parts on this machine.

  dgn bench
  dgn bench --against torch
  dgn bench --batch 25 --set data.size=128 --json timings.json
  dgn bench --config config/clips_table5.yaml --batch 1 --steps 1
  dgn bench --config config/adversarial_faces128.yaml --batch 50
  dgn bench --processes 2
  dgn bench --samples 1562500
  DGN_THREADS=1 dgn bench --program ascend310_infer/build/dgn_infer

Candidates take turns and ratios are taken within a turn, so a machine whose speed drifts is still fair. The share is that
of the rate which a matrix product reaches here; the arithmetic is counted from the networks' layers. Of a recipe for clips
a sample is a clip, and the part that the recurrence over time takes of a Langevin step is given as well; of a recipe with
a critic, its step and the actor's, which takes the place of the learning step.
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path
from typing import Dict, List

import numpy as np

from dgn import config as cfg
from dgn import device as runtime
from dgn.cli import add_device, positive
from dgn.errors import UserError
from dgn.files import disk_errors, write_json

MATRIX = 1536  # side of the matrices of the reference product
RECURRENCE = "Z_t of both groups, forward and to the latents"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="YAML", help="recipe; without it the paper's model (Table 4)")
    parser.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], dest="settings",
                        help="change one value of the config; may be repeated")
    parser.add_argument("--batch", type=positive, default=100, help="samples (default %(default)s)")
    parser.add_argument("--steps", type=positive, default=5, help="Langevin steps a call (default %(default)s)")
    parser.add_argument("--rounds", type=positive, default=7, help="turns (default %(default)s)")
    parser.add_argument("--against", choices=["torch"], help="the same work as PyTorch programs, if PyTorch is installed")
    parser.add_argument("--processes", type=positive, help="instead: whole iterations of a training in one process and in so many, one "
                        "thread each, on the same batch")
    parser.add_argument("--samples", type=positive, help="instead: what the chains of so many samples cost a process, in this folder's "
                        "file system")
    parser.add_argument("--program", metavar="FILE", help="instead: the decoder and a Langevin step by this program, dgn_infer of "
                        "ascend310_infer, and by Python, for one sample and for eight")
    parser.add_argument("--json", metavar="FILE", help="write the seconds of every call, too")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    config = cfg.load(args.config, args.settings)
    if runtime.launched():
        return measure_here(args, config)
    if args.processes:
        return compare_processes(args)
    device = runtime.start(args.device)
    if args.samples:
        return chains(args, config, device)
    if args.program:
        from dgn.bench import program
        print(program.compare(Path(args.program), config, device, args.rounds, int(os.environ.get("DGN_THREADS") or os.cpu_count())))
        return 0
    from dgn import build
    from dgn.bench import against_torch, flops, parts, timing
    from dgn.bench.memory import peak_memory
    from dgn.nets.conv import NativeConv, make_conv
    from dgn.nets.warp import NativeWarp, make_warp

    rng = np.random.default_rng(0)
    model = build.make_model(config, device)
    frames = config.data.frames or 1
    clips = (frames,) if config.data.frames else ()
    x = rng.random((args.batch, *clips, model.channels, model.size, model.size), np.float32)
    ours = f"sampler, {args.steps} steps"
    native = device == "CPU" and isinstance(make_warp("auto", model.size, model.size, device), NativeWarp)
    kinds = (*(("native",) if native else ()), "grid_sample", "reference")

    seconds = timing.measure({"matrix product": parts.matrix_product(MATRIX, rng)}, args.rounds)
    rivals = against_torch.programs(model, config.model, x, args.steps, config.inference.step_size) if args.against else {}
    seconds.update(timing.measure({ours: parts.sampler(model, config, x, args.steps), **rivals}, args.rounds))
    seconds.update(timing.measure({"learning step": parts.learning(model, config, x)}, args.rounds))
    seconds.update(timing.measure(parts.generators(model, args.batch, rng), args.rounds))
    seconds.update(timing.measure(parts.warps(kinds, model.channels, model.size, args.batch * frames, rng), args.rounds))
    if config.training.adversarial != "none":
        critics = ("native", "stock") if isinstance(make_conv("auto", 1, 3, device), NativeConv) else ("stock",)
        seconds.update(timing.measure(parts.adversarial(critics, model, config, x, device), args.rounds))
    if config.data.frames:
        seconds.update(timing.measure({RECURRENCE: parts.recurrence(model, args.batch, frames, rng)}, args.rounds))

    rate = 2 * MATRIX ** 3 / statistics.median(seconds["matrix product"])
    images = args.batch * frames
    work = {ours: images * args.steps * flops.langevin_step(model), "learning step": images * flops.learning_step(model)}
    print(f"{device}, batch {args.batch}{f' clips of {frames} frames' if clips else ''}, {model.channels}x{model.size}x{model.size}; "
          + ", ".join(f"{key} {value}" for key, value in runtime.versions().items()))
    print(f"matrix product {rate / 1e9:.0f} GFLOP/s")
    print(table(seconds, work, rate))
    speed = images * args.steps / statistics.median(seconds[ours])
    print(f"Langevin: {speed:.0f} image-steps a second; {flops.langevin_step(model) / 1e6:.1f} MFLOP each")
    if clips:
        share = statistics.median(seconds[RECURRENCE]) * args.steps / statistics.median(seconds[ours])
        print(f"recurrence: {100 * share:.1f} % of a Langevin step; most memory so far {peak_memory():.0f} MiB")
    for rival in rivals:
        print(f"ratio  {rival} / {ours}: {timing.ratio(seconds, rival, ours):.2f}")
    if native:
        for what in ("forward", "forward and both gradients"):
            print(f"ratio  warp grid_sample / native, {what}: {timing.ratio(seconds, f'warp grid_sample, {what}', f'warp native, {what}'):.1f}")
    for what in ("critic's step", "critic's step with R1"):
        if f"{what}, native" in seconds:
            print(f"ratio  {what}, stock / native: {timing.ratio(seconds, f'{what}, stock', f'{what}, native'):.1f}")
    if args.json:
        write_json(Path(args.json), {"versions": runtime.versions(), "device": device, "batch": args.batch, "seconds": seconds})
    return 0


def measure_here(args: argparse.Namespace, config: cfg.Config) -> int:
    """This process's part of a comparison of processes, which started it."""
    device = runtime.start(args.device)
    from dgn.bench import processes

    ranks = runtime.ranks()
    config = cfg.changed(config, training={"batch_size": args.batch}, inference={"steps": args.steps})
    found = processes.iteration(config, device, ranks, args.rounds)
    if ranks.first:
        write_json(Path(args.json), found)
    ranks.wait()
    return 0


def compare_processes(args: argparse.Namespace) -> int:
    """One process and several, in turn."""
    from dgn.bench import processes

    if args.batch % args.processes:
        raise UserError(f"--batch is {args.batch}; it must be a multiple of --processes, {args.processes}")
    settings = [part for setting in args.settings for part in ("--set", setting)]
    config = ["--config", str(Path(args.config).resolve())] if args.config else []
    print(processes.compare([1, args.processes], [*config, *settings, "--batch", str(args.batch), "--steps", str(args.steps),
                                                  "--rounds", str(args.rounds), "--device", args.device]))
    return 0


def chains(args: argparse.Namespace, config: cfg.Config, device: str) -> int:
    """What the chains of many samples cost."""
    from dgn import build
    from dgn.bench import storage

    with disk_errors(Path.cwd()):
        print(storage.costs(build.make_model(config, device).groups, args.samples, Path.cwd()))
    return 0


def table(seconds: Dict[str, List[float]], work: Dict[str, int], rate: float) -> str:
    """Median, fastest and slowest call, and the share of the matrix product's rate where the arithmetic is known."""
    lines = [f"{'':48} {'median':>9} {'min':>9} {'max':>9}   share of the matrix product's rate"]
    for name, times in seconds.items():
        share = f"{100 * work[name] / statistics.median(times) / rate:6.0f} %" if name in work else ""
        lines.append(f"{name:48} {1e3 * statistics.median(times):6.1f} ms {1e3 * min(times):6.1f} ms {1e3 * max(times):6.1f} ms {share}")
    return "\n".join(lines)
