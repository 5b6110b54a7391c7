#!/usr/bin/env bash
# Writes a run's model as MindIR files (decoder and inference), each compared with the model before it is kept.
#
#   bash scripts/run_export.sh RUN_DIR [OUT]
#
# RUN_DIR  output folder of run_train.sh
# OUT      folder of the files (default: RUN_DIR/export)
#
# Further options of `python -m dgn export` can be given in DGN_OPTIONS, e.g. DGN_OPTIONS="--batch 1".
set -euo pipefail

if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ] || [ $# -lt 1 ] || [ $# -gt 2 ]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    case "${1:-}" in -h | --help) exit 0 ;; *) exit 2 ;; esac
fi

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
read -r -a OPTIONS <<<"${DGN_OPTIONS:-}"
setup_python
exec "$PYTHON" -m dgn export "$@" ${OPTIONS[@]+"${OPTIONS[@]}"}
