"""The check of a device: its dry run on CPU, what it does with wrong results, and its report."""

from __future__ import annotations

import enum
import json
import runpy
import sys
from types import SimpleNamespace

import mindspore as ms
import numpy as np
import pytest
from mindspore import ops

from dgn import config as cfg
from dgn import machine, recipe
from dgn.__main__ import main
from dgn.bench import graphs, msrun, profile
from dgn.bench.calls import matrix_product
from dgn.checks import operators, report, suite, trainings
from dgn.checks.check import Check, Setup, guarded, largest_error, relative_error
from dgn.cli.check import QUICK
from dgn.errors import RunFailed
from dgn.files import new_folder


@pytest.fixture(scope="module")
def compiled_once():
    """Each training of the check is compiled once: another one with its config is the same."""
    make, made = trainings.Training, {}

    def training(config, group):
        if config not in made:
            made[config] = make(config, group)
        return made[config]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainings, "Training", training)
        yield


@pytest.mark.slow
def test_the_dry_run_passes_on_cpu_and_writes_its_report(compiled_once, tmp_path, capsys):
    assert main(["check", "--device", "CPU", "--quick", "--output", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "FAIL" not in printed and "not measured" not in printed and "checks passed on CPU" in printed
    stored = json.loads((tmp_path / "out" / "report.json").read_text())
    assert stored["passed"] and set(stored["checks"]) == set(suite.GROUPS) and all(stored["checks"].values())
    assert set(stored["versions"]) >= {"mindspore", "python"} and stored["numerics"]["hf32"] is False
    assert stored["graphs"]["sampler, 1 steps"]["seconds"] > 0
    assert list((tmp_path / "out" / stored["trace"]).rglob("trace_view.json"))
    text = (tmp_path / "out" / "report.md").read_text()
    assert stored["logs"] == ["logs/CPU_1/output.log"] and "`logs/CPU_1/output.log`" in text
    assert text.startswith("# Device check: all ") and "| GridSampleWarp, gradients |" in text


FAILS = """#!/bin/bash
for word; do case "$word" in --log_dir=*) logs=${word#*=} ;; esac; done
echo "Device 1 does not answer" >"$logs/scheduler.log"
printf 'lines before\\ndgn: no chain here\\n' >"$logs/worker_1.log"
exit 1
"""
HANGS = """#!/bin/bash
trap 'echo interrupted; exit 1' INT
echo waiting
while :; do read -t 0.05 <> <(:) || :; done
"""


def fake_msrun(monkeypatch, folder, script: str) -> None:
    (folder / "msrun").write_text(script)
    (folder / "msrun").chmod(0o755)
    monkeypatch.setattr(machine, "msrun", lambda: folder / "msrun")


def test_processes_that_fail_leave_their_logs_beside_the_report(tmp_path, monkeypatch):
    fake_msrun(monkeypatch, tmp_path, FAILS)
    setup = Setup(recipe.load(None, QUICK), 4, 2, True, tmp_path / "out" / "logs")
    with pytest.raises(RunFailed, match="2 processes failed: no chain here; their output is in .*out/logs/Ascend_2"):
        trainings._run_elsewhere(setup, tmp_path, [], "Ascend", 2)
    report.write(suite.Results(), setup, new_folder(tmp_path / "out" / "report"))
    named = ["`logs/Ascend_2/msrun.log`", "`logs/Ascend_2/scheduler.log`", "`logs/Ascend_2/worker_1.log`"]
    assert "\n".join(f"- {path}" for path in named) in (tmp_path / "out" / "report" / "report.md").read_text()
    assert "does not answer" in (tmp_path / "out" / "logs" / "Ascend_2" / "scheduler.log").read_text()


def test_processes_that_hang_are_interrupted(tmp_path, monkeypatch):
    fake_msrun(monkeypatch, tmp_path, HANGS)
    monkeypatch.setattr(msrun, "LIMIT", 0.3)
    with pytest.raises(RunFailed, match="no end of msrun within 0.3 s"):
        msrun.msrun(2, [], tmp_path / "logs")
    assert (tmp_path / "logs" / "msrun.log").read_text() == "waiting\ninterrupted\n"
    monkeypatch.setattr(machine, "msrun", lambda: None)
    with pytest.raises(RunFailed, match="neither next to this Python nor on PATH"):
        msrun.msrun(2, [])


def test_a_wrong_operator_fails():
    setup, rng = Setup(recipe.load(None, QUICK), 4, quick=True), np.random.default_rng(0)
    x = rng.standard_normal((4, 3)).astype(np.float32)
    right = operators._elementwise(np.tanh, lambda x: 1 - np.tanh(x) ** 2)
    for function, expected in ((ops.tanh, [True, True]), (ops.relu, [False, False])):
        case = operators.Case("tanh", operators.Function(function), (x,), right)
        assert [check.passed for check in operators.compare(case, setup.tolerance, rng)] == expected


def test_a_failed_check_ends_the_command_with_1(monkeypatch, tmp_path, capsys):
    results = suite.Results({"operators": [Check("first", 0.0, 1e-4), Check("second", 1.0, 1e-4)]})
    monkeypatch.setattr(suite, "run", lambda *_: results)
    assert main(["check", "--device", "CPU", "--quick", "--output", str(tmp_path / "out")]) == 1
    assert "1 of 2 checks failed" in capsys.readouterr().out


def test_errors_are_relative_and_what_is_not_finite_fails():
    a = np.array([3.0, 4.0])
    assert relative_error(a * 1.01, a) == pytest.approx(0.01) and relative_error(a[:1], a) == float("inf")
    assert largest_error([a, 2 * a], [a, a]) == pytest.approx(1.0) and largest_error([a], [a, a]) == float("inf")
    assert not Check("x", float("nan"), 1.0).passed and Check("x", 1e-5, 1e-4).passed
    assert not Check("x", largest_error([a, np.array([np.nan, 1.0])], [a, a]), 1.0).passed


def test_an_operator_that_a_device_lacks_is_a_failed_check_and_in_the_report(tmp_path):
    def broken():
        yield Check("first", 0.0, 1e-4)
        raise RuntimeError("Unsupported op [X] on | device\nmore lines")

    first, missing = guarded("X", broken())
    assert first.passed and not missing.passed and missing.note == "RuntimeError: Unsupported op [X] on | device"
    results = suite.Results({"operators": [first, missing]}, notes=["trace: RuntimeError: no profiler"])
    report.write(results, Setup(recipe.load(None, QUICK), 4), tmp_path)
    stored = json.loads((tmp_path / "report.json").read_text())
    assert not stored["passed"] and stored["checks"]["operators"][1]["error"] is None
    text = (tmp_path / "report.md").read_text()
    assert "1 of 2 checks failed" in text and "Unsupported op [X] on \\| device" in text and "no profiler" in text


def test_the_trainings_have_the_same_operators():
    for quick in (True, False):
        setup = Setup(recipe.load(None, ["model.deconv=stock", "model.warp=grid_sample"]), 4, quick=quick)
        configs = trainings.trainings(setup)
        assert list(configs) == ["images", "clips", "critic"] and configs["clips"].data.frames == 3
        assert {config.model.deconv for config in configs.values()} == {"stock"}
        assert {config.model.warp for config in configs.values()} == {"grid_sample"}


def test_iterations_that_differ_fail_and_one_kink_does_not():
    here = {f"images.{k}.{what}": np.ones(3) for k in range(3) for what in trainings.TOLERANCES}
    kink = {**here, "images.1.latents": np.full(3, 1.1)}
    wrong = {key: value * (1.1 if "weights" in key else 1) for key, value in here.items()}
    passed = [[check.passed for check in trainings.compare("", here, there)] for there in (here, kink, wrong)]
    assert passed == [[True] * 3, [True] * 3, [True, True, False]]
    assert "largest 9.1e-02" in next(c.note for c in trainings.compare("", here, kink) if "latents" in c.name)


def test_a_repeated_iteration_starts_from_the_recorded_state(compiled_once):
    """Each training is that of the test before: the repeated iterations must undo what it did since."""
    config = cfg.changed(recipe.load(None, QUICK), model=trainings.BY_OPERATORS)
    setup = Setup(config, 4, quick=True)
    recorded = trainings.record(setup)
    assert {key.split(".")[1] for key in recorded} == {"0", "1", "2"}
    later = {key: value for key, value in recorded.items() if key.split(".")[1] != "0"}
    repeated = trainings.repeat(setup, later)
    assert all(np.array_equal(recorded[key], value) for key, value in repeated.items()) and len(repeated) == 2 * 2 * 3
    images = {key: value for key, value in recorded.items() if key.startswith("images.")}
    wrong = {key: value + 0.1 if key.endswith(".start.0") else value for key, value in images.items()}
    assert not all(check.passed for check in trainings.compare("", trainings.repeat(setup, wrong), recorded))


def test_recipes_with_other_shapes_are_refused(capsys, tmp_path):
    for setting in ("data.frames=3", "model.kind=plain", "model.appearance=label"):
        assert main(["check", "--device", "CPU", "--set", setting, "--output", str(tmp_path / "out")]) == 2
        assert "check needs a recipe of images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_trace_is_written(tmp_path):
    folder = profile.trace([matrix_product(8, np.random.default_rng(0))], tmp_path)
    assert list(folder.rglob("trace_view.json"))


@pytest.fixture
def another_mindspore(monkeypatch):
    """One that has renamed what is private in this one, and does not trace on GPU."""
    for name in ("mindspore.graph.api", "mindspore.common.api", "mindspore.train.mind_ir_pb2"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(ms.train, "mind_ir_pb2", None, raising=False)
    monkeypatch.setattr(ms.profiler, "ProfilerActivity", enum.Enum("ProfilerActivity", ["CPU", "NPU"]))


@pytest.mark.parametrize("module", [graphs, profile], ids=lambda module: module.__name__)
def test_the_measurements_can_be_imported_with_another_mindspore(another_mindspore, module):
    runpy.run_path(module.__file__)


def test_what_another_mindspore_lacks_is_a_note_of_the_report(another_mindspore, tmp_path, monkeypatch):
    cell = SimpleNamespace(compile=lambda: None, compile_cache={"phase": None})
    monkeypatch.setattr(graphs, "training_graphs", lambda *_: [("decoder", (cell, ()))])
    monkeypatch.setattr(profile.device, "current", lambda: "GPU")
    monkeypatch.setattr(suite, "GROUPS", {"group": lambda setup: iter([Check("x", 0.0, 1.0)])})
    results = suite.run(Setup(recipe.load(None, QUICK), 4, quick=True), tmp_path, lambda line: None)
    assert not results.failed and len(results.checks["group"]) == 1
    assert [note.split(":")[0] for note in results.notes] == ["graphs", "trace"] and "GPU" in results.notes[1]
