#!/usr/bin/env bash
# Trains a model in one process, evaluates it and draws its figures.
#
#   bash scripts/run_train.sh [DEVICE_TARGET] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]
#
# DEVICE_TARGET  Ascend, GPU, CPU or auto (default: auto, the first of these that is available)
# CONFIG_PATH    recipe (default: config/faces_demo.yaml)
# DATA_PATH      folder of images or .mindrecord file (default: the recipe's; if it has none, generated faces)
# OUTPUT_PATH    new run folder (default: runs/<config name>, with a number if that exists)
#
# DGN_OPTIONS holds further options of `python -m dgn train`, with shell quoting: DGN_OPTIONS="--resume",
# DGN_OPTIONS='--set "data.path=/my photos"'.
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
check_usage 0 4 "$@"
DEVICE=${1:-auto}
CONFIG=${2:-$ROOT/config/faces_demo.yaml}
DATA=${3:-}
OUTPUT=${4:-}

check_device "$DEVICE"
setup_python
single_process
train_arguments "$DEVICE" "$CONFIG" "$DATA" "$OUTPUT"
exec "$PYTHON" -m dgn "${ARGS[@]}"
