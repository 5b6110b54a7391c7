"""Usage, arguments and environment of the launchers in scripts/."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dgn import recipe
from dgn.distributed import for_processes
from tests.launchers import ODD, ROOT, copy_project, run

pytestmark = pytest.mark.slow

SINGLE = ("run_train.sh", "run_eval.sh", "run_export.sh", "run_experiment.sh", "run_infer_310.sh",
          "run_device_check.sh", "dgn.sh")  # one process each
STALE = {"MS_ROLE": "MS_WORKER", "MS_WORKER_NUM": "1", "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": "1",
         "MS_NODE_ID": "0", "RANK_ID": "3", "RANK_SIZE": "8", "RANK_TABLE_FILE": "/hccl.json"}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return copy_project(tmp_path_factory.mktemp("projects"))


@pytest.mark.parametrize("script, usage", [
    ("run_train.sh", "[DEVICE_TARGET] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]"),
    ("run_distribute_train.sh", "[DEVICE_TARGET] [DEVICE_NUM] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]"),
    ("run_export.sh", "RUN_DIR [OUT]"),
    ("run_infer_310.sh", "MINDIR_PATH DATA_PATH [DEVICE_TYPE] [DEVICE_ID] [OUTPUT_PATH]"),
    ("run_infer_cpp.sh", "MINDIR_PATH DATA_PATH [DEVICE_TYPE] [DEVICE_ID] [OUTPUT_PATH]"),
    ("run_device_check.sh", "[DEVICE_TARGET] [DEVICE_NUM] [OUTPUT_PATH]"),
    ("run_eval.sh", "RUN_DIR [DEVICE_TARGET] [IMAGES]")])
def test_usage(project, script, usage, tmp_path):
    for arguments, code in ((["--help"], 0), (["-h"], 0), ("abcdef", 2)):
        shown = run(project, script, *arguments, cwd=tmp_path)
        assert shown.returncode == code and usage in shown.stdout, arguments
        assert "set -e" not in shown.stdout and "#!" not in shown.stdout


@pytest.mark.parametrize("script, words", [("run_train.sh", ["ascend"]), ("run_distribute_train.sh", ["ascend"]),
                                           ("run_eval.sh", ["run", "ascend"]), ("run_device_check.sh", ["ascend"])])
def test_a_wrong_device_is_refused_before_packages_are_installed(project, script, words, tmp_path):
    refused = run(project, script, *words, cwd=tmp_path, DGN_PYTHON="/no/such/python")
    assert refused.returncode == 2 and "DEVICE_TARGET is ascend; it must be Ascend, GPU, CPU or auto" in refused.stderr


@pytest.mark.parametrize("script, usage", [("run_experiment.sh", "NAME [OPTIONS]"), ("dgn.sh", "COMMAND [OPTIONS]")])
def test_usage_with_any_number_of_arguments(project, script, usage, tmp_path):
    for arguments, code in (["--help"], 0), ([], 2):
        shown = run(project, script, *arguments, cwd=tmp_path)
        assert shown.returncode == code and usage in shown.stdout, arguments
    shown = run(project, "run_tests.sh", "--help", cwd=tmp_path)
    assert shown.returncode == 0 and "--fast, as the first argument" in shown.stdout  # in place of pytest's help


@pytest.fixture
def recorder(tmp_path) -> Path:
    """A Python and an msrun that only append their arguments and environment to the file `calls`, as a line of JSON.
    The Python meets the requirements and executes -c."""
    folder = tmp_path / ODD / "bin"
    folder.mkdir(parents=True)
    record = ("import json, os, sys; print(json.dumps({'args': sys.argv[2:], 'env': dict(os.environ)}), "
              "file=open(sys.argv[1], 'a'))")
    for name, special in (("python3", f'case "$1" in -c) exec "{sys.executable}" "$@" ;; -) exit 0 ;; esac'),
                          ("msrun", '[ "${1:-}" != --help ] || { echo "[--bind_core BIND_CORE]"; exit 0; }')):
        line = f'exec "{sys.executable}" -c "{record}" "{tmp_path}/calls" "$@"'
        (folder / name).write_text(f"#!/bin/bash\n{special}\n{line}\n")
        (folder / name).chmod(0o755)
    return folder / "python3"


def calls(recorder: Path) -> list:
    return [json.loads(line) for line in (recorder.parents[2] / "calls").read_text().splitlines()]


QUOTED = """--set "data.path=/a b/ç (1), x" --set 'evaluation.images=1' --data "" a\\ b $HOME `id` "#1\""""
WORDS = ["--set", "data.path=/a b/ç (1), x", "--set", "evaluation.images=1", "--data", "", "a b", "$HOME", "`id`",
         "#1"]


