"""Table 1: three models trained on general faces, fine-tuned on frontal ones, tested on unseen people."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from dgn import config as cfg
from dgn.data import labels
from dgn.errors import UserError
from dgn.experiments import transfer
from dgn.experiments.common import Target
from dgn.experiments.views import images_by_view
from dgn.run import open_run
from tests.experiments.conftest import COUNT, FEI_VIEWS, PEOPLE, weights

pytestmark = pytest.mark.slow


def test_models_are_trained_tuned_and_tested(config, tmp_path):
    result = transfer.transfer(config, tmp_path, target=Target(count=COUNT, epochs=1), runs=1, people=PEOPLE)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written == {key: result[key] for key in ("msre", "ratio", "runs", "versions", "provenance")}
    assert [p.name for p in result["pictures"] if p.is_file()] == ["transfer.png"]
    for name in ("ours", "abp", "vae"):
        general, frontal = (weights(tmp_path / "run_1" / name / part) for part in ("general", "frontal"))
        for parameter, value in general.items():
            frozen = name == "ours" and parameter.startswith("branches.1.")  # the geometric generator
            assert np.array_equal(value, frontal[parameter]) == frozen, (name, parameter)
    # the VAE with and without its encoder
    run = open_run(tmp_path / "run_1" / "vae" / "frontal")
    images = images_by_view(run.config.data, None, PEOPLE)
    assert run.config.data.seed == config.data.seed + 1  # other people than those of the first training
    for label, use_encoder in (("VAE", True), ("VAE, Langevin", False)):
        everything = np.concatenate(list(images.values()))
        rebuilt = run.decode(*run.infer(everything, use_encoder=use_encoder)).image
        errors = np.square(rebuilt - everything).sum((1, 2, 3)).reshape(5, PEOPLE).mean(1)
        found = [result["msre"][label][view]["runs"][0] for view in ("-30", "-15", "0", "15", "30")]
        np.testing.assert_allclose(found, errors, rtol=1e-5)


class Brighter:
    """A run whose reconstructions are brighter by an offset, one with and one without its encoder."""

    def __init__(self, offset: float, without_encoder: float = np.nan) -> None:
        self.offsets = {True: offset, False: without_encoder}

    def infer(self, images, use_encoder=True):
        return images, self.offsets[use_encoder]

    def decode(self, images, offset):
        return SimpleNamespace(image=images + offset)


def test_errors_over_runs_on_a_labelled_folder(config, fei, images, tmp_path, monkeypatch):
    configs = {}

    def ensure_trained(path, config):
        configs["/".join(path.parts[-3:])] = config
        number = int(path.parts[-3][-1])
        return {"vae": Brighter(0.1, 0.3), "abp": Brighter(0.2), "ours": Brighter(0.1 * number)}[path.parts[-2]]

    monkeypatch.setattr(transfer, "ensure_trained", ensure_trained)
    target = Target(path=str(fei), pattern="*-1[12].jpg", crop=(5, 2, 23, 20), held_out=4, count=3, epochs=2)
    general = cfg.changed(config, data={"path": str(images), "held_out": 2})
    result = transfer.transfer(general, tmp_path / "out", target=target, runs=2)
    values = 3 * 16 * 16  # of an image
    expected = {"VAE": [0.01, 0.01], "VAE, Langevin": [0.09, 0.09], "ABP": [0.04, 0.04], "ours": [0.01, 0.04]}
    for name, errors in expected.items():
        assert list(result["msre"][name]) == ["-30", "-10", "0", "10", "30", "all"]
        for own in result["msre"][name].values():
            assert own["runs"] == pytest.approx([values * error for error in errors], rel=1e-4)
    assert result["ratio"]["ABP"] == pytest.approx(0.025 / 0.04, rel=1e-4)

    assert len(configs) == 12
    for number in (1, 2):
        first, tuned = (configs[f"run_{number}/ours/{part}"] for part in ("general", "frontal"))
        assert first.training.seed == tuned.training.seed == config.training.seed + number - 1
        assert first.data.path == str(images.resolve())
        assert (tuned.data.path, tuned.data.limit, tuned.data.held_out) == (str(fei.resolve()), 3, 4)
        assert tuned.training.init_from == str((tmp_path / "out" / f"run_{number}" / "ours" / "general").resolve())
        assert tuned.training.freeze == "geometry" and tuned.training.epochs == 2


def test_table_1():
    errors = {"VAE": [{0.0: 10, 30.0: 30}, {0.0: 12, 30.0: 28}], "ABP": [{0.0: 20, 30.0: 30}] * 2,
              "ours": [{0.0: 10, 30.0: 10}] * 2}
    result = transfer.error_table(errors)
    assert result["msre"]["VAE"]["0"] == {"mean": 11, "std": pytest.approx(2 ** 0.5), "runs": [10, 12]}
    assert result["msre"]["VAE"]["all"]["mean"] == 20
    assert result["ratio"] == {"VAE": 0.5, "ABP": 0.4}
    rows = transfer.summary(result).splitlines()
    assert " ".join(rows[1].split()) == "+0 degrees 11.00 +- 1.41 20.00 +- 0.00 10.00 +- 0.00"
    assert rows[-1] == "ours over all views: 0.50 of VAE's, 0.40 of ABP's"
    single = transfer.error_table({name: runs[:1] for name, runs in errors.items()})
    assert single["msre"]["VAE"]["0"] == {"mean": 10, "std": None, "runs": [10]}
    assert "+-" not in transfer.summary(single)  # one run tells nothing about the deviation


def test_people_of_the_fine_tuning_are_never_tested(config, fei):
    """An odd number of held-out files separates the two of a person, who is then in neither set."""
    target = Target(path=str(fei), pattern="*-1[12].jpg", held_out=3)  # 3-12, 4-11, 4-12
    images = transfer.unseen_images(config, target, 100)
    assert list(images) == sorted(FEI_VIEWS.values())
    for number, view in FEI_VIEWS.items():
        np.testing.assert_array_equal(images[view], labels.read_files(fei, [f"4-{number}.jpg"], config.data))


@pytest.mark.parametrize("data, target, message", [
    ("images", {"path": "fei"}, "--target needs --frontal"),
    ("images", {"path": "fei", "pattern": "*-19.jpg"}, "none of its"),
    ("images", {"path": "images", "pattern": "*", "held_out": 2}, "no labels"),
    ("images", {"path": "fei", "pattern": "*-1[12].jpg", "held_out": 1}, "none of the people in the last 1 files"),
    ("fei", {"path": "fei", "pattern": "*-1[12].jpg", "held_out": 4}, "to be reconstructed unseen, but is among"),
])
def test_errors_in_the_target_show_before_the_trainings(config, fei, images, tmp_path, data, target, message):
    folders = {"fei": str(fei), "images": str(images)}
    config = cfg.changed(config, data={"path": folders[data], "limit": None, "held_out": 2})
    with pytest.raises(UserError, match=message):
        transfer.transfer(config, tmp_path / "out", target=Target(**{**target, "path": folders[target["path"]]}))
    assert not (tmp_path / "out").exists()
