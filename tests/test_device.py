"""The choice of the device."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mindspore as ms
import pytest

from dgn import device, distributed, interrupts, launcher, machine, numerics, recipe, run_training
from dgn.__main__ import main
from dgn.cli import doctor
from dgn.config import Config, Numerics
from dgn.errors import RunFailed, UserError


def test_auto_keeps_the_device_in_use(monkeypatch):
    monkeypatch.setattr(device, "available", lambda name: True)  # Ascend, too, which would otherwise be preferred
    assert device.start() == "CPU" == device.current()


def test_auto_prefers_ascend_then_gpu(monkeypatch):
    for present, expected in (({"Ascend", "GPU", "CPU"}, "Ascend"), ({"GPU", "CPU"}, "GPU"), ({"CPU"}, "CPU")):
        monkeypatch.setattr(device, "available", present.__contains__)
        assert device.preferred() == expected


def test_a_library_without_space_for_its_thread_local_variables_is_to_be_preloaded(monkeypatch, capsys, tmp_path):
    """scikit-learn's libgomp on aarch64."""
    library = tmp_path / "scikit_learn.libs" / "libgomp-d22c30c5.so.1.0.0"
    (tmp_path / "with_libgomp.py").write_text(
        f"raise ImportError('{library}: cannot allocate memory in static TLS block\\n___ more lines')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(doctor, "REQUIRED", ("with_libgomp", "no_such_module"))
    monkeypatch.setattr(doctor, "choose", lambda *_: ("CPU", [], []))
    assert main(["doctor", "--device", "CPU"]) == 1
    printed = capsys.readouterr().out
    assert f"export LD_PRELOAD={library}${{LD_PRELOAD:+:$LD_PRELOAD}}\n" in printed
    assert "missing: no_such_module" in printed and "pip install -r requirements.txt" in printed


def test_a_card_that_the_user_has_set_is_kept(monkeypatch):
    """MindSpore refuses to set another number than the one that is set, here 0."""
    ms.set_device("CPU", 0)
    with pytest.raises(RuntimeError, match="can not be modified"):
        ms.set_device("CPU", 3)
    real = ms.set_device
    monkeypatch.setattr(ms, "set_device", lambda name: real(name, 3))  # as set_device(name) is after (name, 3)
    assert device.start("CPU") == "CPU"
    monkeypatch.setattr(device, "current", lambda: "GPU")
    with pytest.raises(UserError, match="CPU cannot be used in this process, which uses GPU .*can not be modified"):
        device.start("CPU")


@pytest.mark.parametrize("files, expected", [
    ({}, None), ({"cpu.max": "max 100000\n"}, None), ({"cpu.max": "150000 100000\n"}, 2),
    ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3)])
def test_threads_follow_the_quota_of_the_control_group(tmp_path, files, expected):
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert machine._quota(tmp_path) == expected


def test_threads_follow_the_affinity(monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {3}, raising=False)
    assert machine.cores() == 1


@pytest.fixture
def calls(monkeypatch) -> list:
    """The calls of MindSpore's settings, which are not made, in a process in which none was made before."""
    made: list = []
    monkeypatch.setattr(numerics, "_applied", {})
    for owner, name in ((ms.device_context.ascend.op_precision, "conv_allow_hf32"), (ms, "set_deterministic"),
                        (ms.device_context.gpu.op_precision, "conv_allow_tf32"), (ms, "set_context"),
                        (ms.runtime, "set_kernel_launch_group"), (ms, "set_device"), (distributed, "join")):
        monkeypatch.setattr(owner, name, lambda *args, name=name, **named: made.append((name, *args, named)))
    return made


ALL = Numerics(hf32=True, deterministic=True, jit_level="O0", launch_groups=8)


@pytest.mark.parametrize("name, settings, expected, ignored", [
    ("Ascend", Numerics(), [("conv_allow_hf32", False, {})], []),  # CANN's own default is True
    ("Ascend", ALL, [("conv_allow_hf32", True, {}), ("set_deterministic", True, {}),
                     ("set_context", {"jit_config": {"jit_level": "O0"}}), ("set_kernel_launch_group", 2, 8, {})], []),
    ("GPU", ALL, [("conv_allow_tf32", True, {}), ("set_deterministic", True, {}),
                  ("set_context", {"jit_config": {"jit_level": "O0"}})], ["launch_groups"]),
    ("CPU", ALL, [("set_deterministic", True, {}), ("set_context", {"jit_config": {"jit_level": "O0"}})],
     ["hf32", "launch_groups"])])
def test_numerics_by_device(calls, caplog, name, settings, expected, ignored):
    numerics.apply(settings, name)
    assert calls == expected
    assert [record.getMessage() for record in caplog.records] == [f"numerics.{key} is ignored on {name}"
                                                                  for key in ignored]
    numerics.apply(settings, name)  # a second run in the process: MindSpore refuses most of these a second time
    assert calls == expected and len(caplog.records) == len(ignored)
    numerics.apply(Numerics(jit_level="O1"), name)
    assert calls == expected and "numerics.jit_level stays" in caplog.text


def test_numerics_come_before_the_group_of_processes(calls, monkeypatch):
    monkeypatch.setattr(device, "available", lambda name: True)
    monkeypatch.setattr(launcher, "launched_by_msrun", lambda: True)
    device.start("Ascend", Numerics(deterministic=True))
    names = [call[0] for call in calls]
    assert names == ["set_device", "conv_allow_hf32", "set_deterministic", "set_context", "join"]


