"""`dgn doctor`, and what it rests on, with installations made by the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import pytest

from dgn import device, machine
from dgn.__main__ import main
from dgn.cli import doctor
from dgn.errors import UserError

SOURCE = Path(__file__).parents[2] / "src"
REPORTED = """\
[WARNING] ME(21:14,MainProcess):2026-11-28-02:56:41.794.000 [mindspore/run_check/_check_version.py:317] MindSpore \
version 2.10.0 and Ascend AI software package (Ascend Data Center Solution)version 8.1 does not match, the version of \
software package expect one of ['8.2', '8.3']. Please refer to the match info on: https://www.mindspore.cn/install
[ERROR] ME(21:14,MainProcess):2026-11-28-02:56:41.795.000 [mindspore/run_check/_check_version.py:388] CheckFailed: No \
module named 'attr'
[CRITICAL] ME(21:14,MainProcess):2026-11-28-02:56:41.795.000 [mindspore/run_check/_check_version.py:389] MindSpore \
relies on whl package "te" in Ascend AI software package (Ascend Data Center Solution). Please check whether they are \
installed correctly or not, refer to the match info on: https://www.mindspore.cn/install
[INFO] CORE(2140,7f12dd5f8b80,python):2026-11-28-02:56:43.148.467 [mindspore/core/utils/ms_context.cc:160] Backend] CPU
[WARNING] DEVICE(2140,7f12dd5f8b80,python):2026-11-28-02:56:43.148.467 [mindspore/ccsrc/a.cc:1] Load] two
[WARNING] DEVICE(2140,7f12dd5f8b80,python):2026-11-28-02:56:43.148.467 [mindspore/ccsrc/a.cc:1] Load] two
RuntimeError: Unsupported device target Ascend. This process only supports one of the ['CPU']. Please check
Load dynamic library: libmindspore_ascend.so.2 failed. libge_runner.so: cannot open shared object file: No such file
Load dynamic library: libmindspore_gpu.so.11.6 failed. libcudnn.so.8: cannot open shared object file: No such file
"""


def package(folder: Path, name: str, *lines: str) -> Path:
    """A Python package in a folder."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("\n".join(lines) + "\n")
    return folder


