#!/usr/bin/env bash
# Runs the tests on CPU; arguments go to pytest, e.g. bash scripts/run_tests.sh tests/nets -k warp
# One process more than there are cores, as some tests wait, each of one thread.
# DGN_TEST_WORKERS sets the number of processes (default: one more than cores, four at most).
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
setup_python
cd "$ROOT"
CORES=$(nproc)
WORKERS=${DGN_TEST_WORKERS:-$((CORES < 3 ? CORES + 1 : 4))}
export DGN_THREADS=${DGN_THREADS:-1}
exec "$PYTHON" -m pytest -n "$WORKERS" --dist loadfile "$@"