@pytest.mark.parametrize("name", ["OMPI_COMM_WORLD_SIZE", "RANK_SIZE"])
def test_several_processes_of_another_launcher_do_not_train_each_by_itself(monkeypatch, capsys, tmp_path, name):
    monkeypatch.delenv("MS_ROLE", raising=False)
    monkeypatch.setenv(name, "8")
    assert main(["train", "--device", "CPU", "--output", str(tmp_path / "run")]) == 2
    assert "scripts/run_distribute_train.sh" in capsys.readouterr().err
    for train in (lambda: run_training.train(Config(), tmp_path / "run"), lambda: run_training.resume(tmp_path / "run"),
                  lambda: run_training.ensure_trained(tmp_path / "run", Config())):
        with pytest.raises(UserError, match=f"{name} is 8: .* 8 processes, and each would train separately"):
            train()
    assert not (tmp_path / "run").exists()
    monkeypatch.setenv(name, "1")
    launcher.check_launcher()
    monkeypatch.setenv(name, "8")
    monkeypatch.setenv("MS_ROLE", "MS_WORKER")  # msrun sets RANK_SIZE, too
    launcher.check_launcher()


@pytest.mark.parametrize("broken", ["init", "barrier"])
def test_processes_that_do_not_connect_are_a_failure_with_their_address(monkeypatch, broken):
    """At once, not in the first collective of the training."""
    def fails(*_):
        raise RuntimeError("Connect timeout.\nmore lines")

    for name, value in (("MS_ROLE", "MS_SCHED"), ("MS_WORKER_NUM", "8"), ("MS_SCHED_HOST", "10.0.0.1"),
                        ("MS_SCHED_PORT", "8118")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ms.communication, "init", fails if broken == "init" else lambda: None)
    monkeypatch.setattr(distributed, "process_group", distributed.ProcessGroup)
    monkeypatch.setattr(distributed.ProcessGroup, "barrier", fails)
    with pytest.raises(RunFailed, match=r"8 processes cannot connect .* 10\.0\.0\.1:8118: Connect timeout\. On all"):
        distributed.join.__wrapped__()


def test_numerics_are_part_of_the_config_and_checked(tmp_path):
    config = recipe.load(None, ["numerics.jit_level=O0", "numerics.launch_groups=8", "numerics.hf32=true"])
    (tmp_path / "config.yaml").write_text(recipe.dump(config))
    assert recipe.load(tmp_path / "config.yaml").numerics == Numerics(True, False, "O0", 8)
    for settings, message in ((["numerics.launch_groups=8"], "launch_groups needs numerics.jit_level O0"),
                              (["numerics.launch_groups=3", "numerics.jit_level=O0"], "it must be even")):
        with pytest.raises(UserError, match=message):
            recipe.load(None, settings)


def test_mindspores_own_cache_of_graphs_is_warned_of(calls, caplog, monkeypatch):
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "1")
    with caplog.at_level(logging.WARNING):
        numerics.apply(Numerics(), "CPU")
    assert "MS_COMPILER_CACHE_ENABLE" in caplog.text and not calls


def test_a_failed_compilation_leaves_no_files_in_the_working_directory(tmp_path, monkeypatch):
    class Wrong(ms.nn.Cell):
        def construct(self, x: ms.Tensor) -> ms.Tensor:
            return ms.ops.matmul(x, x)

    monkeypatch.chdir(tmp_path)
    with pytest.raises((RuntimeError, ValueError)):
        Wrong()(ms.Tensor([[1.0, 2.0, 3.0]]))
    assert list(tmp_path.iterdir()) == []


INTERRUPTED = """
import os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit that it is ignored
from dgn import device
device.start("CPU")
import mindspore as ms

@ms.ops.constexpr
def interrupt():  # as MindSpore's own handler of SIGINT does while it compiles
    os.kill(os.getpid(), signal.SIGTERM)
    return 1

class Add(ms.nn.Cell):
    def __init__(self, interrupted):
        super().__init__()
        self.interrupted = interrupted

    def construct(self, x):
        return x + (interrupt() if self.interrupted else 1)

@device.one_at_a_time
def call(interrupted):
    return Add(interrupted)(ms.Tensor([1.0])).asnumpy()

def interrupt_later():
    time.sleep(1)  # MindSpore's threads may set their handler after the first graph; the next call replaces it
    call(False)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(9)

for action in (lambda: call(True), interrupt_later):
    try:
        action()
    except KeyboardInterrupt:
        print(call(False)[0])
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
signal.signal(signal.SIGTERM, lambda *_: print("own handler"))  # as that of a training
print(call(True)[0])
"""


def test_ctrl_c_during_and_after_a_compilation_raises_keyboard_interrupt(tmp_path):
    """MindSpore's own handler, which stays after a compilation, would end the process."""
    environment = {**os.environ, "PYTHONPATH": str(Path(device.__file__).parents[1])}
    (tmp_path / "program.py").write_text(INTERRUPTED)
    ended = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True,
                           env=environment, timeout=100)
    assert (ended.returncode, ended.stdout) == (0, "2.0\n2.0\nown handler\n2.0\n"), ended.stderr[-1000:]


def test_an_interrupt_that_mindspore_turns_into_another_error_is_an_interrupt():
    def compile_interrupted():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(9)
        except KeyboardInterrupt:
            raise RuntimeError("the compilation failed") from None

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interrupts.raising():
        compile_interrupted()
    with pytest.raises(RuntimeError, match="another"), interrupts.raising():
        raise RuntimeError("another")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_fork_of_a_process_that_ran_a_graph_is_told_to_load_anew():
    """MindSpore would wait forever."""
    answer = device.one_at_a_time(lambda: 1)
    assert answer() == 1
    if not (child := os.fork()):
        try:
            answer()
        except UserError as error:
            os._exit(3 if "method spawn" in str(error) else 4)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
