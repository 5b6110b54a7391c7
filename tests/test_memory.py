"""Memory is flat in the number of images."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import sys
import numpy as np
from pathlib import Path
from dgn import config as cfg, runtime
runtime.start("CPU")
from dgn import build
from dgn.nets.model import LatentGroup
from dgn.run_folder import RunFolder
from dgn.training.loop import train
from dgn.training.progress import Progress

class Pictures:
    shape = (3, 16, 16)
    def __init__(self, count): self.count = count
    def __len__(self): return self.count
    def identity(self): return "pictures"
    def name(self, index): return str(index)
    def read(self, indices): return np.random.default_rng(indices).random((len(indices), *self.shape), np.float32)

count = int(sys.argv[1])
config = cfg.load(None, ["data.size=16", "model.width=8", "inference.steps=1", "training.epochs=1", "training.batch_size=500"])
run = RunFolder.create(Path(sys.argv[2]), config)
learner = build.make_learner(config, "CPU", run, Pictures(count), None)
train(run, learner, Progress(0, 1))
with open("/proc/self/smaps_rollup") as rollup:  # anonymous memory: pages of the mapped chains can be dropped at any time
    print("anonymous", next(line.split()[1] for line in rollup if line.startswith("Anonymous:")))
"""


def test_fifty_times_the_images_take_no_more_memory(tmp_path):
    used = []
    for count in (2_000, 100_000):
        done = subprocess.run([sys.executable, "-c", PROGRAM, str(count), str(tmp_path / str(count))], text=True, capture_output=True,
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=200)
        assert done.returncode == 0, done.stderr
        used.append(int(done.stdout.split("anonymous ")[1]) / 1024)
    # 100,000 such images are 300 MiB, their chains 50 MiB
    assert used[1] - used[0] < 60, f"{used} MiB"
