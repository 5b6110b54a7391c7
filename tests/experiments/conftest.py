"""A run of a small deformable model and small labelled folders, shared by the tests of the experiments.

All batches have COUNT images, so that each network is compiled once for training and inference.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import mindspore as ms
import numpy as np
import pytest

from dgn import config as cfg
from dgn import recipe
from dgn.config import Config
from dgn.data import faces
from dgn.run import Run
from dgn.run_training import train

COUNT = 20
PEOPLE = COUNT // 5  # at five views each
TINY = {"data.size": 16, "data.limit": COUNT, "data.held_out": COUNT, "model.z_app": 4, "model.z_geo": 3,
        "model.width": 8, "inference.steps": 2, "training.epochs": 1, "training.batch_size": COUNT,
        "evaluation.steps": 4, "evaluation.images": COUNT, "evaluation.gamma": 3}
FEI_VIEWS = {"04": -30, "05": -10, "11": 0, "06": 10, "07": 30}


def weights(folder: Path) -> dict[str, np.ndarray]:
    """Parameters of the last checkpoint of a run."""
    last = sorted((folder / "checkpoints").iterdir())[-1]
    return {name: value.asnumpy() for name, value in ms.load_checkpoint(str(last / "weights.ckpt")).items()}


@pytest.fixture(scope="session")
def config() -> Config:
    """A recipe of the deformable model on generated faces."""
    return recipe.with_overrides(cfg.Config(), TINY)


@pytest.fixture(scope="session")
def run(config, tmp_path_factory) -> Run:
    """A trained run of it. Tests may add results and pictures to its folder."""
    return train(config, tmp_path_factory.mktemp("runs") / "run", device="CPU")


@pytest.fixture(scope="session")
def fast_measures():
    """Fewer faces of the linear probe, fewer trees of the forests, fewer noiseless steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dgn.evaluation.evaluate.PROBE_FACES", 60)
        patch.setattr("dgn.evaluation.disentanglement.TREES", 25)
        for name in ("evaluation.evaluate", "experiments.baselines"):
            patch.setattr(f"dgn.{name}.DESCENT_STEPS", 10)
        yield


@pytest.fixture(scope="session")
def fei(tmp_path_factory) -> Path:
    """Random pictures of 28x28 with the names of the FEI set: PEOPLE at five views, and a second frontal one (12)."""
    folder = tmp_path_factory.mktemp("fei")
    rng = np.random.default_rng(3)
    for person in range(1, PEOPLE + 1):
        for view in (*FEI_VIEWS, "12"):
            coarse = rng.integers(0, 256, (4, 4, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / f"{person}-{view}.jpg"), cv2.resize(coarse, (28, 28)))
    return folder


@pytest.fixture(scope="session")
def marked(tmp_path_factory) -> Path:
    """COUNT generated faces of 32x32 with labels of landmarks."""
    folder = tmp_path_factory.mktemp("marked") / "faces"
    faces.write_folder(folder, "random", COUNT, 32, seed=5)
    return folder
