"""Trainings on clips that are small enough for tests: three frames of 16x16 pixels, networks of a few channels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from dgn.__main__ import main

FRAMES = 3
SETTINGS = [f"data.frames={FRAMES}", "data.size=16", "data.limit=24", "data.held_out=4", "model.network=table5",
            "model.z_app=4", "model.z_geo=3", "model.xi_app=2", "model.xi_geo=2", "model.width=8", "model.alpha=2",
            "inference.steps=2", "inference.steps_per_graph=1", "inference.sigma=0.5", "training.batch_size=2",
            "training.checkpoint_every=1", "evaluation.steps=4", "evaluation.images=4", "evaluation.gamma=3"]


def train(output: Path, epochs: int, *extra: str, measured: bool = False) -> int:
    """The exit code of a training by the command line; measured: with evaluation and pictures."""
    line = ["train", "--device", "CPU", "--output", str(output), *([] if measured else ["--train-only"])]
    for setting in [*SETTINGS, f"training.epochs={epochs}", *extra]:
        line += ["--set", setting]
    return main(line)


def experiment(*words: object) -> int:
    """The exit code of an experiment by the command line."""
    return main(["experiment", *map(str, words), "--device", "CPU"])


def results(folder: Path) -> dict:
    """The measures that a run folder holds."""
    return json.loads((folder / "metrics.json").read_text())


def write_video(path: Path, count: int) -> None:
    """A video of plain frames that grow brighter."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (16, 16))
    for k in range(count):
        writer.write(np.full((16, 16, 3), 20 * k, np.uint8))
    writer.release()
