"""The appearance generator is reinitialized, the geometry is kept, and a resumed run does the same."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from dgn.__main__ import main
from dgn.nets.build import make_model
from dgn.run_folder import RunFolder
from dgn.training.optim import adam, reset_adam
from tests.training.tiny import arguments, as_it_was, final_state, resume

pytestmark = pytest.mark.slow

OPTIONS = [
    "--set",
    "training.learning_rate=0.01",
    "--set",
    "training.checkpoint_every=1",
    "--set",
    "training.checkpoints_kept=9",
]


@pytest.fixture(scope="module")
def reinitialized(images, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "run"
    assert main(arguments(images, output, 63, *OPTIONS, "--set", "training.reinit_appearance=[59, 61]")) == 0
    return output


def weights(folder) -> dict:
    return {name: p.asnumpy() for name, p in ms.load_checkpoint(str(folder / "weights.ckpt")).items()}


def test_the_compiled_graphs_see_the_new_weights_and_the_error_is_that_of_an_untrained_model(reinitialized):
    records = final_state(reinitialized)["records"]
    assert records[58]["msre"] < 0.6 * records[0]["msre"]
    assert records[59]["msre"] > 0.8 * records[0]["msre"]
    assert records[59]["z_app_std"] < 0.5 < records[58]["z_app_std"]  # new chains, from the prior's mean


def test_all_chains_begin_and_restart_at_the_priors_mean(images, tmp_path):
    options = [*OPTIONS, "--set", "inference.chain_init=mean", "--set", "inference.restart_every=39"]
    assert main(arguments(images, tmp_path / "run", 40, *options)) == 0
    records = final_state(tmp_path / "run")["records"]
    for name in ("z_app_std", "z_geo_std"):
        assert records[0][name] == pytest.approx(0, abs=0.3)
        assert records[39][name] < 0.5 < records[38][name]


def test_chains_begin_at_samples_of_the_prior(reinitialized):
    assert final_state(reinitialized)["records"][0]["z_app_std"] == pytest.approx(0.9, abs=0.3)


def test_geometry_is_kept_and_appearance_is_new(reinitialized):
    """In the epoch of the reinitialization the geometry changes by two Adam steps at most."""
    after, before = (weights(reinitialized / "checkpoints" / f"epoch_{epoch:05d}") for epoch in (60, 59))
    for name in before:
        change = np.abs(after[name] - before[name]).max()
        assert change < 0.05 if name.startswith("branches.1.") else change > 0.05, (name, change)


def test_each_renewal_has_weights_of_its_own(reinitialized):
    """Neither the initial ones nor those of the renewal before; two Adam steps change a weight by 0.02 at most."""
    initial = {name: p.asnumpy() for name, p in make_model(RunFolder.open(reinitialized).config).parameters_and_names()}
    first, second = (weights(reinitialized / "checkpoints" / f"epoch_{epoch:05d}") for epoch in (60, 62))
    for one, other in ((initial, first), (first, second)):
        changes = np.concatenate([(other[name] - one[name]).ravel() for name in one if name.startswith("branches.0.")])
        assert np.sqrt(np.square(changes).mean()) > 0.1  # of independent weights: 0.12


def test_the_optimizer_begins_anew(reinitialized):
    """The bias correction counts its steps: two in an epoch."""
    path = reinitialized / "checkpoints" / "epoch_00060" / "optimizer.ckpt"
    powers = {name: float(p.asnumpy().item()) for name, p in ms.load_checkpoint(str(path)).items() if "power" in name}
    assert powers == pytest.approx({"beta1_power": 0.9 ** 2, "beta2_power": 0.999 ** 2}, rel=1e-4)


def test_a_resumed_run_reinitializes_alike(reinitialized, tmp_path):
    """Between the two reinitializations."""
    again = as_it_was(reinitialized, tmp_path / "again", 61)
    assert resume(again) == 0 and final_state(again) == final_state(reinitialized)


def test_a_reset_optimizer_updates_as_a_new_one():
    weight = ms.Parameter(ms.Tensor(np.zeros(3, np.float32)), "weight")
    used, gradients = adam([weight]), (ms.Tensor(np.array([1.0, -2.0, 0.5], np.float32)),)
    for _ in range(3):
        used(gradients)
    reset_adam(used)
    ops.assign(weight, ops.zeros_like(weight))
    used(gradients)
    np.testing.assert_allclose(weight.asnumpy(), [-1e-3, 1e-3, -1e-3], rtol=1e-4)  # one learning rate


@pytest.mark.parametrize("setting", ["model.kind=plain", "training.method=vae", "training.freeze=geometry"])
def test_where_it_has_no_meaning_it_is_refused(images, tmp_path, setting, capsys):
    assert (
        main(arguments(images, tmp_path / "run", 2, "--set", "training.reinit_appearance=[1]", "--set", setting)) == 2
    )
    assert f"training.reinit_appearance needs {setting.partition('=')[0]} " in capsys.readouterr().err
