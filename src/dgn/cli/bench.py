"""Timings on this machine.

  dgn bench parts --against torch
  dgn bench parts --batch 25 --set data.size=128 --json timings.json
  dgn bench parts --config config/clips_table5.yaml --batch 1 --steps 1
  dgn bench parts --config config/adversarial_faces128.yaml --graphs
  dgn bench parts --config config --graphs --json graphs.json
  dgn bench parts --config config/faces_demo.yaml --profile trace
  dgn bench processes 2
  dgn bench storage 1562500
  DGN_THREADS=1 dgn bench program ascend310_infer/build/dgn_infer

parts: the sampler, a training step and their parts. Candidates are timed alternately; ratios compare neighbouring
calls, so clock drift cancels. The last column is the FLOP rate as a percentage of the rate of a large matrix product on
this machine; FLOPs are counted from the layers. For clips a sample is a clip, and the recurrence's fraction of a
Langevin step is printed. With a critic, the steps of critic and generators are timed as well. --graphs counts the
operators of every graph of a training and times its compilation, for one recipe or for each in a folder. --profile
writes a trace, whose trace_view.json MindStudio Insight and Perfetto open.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

from dgn import device, launcher, machine, provenance, recipe
from dgn.cli import add_config, add_device, positive, user_path
from dgn.config import Config, changed
from dgn.errors import UserError
from dgn.files import write_json

COUNTS = {"batch": (100, "samples"), "steps": (5, "Langevin steps per call"), "rounds": (7, "timed repetitions")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tools = parser.add_subparsers(dest="tool", required=True, metavar="tool")
    parts = tools.add_parser("parts", help="the sampler, a training step and their parts")
    _add_common(parts, *COUNTS)
    parts.add_argument("--against", choices=["torch"],
                       help="also the sampler as PyTorch programs, if PyTorch is installed")
    parts.add_argument("--graphs", action="store_true",
                       help="instead of times: operators and compile time of every graph of a training with --config, "
                            "which may then be a folder of recipes")
    parts.add_argument("--profile", metavar="DIR", type=user_path,
                       help="instead of times: a trace of the graphs of a training by mindspore.profiler")
    parts.add_argument("--json", metavar="FILE", type=user_path,
                       help="also write the seconds of every call, or with --graphs the counts")
    processes = tools.add_parser("processes", help="iterations of a training in one process and in several")
    processes.add_argument("count", type=positive, help="processes, one thread each, on the same batch")
    _add_common(processes, *COUNTS)
    processes.add_argument("--json", help=argparse.SUPPRESS)  # a process's result, for the one that launched it
    storage = tools.add_parser("storage", help="the chains of many samples, on this folder's file system")
    storage.add_argument("samples", type=positive, help="samples of one process")
    _add_common(storage)
    program = tools.add_parser("program", help="the C++ program beside Python, for one sample and for eight")
    program.add_argument("program", metavar="FILE", type=user_path, help="dgn_infer of ascend310_infer")
    _add_common(program, "rounds")


def _add_common(parser: argparse.ArgumentParser, *counts: str) -> None:
    """Arguments of several tools; counts: those of COUNTS that the tool has."""
    add_config(parser, "recipe; without it the paper's model (Table 4)")
    for name in counts:
        default, what = COUNTS[name]
        parser.add_argument(f"--{name}", type=positive, default=default, help=f"{what} (default %(default)s)")
    add_device(parser)


def run(args: argparse.Namespace) -> int:
    if getattr(args, "graphs", False):
        return graphs(args)
    config = recipe.load(args.config, args.settings)
    return {"parts": parts, "processes": processes, "storage": storage, "program": program}[args.tool](args, config)


def parts(args: argparse.Namespace, config: Config) -> int:
    device.start(args.device, config.numerics)
    if args.profile:
        from dgn.bench.graphs import training_graphs
        from dgn.bench.profile import profile

        config = changed(config, inference={"steps": args.steps, "steps_per_graph": 0})
        folder = profile(dict(training_graphs(config, args.batch)), Path(args.profile))
        print(f"trace of the graphs of a training: {folder}")
        return 0
    from dgn.bench.parts import Setup, measure, summary

    times = measure(config, Setup(args.batch, args.steps, args.rounds, args.against == "torch"))
    print(summary(times))
    if args.json:
        write_json(Path(args.json), {**times.as_json(), "numerics": dataclasses.asdict(config.numerics)})
    return 0


def graphs(args: argparse.Namespace) -> int:
    """Of one config, or of every recipe in a folder."""
    folder = Path(args.config) if args.config and Path(args.config).is_dir() else None
    paths = sorted(folder.glob("*.yaml")) if folder else [args.config]
    if not paths:
        raise UserError(f"{folder} holds no recipe (*.yaml)")
    configs = {Path(path).stem if path else "default": recipe.load(path, args.settings) for path in paths}
    device.start(args.device, next(iter(configs.values())).numerics)
    from dgn.bench.graphs import compiled_size, summary, training_graphs

    stored = {}
    for name, config in configs.items():
        sizes = {graph: compiled_size(*parts) for graph, parts in training_graphs(config, args.batch)}
        print(summary(sizes, name), flush=True)
        stored[name] = {graph: size._asdict() for graph, size in sizes.items()}
    if args.json:
        write_json(Path(args.json), {"versions": provenance.versions(), "device": device.current(), "batch": args.batch,
                                     "recipes": stored})
    return 0


def processes(args: argparse.Namespace, config: Config) -> int:
    """Compares one process with several. Under msrun: measures this process."""
    if launcher.launched_by_msrun():
        return measure_here(args, config)
    from dgn.bench.processes import compare

    if args.batch % args.count:
        raise UserError(f"--batch is {args.batch}; it must be a multiple of the number of processes, {args.count}")
    arguments: list[str] = ["--config", str(Path(args.config).resolve())] if args.config else []
    arguments += [word for setting in args.settings for word in ("--set", setting)]
    arguments += ["--batch", str(args.batch), "--steps", str(args.steps), "--rounds", str(args.rounds), "--device",
                  args.device]
    print(compare([1, args.count], arguments))
    return 0


def measure_here(args: argparse.Namespace, config: Config) -> int:
    device.start(args.device, config.numerics)
    from dgn.bench.processes import iteration
    from dgn.distributed import process_group

    group = process_group()
    config = changed(config, training={"batch_size": args.batch}, inference={"steps": args.steps})
    result = iteration(config, group, args.rounds)
    if group.is_first:
        write_json(Path(args.json), result)
    group.barrier()
    return 0


def storage(args: argparse.Namespace, config: Config) -> int:
    device.start(args.device, config.numerics)
    from dgn.bench.storage import costs
    from dgn.nets.build import make_model

    print(costs(make_model(config).groups, args.samples, Path.cwd()))
    return 0


def program(args: argparse.Namespace, config: Config) -> int:
    device.start(args.device, config.numerics)
    from dgn.bench.program import compare

    threads = int(os.environ.get("DGN_THREADS") or machine.cores())
    print(compare(Path(args.program), config, args.rounds, threads))
    return 0
