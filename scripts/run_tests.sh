#!/usr/bin/env bash
# Runs the tests on CPU. Arguments are passed to pytest: bash scripts/run_tests.sh tests/nets -k warp
#
# --fast, as the first argument, leaves out the tests that train models or start processes.
#
# DGN_TEST_WORKERS  number of test processes (default: number of cores + 1, since some tests wait for others, at most 4)
# DGN_THREADS       threads of each process (default: 1)
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
REQUIREMENTS+=(-r "$ROOT/tests/requirements.txt")
setup_python
single_process
cd "$ROOT"
CORES=$(nproc)
WORKERS=${DGN_TEST_WORKERS:-$((CORES < 3 ? CORES + 1 : 4))}
export DGN_THREADS=${DGN_THREADS:-1}
if [ "${1:-}" = --fast ]; then
    shift
    set -- -m "not slow" "$@"
fi
exec "$PYTHON" -m pytest -n "$WORKERS" --dist loadfile "$@"
