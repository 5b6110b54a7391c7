#!/usr/bin/env bash
# Runs one of the paper's experiments.
#
#   bash scripts/run_experiment.sh NAME [OPTIONS]
#
# NAME     baselines, views, transfer, expressions, animals, labels, landmarks, balance or adversarial;
#          for clips: recombination, shape, sampling or recognition
# OPTIONS  options of `python -m dgn experiment NAME`; NAME --help lists them
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
check_usage 1 "" "$@"
setup_python
single_process
exec "$PYTHON" -m dgn experiment "$@"