@pytest.mark.parametrize("script, arguments, expected", [
    ("run_train.sh", ["CPU", "a b.yaml", "my photos", "o, (1)"],
     ["train", "--config", "a b.yaml", "--device", "CPU", "--output", "o, (1)", "--data", "my photos", *WORDS]),
    ("run_export.sh", ["a b", "ç"], ["export", "a b", "ç", *WORDS]),
    ("run_eval.sh", ["a b", "CPU", "my photos"],
     ["evaluate", "a b", "--device", "CPU", "--images", "my photos", *WORDS]),
    ("run_device_check.sh", ["Ascend", "2", "my report"],
     ["check", "--device", "Ascend", "--devices", "2", "--output", "my report", *WORDS]),
    ("run_device_check.sh", [], ["check", "--device", "auto", "--devices", "1", "--output", "device_check", *WORDS]),
    ("run_experiment.sh", ["views", "a b", "--faces", "2"], ["experiment", "views", "a b", "--faces", "2"]),
    ("dgn.sh", ["page", "faces", "my page.html"], ["page", "faces", "my page.html"])])
def test_arguments_with_spaces_stay_whole(project, recorder, script, arguments, expected, tmp_path):
    done = run(project, script, *arguments, cwd=tmp_path, DGN_PYTHON=str(recorder), DGN_OPTIONS=QUOTED)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert calls(recorder)[-1]["args"] == ["-m", "dgn", *expected]


def test_a_resumed_run_uses_its_own_config(project, recorder, tmp_path):
    run(project, "run_train.sh", "CPU", cwd=tmp_path, DGN_PYTHON=str(recorder), DGN_OPTIONS="--train-only\n'--resume'")
    assert calls(recorder)[-1]["args"] == ["-m", "dgn", "train", "--device", "CPU", "--output", "runs/faces_demo",
                                           "--train-only", "--resume"]


def test_the_oldest_mindspore_has_an_environment_of_its_own(project, recorder, tmp_path):
    venv = tmp_path / ODD / "oldest"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(recorder)  # reports the MindSpore of the tests, which is newer
    done = run(project, "run_tests.sh", "--oldest", "tests/nets", cwd=tmp_path, DGN_PYTHON=str(recorder),
               DGN_OLDEST_VENV=str(venv))
    assert done.returncode == 0, done.stderr
    made, installed, tested = (call["args"] for call in calls(recorder)[-3:])
    assert made == ["-m", "venv", str(venv)] and "mindspore==2.7.2" in installed
    assert tested[:2] == ["-m", "pytest"] and tested[-1] == "tests/nets"


def test_options_with_an_open_quote_are_refused(project, recorder, tmp_path):
    refused = run(project, "run_export.sh", "run", cwd=tmp_path, DGN_PYTHON=str(recorder), DGN_OPTIONS='--set "a=b')
    assert refused.returncode == 2 and "DGN_OPTIONS" in refused.stderr and "No closing quotation" in refused.stderr
    assert "Traceback" not in refused.stderr and not (tmp_path / "calls").exists()