def program(folder: Path, name: str, *lines: str) -> None:
    """A program that prints lines."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    (folder / name).chmod(0o755)


def python(*words: str, path: Path = SOURCE, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], text=True, capture_output=True, timeout=100,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join([str(path), str(SOURCE)]), **environment})


@pytest.fixture
def no_accelerator(monkeypatch):
    """No toolkit of an accelerator, whatever this machine has."""
    monkeypatch.setattr(machine, "output_of", lambda command: [])
    monkeypatch.setattr(machine, "CANN_FOLDERS", ())
    for name in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME", "CUDA_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_this_machine(no_accelerator, capsys):
    assert main(["doctor", "--device", "CPU"]) == 0
    printed = capsys.readouterr().out
    for part in ("device ", "NativeWarp", "mindspore", "Ascend", "CUDA", "msrun", "threads", "GPU libraries"):
        assert part in printed, part
    assert main(["doctor", "--device", "TPU"]) == 1
    assert "unknown device" in capsys.readouterr().out


def test_run_check(no_accelerator, monkeypatch, capsys):
    results = {True: machine.Attempt(True, (), ("all is correct",)),
               False: machine.Attempt(False, ("libge.so: absent",), ())}
    for succeeded, result in results.items():
        monkeypatch.setattr(machine, "attempt", lambda name, check, result=result: result if check else None)
        assert main(["doctor", "--device", "CPU", "--run-check"]) == (0 if succeeded else 1)
        assert (result.messages + result.output)[0] in capsys.readouterr().out


def test_a_device_that_is_not_offered(no_accelerator, monkeypatch, capsys):
    monkeypatch.setattr(device, "available", lambda name: name == "CPU")
    result = machine.Attempt(False, machine.reasons("Ascend", REPORTED), ())
    monkeypatch.setattr(machine, "attempt", lambda name, check: result)
    assert main(["doctor", "--device", "Ascend"]) == 1
    printed = capsys.readouterr().out
    for part in ("MindSpore does not offer Ascend here", "libge_runner.so: cannot open shared",
                 "No module named 'attr'", "version 8.1 does not match", "CANN is neither"):
        assert part in printed, part


def test_what_would_not_work(monkeypatch, capsys, tmp_path):
    called = []

    def run(command):
        called.append(command[0])
        return ["nvcc: NVIDIA (R)", "Cuda compilation tools, release 13.0, V13.0.88"] if command[0] == "nvcc" else []

    monkeypatch.setattr(machine, "output_of", run)
    monkeypatch.setattr(machine, "cann", lambda: machine.Cann("1.0", tmp_path))
    monkeypatch.setattr(machine, "msrun", lambda: None)
    monkeypatch.setattr(doctor, "REQUIRED", ("yaml", "no_such_module"))
    assert main(["doctor", "--device", "CPU"]) == 1
    printed = capsys.readouterr().out
    for part in ("CUDA 13.0 is here", "although CANN is here", "no msrun", "missing: no_such_module",
                 "CANN 1.0 is here, this", f"source {tmp_path}/set_env.sh", "pip install attrs cython"):
        assert part in printed, part
    assert sorted(set(called)) == sorted(called)  # each program once


def test_reasons_in_the_output_of_mindspore():
    reasons = machine.reasons("Ascend", REPORTED)
    assert reasons[0] == "libmindspore_ascend.so.2: libge_runner.so: cannot open shared object file: No such file"
    assert reasons[1].endswith("expect one of ['8.2', '8.3'].") and reasons[2] == "CheckFailed: No module named 'attr'"
    assert reasons[3].startswith('MindSpore relies on whl package "te"') and reasons[4:] == ("two",)
    assert machine.reasons("GPU", REPORTED)[0].startswith("libmindspore_gpu.so.11.6: libcudnn.so.8")
    assert machine.reasons("Ascend", "RuntimeError: Unsupported device. Help") == ("Unsupported device",)


def test_an_attempt_reports_what_is_written_on_the_way(tmp_path, monkeypatch):
    package(tmp_path, "mindspore", "import os, sys",
            "print('[ERROR] ME(1:2,M):3 [a.py:4] level', os.environ['GLOG_v'])",
            "def set_device(name): sys.stderr.write('[WARNING] ME(1:2,M):3 [a.py:4] device ' + name + chr(10))",
            "def run_check(): print('MindSpore running check failed.')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert machine.attempt("Ascend") == machine.Attempt(True, ("level 2", "device Ascend"), ())
    checked = machine.attempt("Ascend", check=True)
    assert not checked.succeeded and checked.output == ("MindSpore running check failed.",)


def test_an_attempt_that_crashes_or_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "TIMEOUT", 2)
    for name, line, expected in (("crash", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "exit code -11"),
                                 ("hang", "import time; time.sleep(60)", "no answer within 2 s"),
                                 ("broken", "raise OSError('libgomp.so.1: absent')", "libgomp.so.1: absent")):
        monkeypatch.setenv("PYTHONPATH", str(package(tmp_path / name, "mindspore", line)))
        result = machine.attempt("Ascend")
        assert not result.succeeded and expected in result.messages[0], name


def test_cann_is_found_where_it_is_named_and_in_its_usual_places(tmp_path, monkeypatch):
    home, usual = tmp_path / "home", tmp_path / "usual"
    (home / "compiler").mkdir(parents=True)
    (home / "runtime").mkdir()
    (home / "compiler" / "version.info").write_text("# compiler\nVersion=8.5.0.1\nversion_dir=8.5.0\n")
    (home / "runtime" / "version.info").write_text("Version=1.0\n")
    usual.mkdir()
    monkeypatch.setattr(machine, "CANN_FOLDERS", (str(tmp_path / "absent"), str(usual)))
    monkeypatch.delenv("ASCEND_TOOLKIT_HOME", raising=False)
    monkeypatch.setenv("ASCEND_HOME_PATH", str(home))
    assert machine.cann() == ("8.5.0.1", home) and machine.cann().release == "8.5"
    monkeypatch.delenv("ASCEND_HOME_PATH")
    assert machine.cann() == ("unknown", usual)
    (usual / "version.info").write_text("Version=8.2.0\n")
    assert machine.cann() == ("8.2.0", usual)
    usual.joinpath("version.info").unlink()
    usual.rmdir()
    assert machine.cann() is None


def test_the_installed_mindspore_names_the_releases_that_it_accepts():
    assert "8.5" in machine.cann_accepted()


def test_packages_that_cann_needs(tmp_path, monkeypatch):
    cann = machine.Cann("9.0.0", tmp_path)
    monkeypatch.setattr(machine, "cann_accepted", lambda: ["8.5", "9.0"])
    for module in machine.CANN_MODULES:
        package(tmp_path, module)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert doctor.ascend_notes("auto", cann) == []
    monkeypatch.setattr(machine, "CANN_MODULES", {"te_that_is_absent": "te", "attr": "attrs", "absl_absent": "absl-py"})
    te, packages = doctor.ascend_notes("auto", cann)
    assert "set_env.sh" in te and packages.endswith("pip install absl-py")


def test_rows_of_npu_smi(tmp_path, monkeypatch):
    program(tmp_path / "bin", "npu-smi", "+------+------+", "| NPU   Name  | Health |", "+======+======+",
            "| 0     910B3 | OK     |", "|       |     |")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert machine.npu_smi() == ["NPU Name | Health", "0 910B3 | OK"]


def test_a_device_that_is_absent_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(machine, "attempt", lambda name: machine.Attempt(False, machine.reasons(name, REPORTED), ()))
    monkeypatch.setattr(device, "available", lambda name: name == "CPU")
    wanted = "Ascend is not available .*libge_runner.so: cannot open .*dgn doctor --device Ascend"
    with pytest.raises(UserError, match=wanted):
        device.start("Ascend")


def test_availability_is_mindspore_s(monkeypatch):
    monkeypatch.setattr(ms.device_context.ascend, "is_available", lambda: True)
    monkeypatch.setattr(ms.device_context.gpu, "is_available", lambda: False)
    assert device.available("Ascend") and not device.available("GPU") and device.available("CPU")


@pytest.mark.parametrize("name, here, level", [("CPU", ["Ascend"], "4"), ("Ascend", [], "2"), ("GPU", [], "2"),
                                               ("auto", [], "4"), ("auto", ["Ascend"], "2")])
def test_warnings_of_mindspore_are_shown_on_accelerators(name, here, level, monkeypatch):
    monkeypatch.setattr(machine, "accelerators", lambda: here)
    monkeypatch.setenv(device.LOG_LEVEL, "1")
    monkeypatch.setattr(device, "_LOG_LEVEL_IS_FREE", False)
    device.set_environment(name)
    assert os.environ[device.LOG_LEVEL] == "1"  # what the user has set stays
    monkeypatch.setattr(device, "_LOG_LEVEL_IS_FREE", True)
    device.set_environment(name)
    assert os.environ[device.LOG_LEVEL] == level


def test_the_level_follows_the_device_of_the_command_line(tmp_path):
    """Set before MindSpore, here a package that prints it, is imported."""
    package(tmp_path, "mindspore", "import os", "print('level', os.environ['GLOG_v'])",
            "raise ImportError('no more of it')")
    environment = {key: value for key, value in os.environ.items() if key != device.LOG_LEVEL}
    for name, level in (("CPU", "4"), ("Ascend", "2")):
        done = subprocess.run([sys.executable, "-m", "dgn", "evaluate", "faces", "--device", name], text=True,
                              capture_output=True,
                              env={**environment, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(SOURCE)])})
        assert done.returncode == 2 and f"level {level}\n" in done.stdout
        assert "imported: no more of it; dgn doctor" in done.stderr


def test_a_mindspore_that_cannot_be_imported(tmp_path):
    package(tmp_path, "mindspore", "raise OSError('libgomp.so.1: cannot open shared object file')")
    done = python("-c", "from dgn.cli import doctor; doctor.REQUIRED = ('mindspore', 'numpy'); "
                  "import dgn.__main__ as d; raise SystemExit(d.main(['doctor']))", path=tmp_path)
    assert done.returncode == 1 and "missing: mindspore (libgomp.so.1: cannot open shared object file)" in done.stdout


def test_without_any_package():
    """-S: no site-packages, so neither MindSpore nor NumPy."""
    done = python("-S", "-m", "dgn", "doctor")
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    for part in ("device", "none: nothing runs without MindSpore", "missing: mindspore", "missing: numpy",
                 "missing: yaml"):
        assert part in done.stdout, part
    version = python("-S", "-m", "dgn", "--version")
    assert version.returncode == 0 and version.stdout.startswith("dgn 0.")
    shown = python("-S", "-m", "dgn", "--help")
    assert shown.returncode == 0 and "infer310" in shown.stdout
    bench = python("-S", "-m", "dgn", "bench", "parts")
    assert bench.returncode == 2 and "dgn doctor" in bench.stderr and "Traceback" not in bench.stderr


@pytest.mark.parametrize("line", [["--help"], ["--version"], ["bench", "--help"], ["export", "--help"],
                                  ["infer310", "--help"], ["doctor", "--help"], ["results", "faces"]])
def test_help_imports_nothing_heavy(line):
    done = python("-X", "importtime", "-m", "dgn", *line)
    assert done.returncode == 0
    imported = {row.rpartition("|")[2].strip().partition(".")[0] for row in done.stderr.splitlines()}
    assert "dgn" in imported and not imported & {"mindspore", "cv2", "matplotlib", "sklearn", "torch", "onnxruntime"}
    if len(line) == 1:
        assert "numpy" not in imported and "yaml" not in imported
