#!/usr/bin/env bash
# Measures a trained run; prints `result: {...} ckpt=...`, and for its own images writes metrics.json into the run folder.
#
#   bash scripts/run_eval.sh RUN_DIR [DEVICE_TARGET] [IMAGES]
#
# RUN_DIR        output folder of run_train.sh
# DEVICE_TARGET  Ascend, GPU, CPU or auto (default)
# IMAGES         folder of other images (default: the run's own, those of its training and those held out)
set -euo pipefail

if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ] || [ $# -lt 1 ] || [ $# -gt 3 ]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    case "${1:-}" in -h | --help) exit 0 ;; *) exit 2 ;; esac
fi

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
setup_python
ARGS=(evaluate "$1" --device "${2:-auto}")
[ -z "${3:-}" ] || ARGS+=(--images "$3")
exec "$PYTHON" -m dgn "${ARGS[@]}"
