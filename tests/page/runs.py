"""Small trained runs of every kind of model, and the data of a page, for the tests of the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from dgn import config as cfg
from dgn import recipe
from dgn.data.source import Source, Sources, Subset
from dgn.run import Run
from dgn.run_folder import RunFolder
from dgn.run_training import fit_run, train

ROOT = Path(__file__).parents[2]
COUNT = 12  # samples of a set, of a batch, and shown in a page: one size of batch
TINY = {"data.limit": COUNT, "data.held_out": COUNT, "inference.steps": 1, "training.batch_size": COUNT,
        "training.epochs": 2, "evaluation.steps": 1, "evaluation.images": COUNT, "evaluation.gamma": 3}
SMALL = {**TINY, "data.size": 16, "model.z_app": 4, "model.z_geo": 3, "model.width": 8}


class Bars(Source):
    """Pictures with a bright bar above (label 0) or below (label 1)."""

    shape = (1, 16, 16)

    def __len__(self) -> int:
        return 2 * COUNT

    def read(self, indices: np.ndarray) -> np.ndarray:
        images = np.zeros((len(indices), *self.shape), np.float32)
        for image, label in zip(images, self.labels(indices)):
            image[:, 2 + 7 * label:7 + 7 * label, 4:12] = 1
        return images

    def labels(self, indices: np.ndarray) -> np.ndarray:
        return np.asarray(indices) % 2

    def name(self, index: int) -> str:
        return f"bar {index}"

    def identity(self) -> str:
        return "bars"


def demo(folder: Path) -> Run:
    """The model of config/faces_demo.yaml, hardly trained."""
    return train(recipe.load(ROOT / "config" / "faces_demo.yaml"), folder, TINY, device="CPU")


def plain(folder: Path) -> Run:
    return train(cfg.Config(), folder, {**SMALL, "model.kind": "plain"}, device="CPU")


def clips(folder: Path) -> Run:
    """Clips of four frames."""
    return train(cfg.Config(), folder, {
        **SMALL, "data.frames": 4, "data.limit": 24, "model.network": "table5", "model.xi_app": 2, "model.xi_geo": 2,
        "model.alpha": 2.0, "model.geometry_init": 10}, device="CPU")


def labels(folder: Path) -> Run:
    """Two labels as appearance."""
    config = recipe.with_overrides(cfg.Config(), {**SMALL, "data.grey": True, "model.appearance": "label",
                                                  "model.z_app": 2})
    source = Bars()
    sources = Sources(Subset(source, np.arange(COUNT)), Subset(source, np.arange(COUNT, 2 * COUNT)))
    return fit_run(RunFolder.create(folder, config), config, sources)


def data_of(text: str) -> dict:
    """The data in the text of a page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])