# in the place of build.sh: a program that prints a variable and fails
PROGRAM = """mkdir -p "$1"
echo 'echo "GLOG_v=$GLOG_v"; exit 6' >"$1/dgn_infer"
chmod +x "$1/dgn_infer"
"""


def test_the_program_is_built_before_inputs_are_written_and_does_not_log(project, recorder, tmp_path):
    def launch(**variables):
        return run(project, "run_infer_310.sh", "export", "data", "CPU", 0, "out", cwd=tmp_path,
                   DGN_PYTHON=str(recorder), **variables)

    build = project / "ascend310_infer" / "build.sh"
    build.write_text("exit 5\n")
    assert launch().returncode == 5 and not (tmp_path / "calls").exists()
    build.write_text(PROGRAM)
    for given, used in ((None, 4), ("1", 1)):
        done = launch(GLOG_v=given)
        assert done.returncode == 6 and done.stdout.endswith(f"GLOG_v={used}\n")
        assert calls(recorder)[-1]["args"][3:] == ["prepare", "export", "data", "out", "--device", "CPU"]


@pytest.mark.parametrize("script", SINGLE)
def test_stale_variables_of_a_distributed_run_are_named_and_unset(project, recorder, script, tmp_path):
    (project / "ascend310_infer" / "build.sh").write_text(PROGRAM)
    words = ("b", "CPU") if script == "run_eval.sh" else ("CPU", "b")
    done = run(project, script, *words, cwd=tmp_path, DGN_PYTHON=str(recorder), DEVICE_ID="2", **STALE)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and all(f"{name}={value}" in lines[0] for name, value in STALE.items()), done.stderr
    seen = calls(recorder)[0]["env"]
    assert not set(STALE) & set(seen) and seen["DEVICE_ID"] == "2"


def test_a_distributed_run_does_not_inherit_the_variables_of_another(project, recorder, tmp_path):
    done = run(project, "run_distribute_train.sh", "CPU", 2, cwd=tmp_path, DGN_PYTHON=str(recorder), **STALE)
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and all(f"{name}={value}" in lines[0] for name, value in STALE.items()), done.stderr
    assert not set(STALE) & set(calls(recorder)[-1]["env"])


def test_the_allocator_is_tuned_unless_its_settings_are_given(project, recorder, tmp_path):
    for given in (None, "glibc.malloc.check=0"):
        run(project, "run_train.sh", "CPU", cwd=tmp_path, DGN_PYTHON=str(recorder), GLIBC_TUNABLES=given)
        used = calls(recorder)[-1]["env"]["GLIBC_TUNABLES"]
        assert used == given if given else "glibc.malloc.tcache_count=" in used


def test_arguments_of_msrun(project, recorder, tmp_path):
    done = run(project, "run_distribute_train.sh", "Ascend", 4, "a b.yaml", "my photos", "o, (1)", cwd=tmp_path,
               DGN_PYTHON=str(recorder), DGN_OPTIONS=QUOTED, MASTER_PORT="5000", HCCL_CONNECT_TIMEOUT=None,
               HCCL_EXEC_TIMEOUT="99")
    assert done.returncode == 0, done.stderr
    seen = calls(recorder)[-1]
    options = seen["args"][:seen["args"].index(str(project / "src" / "dgn" / "__main__.py"))]
    assert {"--worker_num=4", "--local_worker_num=4", "--master_port=5000", "--bind_core=True",
            "--log_dir=o, (1).logs"} <= set(options)
    assert seen["args"][len(options) + 1:] == ["train", "--config", "a b.yaml", "--device", "Ascend", "--output",
                                               "o, (1)", "--data", "my photos", *WORDS]
    # msrun runs the command python on PATH: one that runs the chosen one
    folder = tmp_path / "o, (1).logs" / "bin"
    assert seen["env"]["PATH"].startswith(f"{folder}:{recorder.parent}:")
    subprocess.run([folder / "python", "a b"], check=True, timeout=60)
    assert calls(recorder)[-1]["args"] == ["a b"]
    # derived from DGN_PATIENCE, unless the user has set it; the time to connect is not
    assert (seen["env"]["HCCL_EXEC_TIMEOUT"], seen["env"]["DGN_PATIENCE"]) == ("99", "3600")
    assert "HCCL_CONNECT_TIMEOUT" not in seen["env"]


