#!/usr/bin/env bash
# Runs any command of the program, after the set-up.
#
#   bash scripts/dgn.sh COMMAND [OPTIONS]
#
# COMMAND  of `python -m dgn`: page, figures, infer, data, encoder ...; `doctor` checks the machine
# OPTIONS  of the command; COMMAND --help lists them
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
check_usage 1 "" "$@"
setup_python
single_process
exec "$PYTHON" -m dgn "$@"
