"""Memory does not grow with the number of images."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
import numpy as np
from pathlib import Path
from dgn import device, recipe
device.start("CPU")
from dgn.data.source import Source
from dgn.run_folder import RunFolder
from dgn.training.build import make_state
from dgn.training.loop import run_epochs
from dgn.training.progress import Progress

class Pictures(Source):
    shape = (3, 16, 16)
    def __init__(self, count): self.count = count
    def __len__(self): return self.count
    def identity(self): return "pictures"
    def name(self, index): return str(index)
    def read(self, indices): return np.random.default_rng(indices).random((len(indices), *self.shape), np.float32)

settings = ["data.size=16", "model.kind=plain", "model.width=8", "inference.steps=1", "training.epochs=1",
            "training.batch_size=200"]
config = recipe.load(None, settings)
run = RunFolder.create(Path(sys.argv[2]), config)
run_epochs(run, make_state(config, run, Pictures(int(sys.argv[1])), None), Progress(0, 1))
with open("/proc/self/smaps_rollup") as rollup:  # anonymous: pages of the mapped chains can be dropped at any time
    print("anonymous", next(line.split()[1] for line in rollup if line.startswith("Anonymous:")))
"""


def test_fifty_times_the_images_take_no_more_memory(tmp_path):
    used = []
    for count in (800, 40_000):
        line = [sys.executable, "-c", PROGRAM, str(count), str(tmp_path / str(count))]
        done = subprocess.run(line, text=True, capture_output=True, timeout=200,
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        assert done.returncode == 0, done.stderr
        used.append(int(done.stdout.split("anonymous ")[1]) / 1024)
    # 40,000 such images are 117 MiB, their chains 20 MiB
    assert used[1] - used[0] < 24, f"{used} MiB"
