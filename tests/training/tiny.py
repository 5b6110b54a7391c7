"""A training small enough for tests: 16x16 pictures, two batches an epoch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np

from dgn.__main__ import main

SETTINGS = ["data.size=16", "data.held_out=2", "model.z_app=4", "model.z_geo=3", "model.width=8", "inference.steps=2",
            "inference.steps_per_graph=1",  # compiles faster than two
            "training.batch_size=4", "training.checkpoint_every=1", "evaluation.steps=4", "evaluation.images=2"]


def write_images(folder: Path, count: int = 10, size: int = 16, seed: int = 0) -> Path:
    """Smooth random pictures as PNG files."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        coarse = (255 * rng.random((4, 4, 3))).astype(np.uint8)
        cv2.imwrite(str(folder / f"{k:03d}.png"), cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR))
    return folder


def arguments(images: Path, output: Path, epochs: int, *extra: str, measured: bool = False) -> list:
    """A `train` command line; extra: more of it, which may change SETTINGS; measured: with numbers and pictures at the
    end."""
    line = ["train", "--device", "CPU", "--data", str(images), "--output", str(output)]
    settings = [word for setting in [*SETTINGS, f"training.epochs={epochs}"] for word in ("--set", setting)]
    return [*line, *([] if measured else ["--train-only"]), *settings, *extra]


def resume(output: Path, *settings: str) -> int:
    """The exit code of going on with a run."""
    return main(["train", "--device", "CPU", "--output", str(output), "--resume", "--train-only",
                 *(word for setting in settings for word in ("--set", setting))])


def as_it_was(output: Path, target: Path, epoch: int) -> Path:
    """A copy of a run as it stood when it had the checkpoint of `epoch`, which it must have kept: what a run leaves
    that is stopped there. Its records and chains are as a later stop left them, for the resumed run to put right."""
    shutil.copytree(output, target)
    for folder in (target / "checkpoints").glob("epoch_*"):
        if folder.name > f"epoch_{epoch:05d}":
            shutil.rmtree(folder)
    assert (target / "checkpoints" / f"epoch_{epoch:05d}").is_dir()
    return target


def final_state(output: Path) -> dict:
    """Bytes of every file of the newest checkpoint, and the training's records without the clock."""
    newest = sorted((output / "checkpoints").glob("epoch_*"))[-1]
    records = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        del record["seconds"], record["images_per_second"]
    contents = {file.name: file.read_bytes() for file in newest.iterdir() if file.suffix in (".npy", ".ckpt")}
    return {"name": newest.name, "records": records, **contents}
