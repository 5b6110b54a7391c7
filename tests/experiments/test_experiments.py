"""Each experiment as its user runs it, on models too small to be good: files, numbers, resumption, mistakes."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from dgn import build
from dgn import config as cfg
from dgn.__main__ import main
from dgn.cli.experiment import EXPERIMENTS
from dgn.experiments import adversarial, baselines
from dgn.experiments.models import folder_name, learned_files
from dgn.experiments.transfer import table_of
from dgn.run_folder import RunFolder
from tests.data.test_formats import write_mnist

TINY = {"data": {"size": 16, "limit": 12, "held_out": 4}, "model": {"z_app": 4, "z_geo": 3, "width": 8},
        "inference": {"steps": 2}, "training": {"epochs": 2, "batch_size": 4, "learning_rate": 0.001}, "evaluation": {"steps": 4, "images": 4}}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    path.write_text(json.dumps(TINY))
    return path


@pytest.fixture(scope="module")
def trained(recipe, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "--config", str(recipe), "--device", "CPU", "--output", str(output)]) == 0
    return output


def experiment(*words) -> int:
    return main(["experiment", *map(str, words), "--device", "CPU"])


def results(folder) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def fei_like(folder, subjects=6):
    """Small pictures under FEI's names."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    for subject in range(1, subjects + 1):
        for view in ("04", "05", "06", "07", "11", "12"):
            cv2.imwrite(str(folder / f"{subject}-{view}.jpg"), cv2.resize(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8), (28, 28)))
    return folder


