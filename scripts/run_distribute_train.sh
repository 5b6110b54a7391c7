#!/usr/bin/env bash
# Trains a model with several processes, one a device, by MindSpore's msrun.
#
#   bash scripts/run_distribute_train.sh [DEVICE_TARGET] [DEVICE_NUM] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]
#
# DEVICE_TARGET  Ascend, GPU or CPU (default: CPU)
# DEVICE_NUM     processes on this host (default: 2)
# CONFIG_PATH    recipe (default: config/faces_demo.yaml); its training.batch_size is that of all processes together
# DATA_PATH      folder of images, or a .mindrecord file (default: what the config says; without it faces are generated)
# OUTPUT_PATH    run folder (default: runs/<config name>)
#
# Further options of `python -m dgn train` can be given in DGN_OPTIONS, e.g. DGN_OPTIONS="--resume": a run goes on with any
# number of processes that divides the batch. Ctrl-C saves and says how to go on. The exit code is the failed process's.
# MS_SCHED_PORT sets the port by which the processes meet (default: a free one). One host: the processes share its files.
set -euo pipefail

if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ] || [ $# -gt 5 ]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    [ $# -le 5 ] && exit 0 || exit 2
fi

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
DEVICE=${1:-CPU}
COUNT=${2:-2}
CONFIG=${3:-$ROOT/config/faces_demo.yaml}
DATA=${4:-}
NAME=$(basename "$CONFIG")
OUTPUT=${5:-runs/${NAME%.*}}
OUTPUT=${OUTPUT%/}
case "$COUNT" in '' | *[!0-9]* | 0) echo "DEVICE_NUM is $COUNT; it must be the number of processes on this host" >&2; exit 2 ;; esac

setup_python
train_arguments "$DEVICE" "$CONFIG" "$DATA" "$OUTPUT"

PORT=${MS_SCHED_PORT:-$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')}
unset MS_SCHED_PORT # msrun sets it for each process
LOGS=$OUTPUT.logs
rm -rf "$LOGS"
mkdir -p "$LOGS"
export PATH="$(dirname "$PYTHON"):$PATH" # msrun starts what is called python there
[ "$DEVICE" != CPU ] || export DGN_THREADS=${DGN_THREADS:-$(($(nproc) / COUNT > 0 ? $(nproc) / COUNT : 1))}

# what the first process says is shown as it comes; the logs of all stay in OUTPUT_PATH.logs
"$(dirname "$PYTHON")/msrun" --worker_num="$COUNT" --local_worker_num="$COUNT" --master_addr=127.0.0.1 --master_port="$PORT" \
    --join=True --log_dir="$LOGS" "$ROOT/src/dgn/__main__.py" "${ARGS[@]}" >"$LOGS/msrun.log" 2>&1 &
LAUNCHER=$!

# msrun kills its processes when it is interrupted; they are asked to save instead, and end by themselves
stop() {
    local pid
    for pid in $(pgrep -P "$LAUNCHER" || true); do
        ! tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx 'MS_ROLE=MS_WORKER' || kill -TERM "$pid" 2>/dev/null || true
    done
}
trap stop INT TERM

(until [ -e "$LOGS/worker_0.log" ]; do sleep 0.2; done; exec tail -n +1 -f "$LOGS/worker_0.log") 2>/dev/null &
FOLLOWER=$!
STATUS=0
while kill -0 "$LAUNCHER" 2>/dev/null; do # a signal ends the wait, not the launcher
    STATUS=0
    wait "$LAUNCHER" || STATUS=$?
done
sleep 0.5
kill "$FOLLOWER" 2>/dev/null || true
if [ "$STATUS" -ne 0 ]; then
    CODE=$(grep -o 'Error code: [0-9]*' "$LOGS/msrun.log" | head -n 1 | grep -o '[0-9]*$' || true)
    STATUS=${CODE:-$STATUS}
    for LOG in "$LOGS"/worker_*.log; do
        SAID=$(grep -h '^dgn: ' "$LOG" | tail -n 1 || true)
        [ -z "$SAID" ] || echo "$(basename "$LOG" .log): $SAID" >&2
    done
    [ "$STATUS" -eq 130 ] || echo "a process ended with an error; the logs of all are in $LOGS" >&2
fi
exit "$STATUS"
