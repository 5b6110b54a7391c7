#!/usr/bin/env bash
# Exports a run's model as MindIR (decoder, encoder if there is one, inference, inference_lite). Each file is loaded
# again and compared with the model.
#
#   bash scripts/run_export.sh RUN_DIR [OUT]
#
# RUN_DIR  run folder of a training
# OUT      output folder (default: RUN_DIR/export, or RUN_DIR/export_mindir1 with --mindir-version 1)
#
# DGN_OPTIONS holds further options of `python -m dgn export`, with shell quoting: DGN_OPTIONS="--batch 1".
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
check_usage 1 2 "$@"
setup_python
single_process
read_options
exec "$PYTHON" -m dgn export "$@" ${OPTIONS[@]+"${OPTIONS[@]}"}