def test_views(trained, tmp_path, capsys):
    before = results(trained)
    assert experiment("views", trained, "--faces", 3) == 0
    assert "ratio" in capsys.readouterr().out
    found = results(trained)
    assert found["train"] == before["train"]  # other sections stay
    for kind in ("as_learned", "principal"):
        groups = found["views"][kind]["groups"]
        assert len(groups["z_geo"]["r"]) == 3 and np.shape(groups["z_app"]["means"]) == (5, 4)
    # turning the axes leaves the whole covariance with the view as it is
    norms = [np.linalg.norm(found["views"][kind]["groups"]["z_geo"]["r"]) for kind in ("as_learned", "principal")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert {"views_r.png", "views_lines.png", "views_traversals.png"} <= {p.name for p in (trained / "figures").iterdir()}
    assert experiment("views", trained, "--data", fei_like(tmp_path / "fei"), "--crop", "5,2,23,20") == 0
    assert results(trained)["views"]["principal"]["views"] == [-30, -10, 0, 10, 30]
    capsys.readouterr()
    assert experiment("views", trained, "--faces", 1) == 2 and "one person is too few" in capsys.readouterr().err


def test_landmarks(trained, tmp_path, capsys):
    assert experiment("landmarks", trained, "--faces", 30, "--epochs", 3) == 0
    found = results(trained)["landmarks"]
    assert {"displacement", "pixels", "mean_shape"} <= set(found) and found["tested"] == 6
    assert main(["data", "faces", str(tmp_path / "faces"), "--count", "25", "--size", "32"]) == 0
    assert experiment("landmarks", trained, "--data", tmp_path / "faces", "--epochs", 3) == 0
    assert (trained / "figures" / "landmarks.png").is_file()
    assert experiment("landmarks", trained, "--faces", 10) == 2
    assert "8 of 10 images to train a regressor on are too few" in capsys.readouterr().err


def test_what_a_run_has_learned_from_is_known_while_its_images_are(recipe, images, tmp_path):
    config = cfg.changed(cfg.load(recipe), data={"path": str(images), "held_out": 4})
    files = learned_files(config)
    assert len(files) == 6 and all(file.is_file() for file in files)
    RunFolder.create(tmp_path / "run", config)
    later = cfg.changed(config, data={"files": "*[89].png", "held_out": 0}, training={"start": str(tmp_path / "run")})
    assert learned_files(later) - files and learned_files(later) > files
    assert learned_files(cfg.load(recipe)) == set()
    assert learned_files(cfg.changed(config, data={"path": str(tmp_path / "gone")})) is None
    assert learned_files(cfg.changed(config, training={"start": str(tmp_path / "gone")})) is None


def test_animals(trained, images):
    assert experiment("animals", trained) == 0 and experiment("animals", trained, "--images", images) == 0
    assert (trained / "figures" / "animals.png").is_file()


def test_baselines_compare_four_models_and_train_none_twice(recipe, tmp_path, capsys, monkeypatch):
    line = ["baselines", "--config", recipe, "--output", tmp_path / "out", "--faces", 30]
    assert experiment(*line) == 0
    said = capsys.readouterr().out
    assert said.count("epoch: 2 step") == 4 and "DCI disentanglement" in said
    found = results(tmp_path / "out")["models"]
    names = {folder_name(name): name for name in found}
    assert set(found) == {"ours", "ABP", "VAE", "deformable VAE"}
    assert {name for name, own in found.items() if "unseen_by_langevin" in own} == {"VAE", "deformable VAE"}
    assert found["ABP"]["correspondence"]["endpoint_ratio"] == pytest.approx(1, abs=0.02)
    assert found["ABP"]["parameters"] == pytest.approx(found["ours"]["parameters"], rel=0.05)
    monkeypatch.setattr(baselines, "known_factors", lambda trained, faces: {key: found[names[trained.folder.path.name]][key]
                                                                            for key in ("disentanglement", "correspondence")})
    assert experiment(*line, "--set", "evaluation.gamma=2") == 0  # what trains nothing may change
    assert "epoch:" not in capsys.readouterr().out and results(tmp_path / "out")["models"] == found
    assert experiment(*line, "--set", "training.epochs=3") == 2
    assert "holds a run of other settings (training.epochs is 2 there, 3 here)" in capsys.readouterr().err
    assert experiment(*line, "--set", "data.held_out=0") == 2 and "held out" in capsys.readouterr().err
    assert experiment(*line, "--set", "data.population=neutral") == 2 and "only in the random one" in capsys.readouterr().err


def test_transfer_on_generated_faces_and_on_a_folder(recipe, images, tmp_path, capsys):
    common = ["transfer", "--config", recipe, "--tune-faces", 4, "--tune-epochs", 1, "--unseen", 3]
    assert experiment(*common, "--output", tmp_path / "out", "--runs", 2) == 0
    found = results(tmp_path / "out")
    assert set(found["msre"]) == {"VAE", "ABP", "ours", "VAE, Langevin"} and set(found["ratio"]) == {"VAE", "ABP", "VAE, Langevin"}
    assert set(found["msre"]["ours"]) == {"-30", "-15", "0", "15", "30", "all"} and len(found["msre"]["ours"]["0"]["runs"]) == 2
    tuned = tmp_path / "out" / "run_1" / "ours"
    weights = [sorted((tuned / part / "checkpoints").iterdir())[-1] for part in ("general", "frontal")]
    assert_frozen(*weights)
    fei = fei_like(tmp_path / "fei")
    assert experiment(*common, "--set", "data.held_out=2", "--data", images, "--target", fei, "--frontal", "*-1[12].jpg", "--held-out", 4,
                      "--target-crop", "5,2,23,20", "--output", tmp_path / "real", "--runs", 1) == 0
    assert set(results(tmp_path / "real")["msre"]["ours"]) == {"-30", "-10", "0", "10", "30", "all"}
    # mistakes are told before anything is trained, and leave nothing behind
    for line, said in ((["--data", images, "--target", fei], "--frontal"), (["--data", images], "--data and --target go together"),
                       (["--data", images, "--target", fei, "--frontal", "*-19.jpg"], "none of its"),
                       (["--data", images, "--target", images, "--frontal", "*", "--held-out", 2], "no labels"),
                       (["--set", "data.limit=null", "--set", "data.held_out=2", "--data", fei, "--target", fei, "--frontal", "*-1[12].jpg",
                         "--held-out", 4], "to be reconstructed unseen, but is among"),
                       (["--frontal", "*"], "give --target too"),
                       (["--set", "model.kind=plain"], "starts from the deformable model")):
        assert experiment(*common, *line, "--output", tmp_path / "other") == 2
        assert said in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_people_who_are_tuned_on_are_never_tested(tmp_path, recipe):
    """An odd number of held-out files cuts a person's two in half: that person belongs to neither."""
    from argparse import Namespace

    from dgn import config as cfg
    from dgn.data.cut import Cut
    from dgn.data.images import ImageFolder
    from dgn.experiments import transfer

    fei = fei_like(tmp_path / "fei")
    args = Namespace(target=str(fei), frontal="*-1[12].jpg", target_crop=None, held_out=3, tune_faces=100, tune_epochs=1, unseen=100,
                     output=str(tmp_path / "out"))
    images = transfer.unseen_images(cfg.load(recipe), args)
    assert all(len(x) == 1 for x in images.values())  # 6-11 and 6-12 are held out, of person 5 only 5-12
    np.testing.assert_array_equal(images[30.0][0], ImageFolder(fei, Cut(16), names=["6-07.jpg"]).read(np.array([0]))[0])


def test_a_tuned_run_is_not_reused_when_what_it_began_with_has_changed(recipe, tmp_path, capsys):
    import shutil

    line = ["expressions", "--config", recipe, "--set", "data.grey=true", "--tune-faces", 4, "--tune-epochs", 1, "--output", tmp_path / "out"]
    assert experiment(*line) == 0
    shutil.rmtree(tmp_path / "out" / "grey")
    capsys.readouterr()
    assert experiment(*line, "--set", "training.epochs=1") == 2
    assert "was not begun from" in capsys.readouterr().err


def assert_frozen(before, after) -> None:
    """Geometry is as it was, appearance is not."""
    import mindspore as ms

    old, new = (ms.load_checkpoint(str(saved / "weights.ckpt")) for saved in (before, after))
    for name in old:
        same = np.array_equal(old[name].asnumpy(), new[name].asnumpy())
        assert same == name.startswith("branches.1."), name


def test_transfer_table():
    errors = {"VAE": [{0.0: 10, 30.0: 30}, {0.0: 12, 30.0: 28}], "ABP": [{0.0: 20, 30.0: 30}] * 2, "ours": [{0.0: 10, 30.0: 10}] * 2}
    found = table_of(errors)
    assert found["msre"]["VAE"]["0"] == {"mean": 11, "std": pytest.approx(2 ** 0.5), "runs": [10, 12]}
    assert found["msre"]["VAE"]["all"]["mean"] == 20
    assert found["ratio"] == {"VAE": 0.5, "ABP": 0.4}


def test_expressions_from_grey_to_colour(recipe, tmp_path, capsys):
    line = ["expressions", "--config", recipe, "--set", "data.grey=true", "--set", "data.population=expressions", "--tune-faces", 8,
            "--tune-epochs", 1, "--output", tmp_path / "out"]
    assert experiment(*line) == 0
    found = results(tmp_path / "out")["transfer"]
    assert set(found["smile"]) == {"geometry_donor", "probe"} and set(found["skin"]) == {"geometry_donor", "appearance_donor", "probe"}
    assert found["skin"]["probe"] > 0.9
    assert "exchange" not in results(tmp_path / "out" / "grey")  # neighbours are one person, and do not differ in skin
    assert (tmp_path / "out" / "figures" / "expressions.png").is_file()
    assert experiment("expressions", "--config", recipe) == 2
    assert "data.grey" in capsys.readouterr().err


def test_labels(tmp_path, rng, capsys):
    """Two kinds of pictures, bright above and bright below: their labels are told by energy and by a classifier."""
    kinds = np.arange(60) % 2
    digits = np.zeros((60, 28, 28), np.uint8)
    for k, kind in enumerate(kinds):
        top = 4 + 12 * kind + rng.integers(0, 3)
        digits[k, top:top + 8, 6:22] = 255
    write_mnist(tmp_path / "mnist", "t10k", digits, kinds, True)
    settings = ["data.size=16", "data.format=mnist", "data.grey=true", "data.held_out=10", "model.appearance=label", "model.z_app=2",
                "model.z_geo=3", "model.width=16", "inference.sigma=0.5", "inference.steps=5", "training.batch_size=25", "training.epochs=80",
                "training.learning_rate=0.005", "training.checkpoint_every=80", "evaluation.steps=20"]
    line = ["train", "--device", "CPU", "--data", str(tmp_path / "mnist"), "--output", str(tmp_path / "run")]
    for setting in settings:
        line += ["--set", setting]
    assert main(line) == 0
    assert {"labels_1.png", "labels_2.png"} <= {p.name for p in (tmp_path / "run" / "figures").iterdir()}
    assert experiment("labels", tmp_path / "run", "--steps", 20) == 0
    found = results(tmp_path / "run")["labels"]
    assert found["analysis_accuracy"] == 1 and found["classifier_accuracy"] == 1 and found["synthesis_accuracy"] > 0.9


def test_adversarial(recipe, images, tmp_path, capsys):
    line = ["adversarial", "--config", recipe, "--set", "training.adversarial=nonsaturating", "--set", "training.critic_width=2",
            "--set", "training.r1_weight=0", "--more-epochs", 2, "--faces", 30]  # R1's second derivative compiles for long
    assert experiment(*line, "--output", tmp_path / "out") == 0
    assert "Frechet distance of samples" in capsys.readouterr().out
    found = results(tmp_path / "out")["models"]
    assert set(found) == {"likelihood", "with critic"} and found["with critic"]["sharpness_samples"] > 0
    assert "mig" in found["likelihood"]["disentanglement"]
    assert {"reconstruction.png", "recombination.png"} == {p.name for p in (tmp_path / "out" / "figures").iterdir()}
    run = build.load_run(tmp_path / "out" / "likelihood", "CPU")
    real = RunFolder.create(tmp_path / "real", cfg.changed(run.config, data={"path": str(images)}))
    measured = adversarial.pictures_measured(run._replace(folder=real, open_sources=lambda: build.make_sources(real.config.data)))
    assert set(measured) < set(found["likelihood"]) and min(measured.values()) > 0
    assert "R2 gap" not in adversarial.summary({"real": {**measured, "train": {"msre": 1.0}, "unseen": {"msre": 1.0}}})
    assert experiment("adversarial", "--config", recipe) == 2 and "needs a critic" in capsys.readouterr().err
    for setting, said in ((["--set", "evaluation.images=1"], "at least two images must be held out"), (["--faces", 4], "--faces is 4")):
        assert experiment(*line, *setting, "--output", tmp_path / "other") == 2
        assert said in capsys.readouterr().err and not (tmp_path / "other").exists()
    # a run without a critic is the same whatever the critic's settings
    again = adversarial.without_critic(cfg.changed(run.config, training={"adversarial": "minimax", "r1_weight": 3}))
    assert cfg.first_difference(run.config, again) is None


def test_balance(recipe, tmp_path, monkeypatch):
    from dgn.experiments import balance

    monkeypatch.setattr(balance, "SWEEPS", {"alpha": balance.SWEEPS["alpha"][:2], "start": balance.SWEEPS["start"][:1]})
    assert experiment("balance", "--config", recipe, "--output", tmp_path / "out", "--shown", 2) == 0
    found = results(tmp_path / "out")
    assert set(found["alpha"]) == {"0.15", "0.3"} and {"msre", "nyquist_ratio", "pose_in_geometry"} <= set(found["start"]["0.1"])
    assert {"balance.png", "balance_faces.png"} == {p.name for p in (tmp_path / "out" / "figures").iterdir()}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["experiment", name, "--help"])
    assert stopped.value.code == 0 and "dgn experiment" in capsys.readouterr().out


def test_a_run_without_what_is_measured_is_refused(recipe, tmp_path, capsys):
    run = tmp_path / "plain"
    assert main(["train", "--config", str(recipe), "--device", "CPU", "--output", str(run), "--train-only", "--set", "model.kind=plain"]) == 0
    capsys.readouterr()
    for name in ("views", "landmarks", "animals", "labels"):
        assert experiment(name, run) == 2
        assert ("no labels as appearance" if name == "labels" else "deformable model") in capsys.readouterr().err, name
