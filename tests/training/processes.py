"""Trainings in several processes, for tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest

from dgn.__main__ import main
from dgn.inference.latents import LatentBank
from dgn.nets.model import LatentGroup

MSRUN = Path(sys.executable).with_name("msrun")
ROOT = Path(__file__).parents[2]
OPTIONS = ["--set", "training.shards=4"]
GROUPS = (LatentGroup("z_app", (4,)), LatentGroup("z_geo", (3,)))


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


# trains as `dgn train` does; each process then prints a digest of its weights and moments
WITNESS = """
import hashlib, sys
from pathlib import Path
from dgn import device
from dgn.__main__ import parser
from dgn.cli.train import resolve_config
from dgn.data.open import open_sources
from dgn.distributed import for_processes, process_group
from dgn.run_folder import RunFolder
from dgn.training.fit import fit

args = parser("train").parse_args()
config = resolve_config(args, RunFolder.open(Path(args.output)) if args.resume else None)
device.start("CPU")
processes = process_group()
config = for_processes(config, processes.size)
if processes.is_first and not args.resume:
    RunFolder.create(Path(args.output), config)
processes.barrier()
source = open_sources(config.data).train
trainer = fit(RunFolder.open(Path(args.output)), config, source, processes=processes).state.trainer
cells = [*trainer.networks.values(), *trainer.optimizers.values()]
weights = b"".join(p.asnumpy().tobytes() for cell in cells for p in cell.get_parameters())
print("weights", hashlib.sha256(weights).hexdigest(), flush=True)
"""


def command(count: int, logs: Path, line: list, program: Path = ROOT / "src" / "dgn" / "__main__.py") -> list:
    """msrun with a program in `count` processes."""
    return [str(MSRUN), f"--worker_num={count}", f"--local_worker_num={count}", "--master_addr=127.0.0.1",
            f"--master_port={port()}", "--join=True", f"--log_dir={logs}", str(program), *line]


def environment() -> dict:
    """The variables of such a process; msrun runs the program called python that PATH has first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "GLOG_v": "3", "DGN_THREADS": "1"}


def launch(count: int, folder: Path, line: list) -> None:
    """Trains with so many processes, one is this; asserts that all have the same weights and moments, to the bit, at
    the end."""
    if count == 1:
        assert main([str(word) for word in line]) == 0
        return
    (folder / "witness.py").write_text(WITNESS)
    logs = folder / f"logs{count}"
    process = subprocess.run(command(count, logs, line, folder / "witness.py"), env=environment(), cwd=folder,
                             capture_output=True, text=True, timeout=150)
    outputs = [file.read_text() for file in sorted(logs.glob("worker_*.log"))]
    message = process.stdout[-2000:] + process.stderr[-2000:] + "".join(log[-2000:] for log in outputs)
    assert process.returncode == 0, message
    weights = [line for log in outputs for line in log.splitlines() if line.startswith("weights ")]
    assert len(weights) == count and len(set(weights)) == 1, weights


def state(output: Path):
    """(name, weights, chains, metrics) of the newest checkpoint of a run."""
    newest = sorted((output / "checkpoints").glob("epoch_*"))[-1]
    weights = {name: p.asnumpy() for name, p in ms.load_checkpoint(str(newest / "weights.ckpt")).items()}
    bank = LatentBank.open(newest, GROUPS)
    chains = dict(zip(("z_app", "z_geo"), bank.read(np.arange(len(bank)))))
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    return newest.name, weights, chains, records


def assert_alike(run: Path, expected: Path) -> None:
    """Two runs end with the same weights, chains and metrics, to rounding."""
    name, weights, chains, records = state(run)
    other, wanted_weights, wanted_chains, wanted_records = state(expected)
    assert name == other and len(records) == len(wanted_records)
    for key in wanted_weights:
        np.testing.assert_allclose(weights[key], wanted_weights[key], atol=2e-4, err_msg=key)
    for key in wanted_chains:
        np.testing.assert_allclose(chains[key], wanted_chains[key], atol=2e-3, err_msg=key)
    for a, b in zip(records, wanted_records):
        for key in ("loss", "msre", "z_app_std", "gradient"):
            assert a[key] == pytest.approx(b[key], rel=1e-3), key
