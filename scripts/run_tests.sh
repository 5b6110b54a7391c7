#!/usr/bin/env bash
# Runs the tests on CPU, one process a core; arguments go to pytest, e.g. bash scripts/run_tests.sh tests/nets -k warp
# DGN_TEST_WORKERS sets the number of processes (default: one a core, four at most).
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
setup_python
cd "$ROOT"
CORES=$(nproc)
WORKERS=${DGN_TEST_WORKERS:-$((CORES < 4 ? CORES : 4))}
exec "$PYTHON" -m pytest -n "$WORKERS" --dist loadfile "$@"
