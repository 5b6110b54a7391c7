#!/usr/bin/env bash
# Evaluates a run and prints `result: {...} ckpt=...`. For the run's own images it also writes metrics.json there.
#
#   bash scripts/run_eval.sh RUN_DIR [DEVICE_TARGET] [IMAGES]
#
# RUN_DIR        run folder of a training
# DEVICE_TARGET  Ascend, GPU, CPU or auto (default: auto)
# IMAGES         folder of other images (default: the run's training images and held-out images)
#
# DGN_OPTIONS holds further options of `python -m dgn evaluate`, with shell quoting: DGN_OPTIONS="--steps 100".
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
check_usage 1 3 "$@"
check_device "${2:-auto}"
setup_python
single_process
ARGS=(evaluate "$1" --device "${2:-auto}")
[ -z "${3:-}" ] || ARGS+=(--images "$3")
read_options
exec "$PYTHON" -m dgn "${ARGS[@]}" ${OPTIONS[@]+"${OPTIONS[@]}"}
