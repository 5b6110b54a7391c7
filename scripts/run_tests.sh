#!/usr/bin/env bash
# Runs the tests on CPU. Arguments are passed to pytest: bash scripts/run_tests.sh tests/nets -k warp
#
# --fast, as the first argument, leaves out the tests that train models or start processes.
# --oldest, as the first argument, runs the tests that depend most on MindSpore on the oldest version that
# requirements.txt accepts, in an environment of its own, which is installed once (2 minutes).
#
# DGN_OLDEST_VENV   folder of that environment (default: .venv-oldest)
# DGN_TEST_WORKERS  number of test processes (default: number of cores + 1, at most 4; some tests wait for others)
# DGN_THREADS       threads of each process (default: 1)
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
check_usage 0 "" "$@"
REQUIREMENTS+=(-r "$ROOT/tests/requirements.txt")
setup_python
single_process
cd "$ROOT"
CORES=$(nproc)
WORKERS=${DGN_TEST_WORKERS:-$((CORES < 3 ? CORES + 1 : 4))}
export DGN_THREADS=${DGN_THREADS:-1}
if [ "${1:-}" = --oldest ]; then
    shift
    VENV=${DGN_OLDEST_VENV:-$ROOT/.venv-oldest}
    OLDEST=$(sed -n 's/^mindspore>=\([0-9.]*\),.*/\1/p' "$ROOT/requirements.txt")
    INSTALLED=$("$VENV/bin/python" -c 'from importlib.metadata import version; print(version("mindspore"))' 2>/dev/null || true)
    if [ "$INSTALLED" != "$OLDEST" ] || ! fits "$VENV/bin/python"; then
        "$PYTHON" -m venv "$VENV"
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check "mindspore==$OLDEST" "${REQUIREMENTS[@]}"
    fi
    PYTHON=$VENV/bin/python
    [ $# -gt 0 ] || set -- tests/nets tests/inference/test_langevin.py tests/test_platforms.py tests/export \
        tests/training/test_distributed.py
elif [ "${1:-}" = --fast ]; then
    shift
    set -- -m "not slow" "$@"
fi
exec "$PYTHON" -m pytest -n "$WORKERS" --dist loadfile "$@"