def test_every_process_gets_the_device_that_auto_stands_for(project, recorder, tmp_path):
    found = "case \"$2\" in *preferred*) echo 'a warning'; echo GPU; exit ;; esac"
    python = recorder.read_text().replace("-c) ", f"-c) {found}; ", 1)
    recorder.write_text(python)
    done = run(project, "run_distribute_train.sh", cwd=tmp_path, DGN_PYTHON=str(recorder))
    assert done.returncode == 0, done.stderr
    words = calls(recorder)[-1]["args"]
    assert words[words.index("--device") + 1] == "GPU" and "--worker_num=2" in words
    recorder.write_text(python.replace("echo GPU", "exit 1", 1))
    unknown = run(project, "run_distribute_train.sh", cwd=tmp_path, DGN_PYTHON=str(recorder))
    assert unknown.returncode == 2 and "name it as DEVICE_TARGET" in unknown.stderr


@pytest.mark.parametrize("patience, execute", [("60", "68"), ("10000", "10000"), ("99999", "17340")])
def test_the_timeout_of_a_collective_stays_in_the_range_of_cann(project, recorder, patience, execute, tmp_path):
    run(project, "run_distribute_train.sh", "CPU", 2, cwd=tmp_path, DGN_PYTHON=str(recorder), DGN_PATIENCE=patience,
        HCCL_CONNECT_TIMEOUT="500", HCCL_EXEC_TIMEOUT=None)
    seen = calls(recorder)[-1]
    assert (seen["env"]["HCCL_CONNECT_TIMEOUT"], seen["env"]["HCCL_EXEC_TIMEOUT"]) == ("500", execute)
    assert seen["env"]["DGN_PATIENCE"] == patience
    assert not any("bind_core" in word for word in seen["args"])  # CPU


@pytest.mark.parametrize("given", [None, "/elsewhere"])
def test_logs_of_earlier_starts_stay_and_a_failure_names_those_of_cann(project, recorder, given, tmp_path):
    (recorder.with_name("msrun")).write_text("#!/bin/sh\necho $ASCEND_PROCESS_LOG_PATH\nexit 1\n")
    logs = [tmp_path / "out.logs", *(tmp_path / f"out.logs.{k}" for k in (1, 2, 3))]
    for folder in logs:
        folder.mkdir()
        (folder / "worker_0.log").write_text(folder.name)
        host = folder / "node_0" if folder.name == "out.logs.1" else folder  # of several hosts
        host.mkdir(exist_ok=True)
        (host / "started").touch()
    failed = run(project, "run_distribute_train.sh", "Ascend", 2, "a.yaml", "", "out", cwd=tmp_path,
                 DGN_PYTHON=str(recorder), ASCEND_PROCESS_LOG_PATH=given)
    assert failed.returncode == 1 and "the logs of all processes are in out.logs\n" in failed.stderr
    folder = given or str(tmp_path / "out.logs" / "cann")
    assert f"those of CANN are in {folder}\n" in failed.stderr
    assert (tmp_path / "out.logs" / "msrun.log").read_text() == f"{folder}\n"
    assert [(folder / "worker_0.log").read_text() for folder in logs[1:]] == ["out.logs", "out.logs.1", "out.logs.2"]
    assert not (tmp_path / "out.logs" / "worker_0.log").exists()


@pytest.mark.parametrize("name", ["out.logs", "out.logs.2", "out.logs.3"])
def test_a_folder_that_no_launcher_made_is_not_moved_or_removed(project, recorder, name, tmp_path):
    for folder in ("out.logs", "out.logs.2", "out.logs.3"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ("started" if folder != name else "thesis.tex")).touch()
    refused = run(project, "run_distribute_train.sh", "CPU", 2, "a.yaml", "", "out", cwd=tmp_path,
                  DGN_PYTHON=str(recorder))
    assert refused.returncode == 2 and f"{name} is no folder of logs" in refused.stderr
    assert (tmp_path / name / "thesis.tex").exists() and not (tmp_path / "out.logs.1").exists()


