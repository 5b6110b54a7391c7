#!/usr/bin/env bash
# Another name of run_infer_310.sh, as in recent versions of MindSpore's model zoo.
set -euo pipefail

exec bash "$(dirname -- "${BASH_SOURCE[0]}")/run_infer_310.sh" "$@"
