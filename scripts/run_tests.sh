#!/usr/bin/env bash
# Runs the tests on CPU; arguments go to pytest, e.g. bash scripts/run_tests.sh tests/nets -k warp
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
setup_python
cd "$ROOT"
exec "$PYTHON" -m pytest "$@"
