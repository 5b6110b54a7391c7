#!/usr/bin/env bash
# Trains a model, evaluates it and draws its pictures.
#
#   bash scripts/run_train.sh [DEVICE_TARGET] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]
#
# DEVICE_TARGET  Ascend, GPU, CPU or auto (default: the first of these that is there)
# CONFIG_PATH    recipe (default: config/faces_demo.yaml)
# DATA_PATH      folder of images, or a .mindrecord file (default: what the config says; without it faces are generated)
# OUTPUT_PATH    run folder (default: runs/<config name>)
#
# Further options of `python -m dgn train` can be given in DGN_OPTIONS, e.g. DGN_OPTIONS="--resume".
set -euo pipefail

if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ] || [ $# -gt 4 ]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    [ $# -le 4 ] && exit 0 || exit 2
fi

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
DEVICE=${1:-auto}
CONFIG=${2:-$ROOT/config/faces_demo.yaml}
DATA=${3:-}
NAME=$(basename "$CONFIG")
OUTPUT=${4:-runs/${NAME%.*}}

setup_python
train_arguments "$DEVICE" "$CONFIG" "$DATA" "$OUTPUT"
# in the foreground; the program keeps its log in OUTPUT_PATH/train.log and its exit code is this script's
exec "$PYTHON" -m dgn "${ARGS[@]}"
