"""The label as appearance, on pictures of two kinds that a small model separates."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dgn import config as cfg
from dgn import recipe
from dgn.data.source import Source, Sources, Subset
from dgn.errors import UserError
from dgn.experiments import labels
from dgn.run_folder import RunFolder
from dgn.run_training import fit_run

pytestmark = pytest.mark.slow

COUNT = 30  # of each kind, and of a batch
SETTINGS = {"data.size": 16, "data.grey": True, "model.appearance": "label", "model.z_app": 2, "model.z_geo": 3,
            "model.width": 16, "inference.sigma": 0.5, "inference.steps": 5, "training.batch_size": COUNT,
            "training.epochs": 80, "training.learning_rate": 0.005, "training.checkpoint_every": 80}


class Bars(Source):
    """Pictures with a bright bar above (label 0) or below (label 1), whose place varies."""

    shape = (1, 16, 16)

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        self.kinds, self.images = np.arange(2 * COUNT) % 2, np.zeros((2 * COUNT, 1, 16, 16), np.float32)
        for image, kind in zip(self.images, self.kinds):
            top = 2 + 7 * kind + rng.integers(0, 2)
            image[:, top:top + 5, 4:12] = 1

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: np.ndarray) -> np.ndarray:
        return self.images[indices]

    def labels(self, indices: np.ndarray) -> np.ndarray:
        return self.kinds[indices]

    def name(self, index: int) -> str:
        return f"bar {index}"

    def identity(self) -> str:
        return "bars"


@pytest.fixture(scope="module")
def bars(tmp_path_factory):
    config = recipe.with_overrides(cfg.Config(), SETTINGS)
    source = Bars()
    sources = Sources(Subset(source, np.arange(COUNT)), Subset(source, np.arange(COUNT, 2 * COUNT)))
    return fit_run(RunFolder.create(tmp_path_factory.mktemp("bars") / "run", config), config, sources)


def test_energy_and_a_classifier_identify_the_label(bars):
    result = labels.labels(bars, steps=20)
    assert result.pop("pictures") == [] and json.loads(bars.folder.results_path.read_text())["labels"] == result
    assert result["images"] == COUNT and result["analysis_accuracy"] == 1 and result["classifier_accuracy"] == 1
    assert result["synthesis_accuracy"] > 0.9
    assert f"{100 * result['synthesis_accuracy']:.1f}% of generated" in labels.summary(result)


def test_the_label_with_the_least_energy_is_chosen(bars):
    held_out = bars.sources.held_out
    images, kinds = held_out.read(np.arange(COUNT)), held_out.labels(np.arange(COUNT))
    np.testing.assert_array_equal(labels.least_energy(bars, images[:, :, ::-1].copy(), 20), 1 - kinds)  # upside down


def test_an_array_has_no_labels(bars):
    with pytest.raises(UserError, match="takes the label of an image as its appearance, and an array has no labels"):
        bars.infer(bars.sources.held_out[:2])


def test_runs_without_labels_to_compare_are_refused(run, bars):
    with pytest.raises(UserError, match="no labels as appearance"):
        labels.labels(run)
    with pytest.raises(UserError, match="have the label 0; at least two are needed"):
        labels.labels(bars, images=1)