@pytest.mark.parametrize("changes, message", [
    ({"DEVICE_NUM": "two"}, "DEVICE_NUM is two"), ({"DEVICE_NUM": "0"}, "DEVICE_NUM is 0"),
    ({"DEVICE_NUM": "08"}, "DEVICE_NUM is 08"), ({"DGN_PATIENCE": "1h"}, "DGN_PATIENCE is 1h"),
    ({"NODE_RANK": "first"}, "NODE_RANK is first"), ({"WORKER_NUM": "3"}, "WORKER_NUM is 3"),
    ({"WORKER_NUM": "4"}, "several hosts need MASTER_ADDR")])
def test_wrong_numbers_of_a_distributed_run(project, recorder, changes, message, tmp_path):
    variables = {"DEVICE_NUM": "2", **changes, "DGN_PYTHON": str(recorder)}
    refused = run(project, "run_distribute_train.sh", "CPU", variables.pop("DEVICE_NUM"), cwd=tmp_path, **variables)
    assert refused.returncode == 2 and message in refused.stderr and not (tmp_path / "calls").exists()


@pytest.mark.parametrize("target, number, visible, refused", [
    ("Ascend", 4, "4,5,6", True), ("Ascend", 2, "7", True), ("Ascend", 4, "4,5,6,7", False), ("Ascend", 8, "", False),
    ("GPU", 2, "0", True), ("CPU", 2, "7", False)])
def test_more_processes_than_visible_cards_are_refused(project, recorder, target, number, visible, refused, tmp_path):
    done = run(project, "run_distribute_train.sh", target, number, cwd=tmp_path, DGN_PYTHON=str(recorder),
               ASCEND_RT_VISIBLE_DEVICES=visible, CUDA_VISIBLE_DEVICES=visible)
    assert (done.returncode == 2 and f"{visible}\n" in done.stderr and "DEVICE_NUM is" in done.stderr) == refused
    assert refused != (tmp_path / "calls").exists()


DOCUMENTS = [*ROOT.glob("README*.md"), *(ROOT / "docs").glob("*.md")]
LAUNCHER = "scripts/run_distribute_train.sh"


def documented_trainings(text: str) -> list:
    """(recipe, settings, number of processes on all hosts) of each command in a document that trains in several
    processes; an exported variable holds for the rest of its block of commands."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
        exported: dict = {}
        for line in block.splitlines():
            if LAUNCHER not in line and not line.startswith("export "):
                continue
            words = shlex.split(line, comments=True)
            command = list(itertools.dropwhile(lambda word: word == "export" or "=" in word, words))
            given = words[:-len(command) or None]
            variables = {**exported, **dict(word.split("=", 1) for word in given if "=" in word)}
            if not command:
                exported = variables
            elif "[DEVICE_NUM]" not in command:
                _, local, config = [*command[2:], *["auto", "2", "config/faces_demo.yaml"][len(command) - 2:]][:3]
                options = shlex.split(variables.get("DGN_OPTIONS", ""))
                settings = [value for word, value in zip(options, options[1:]) if word == "--set"]
                found.append((config, settings, int(variables.get("WORKER_NUM", local))))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_documented_trainings_in_several_processes_share_their_batch(document):
    text = document.read_text(encoding="utf-8")
    trainings = documented_trainings(text)
    assert len(trainings) == len(re.findall(LAUNCHER + r" \w", text))  # none is written in another way
    for config, settings, size in trainings:
        for_processes(recipe.load(ROOT / config, settings), size)  # raises UserError
    assert document.name != "devices.md" or {size for _, _, size in trainings} == {2, 4, 8, 16}
