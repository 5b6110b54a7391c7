#!/usr/bin/env bash
# Checks that a device computes what NumPy and CPU compute, and writes a report: python -m dgn check. Please share it.
#
#   bash scripts/run_device_check.sh [DEVICE_TARGET] [DEVICE_NUM] [OUTPUT_PATH]
#
# DEVICE_TARGET  Ascend, GPU, CPU or auto (default: auto)
# DEVICE_NUM     devices of this host; with 2 or more, a training on all of them is checked too (default: 1)
# OUTPUT_PATH    new folder for report.md, report.json, a trace and the logs of other processes (default: device_check)
#
# DGN_OPTIONS holds further options of `python -m dgn check`, with shell quoting: DGN_OPTIONS="--quick".
# The exit code is 0 if all checks passed, 1 if one failed.
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
check_usage 0 3 "$@"
check_device "${1:-auto}"
setup_python
single_process
read_options
exec "$PYTHON" -m dgn check --device "${1:-auto}" --devices "${2:-1}" --output "${3:-device_check}" \
    ${OPTIONS[@]+"${OPTIONS[@]}"}
