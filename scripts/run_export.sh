#!/usr/bin/env bash
# Exports a run's model as MindIR files (decoder and inference). Each file is loaded again and compared with the model.
#
#   bash scripts/run_export.sh RUN_DIR [OUT]
#
# RUN_DIR  run folder of a training
# OUT      folder of the files (default: RUN_DIR/export)
#
# DGN_OPTIONS holds further options of `python -m dgn export`, with shell quoting: DGN_OPTIONS="--batch 1".
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
check_usage 1 2 "$@"
setup_python
single_process
read_options
exec "$PYTHON" -m dgn export "$@" ${OPTIONS[@]+"${OPTIONS[@]}"}
