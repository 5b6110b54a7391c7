#!/usr/bin/env bash
# Runs one of the paper's experiments.
#
#   bash scripts/run_experiment.sh NAME [OPTIONS]
#
# NAME     baselines, views, transfer, expressions, animals, labels, landmarks, balance, adversarial; of clips: recombination, shape,
#          sampling, recognition
# OPTIONS  those of `python -m dgn experiment NAME`; NAME --help lists them
set -euo pipefail

if [ $# -lt 1 ] || [ "$1" = "-h" ] || [ "$1" = "--help" ]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    [ $# -ge 1 ] && exit 0 || exit 2
fi

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
setup_python
exec "$PYTHON" -m dgn experiment "$@"
