#!/usr/bin/env bash
# Trains a model with several processes, one a device, by MindSpore's msrun.
#
#   bash scripts/run_distribute_train.sh [DEVICE_TARGET] [DEVICE_NUM] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]
#
# DEVICE_TARGET  Ascend, GPU or CPU (default: CPU)
# DEVICE_NUM     processes on this host (default: 2)
# CONFIG_PATH    recipe (default: config/faces_demo.yaml); its training.batch_size is that of all processes together
# DATA_PATH      folder of images, or a .mindrecord file (default: what the config says; without it faces are generated)
# OUTPUT_PATH    run folder, on storage that all hosts share (default: runs/<config name>)
#
# Several hosts: run it on each with MS_WORKER_NUM (processes on all hosts), MS_SCHED_HOST and MS_SCHED_PORT (the first
# host's address and a free port) and NODE_RANK (0 on the first host, 1 on the next ...).
# Further options of `python -m dgn train` can be given in DGN_OPTIONS, e.g. DGN_OPTIONS="--resume": a run goes on with any
# number of processes.
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
read -r -a OPTIONS <<<"${DGN_OPTIONS:-}"
case "$COUNT" in '' | *[!0-9]* | 0) echo "DEVICE_NUM is $COUNT; it must be the number of processes on this host" >&2; exit 2 ;; esac

setup_python
case " ${OPTIONS[*]:-} " in
*" --resume "*) ARGS=(train) ;;
*) ARGS=(train --config "$CONFIG") ;;
esac
ARGS+=(--device "$DEVICE" --output "$OUTPUT")
[ -z "$DATA" ] || ARGS+=(--data "$DATA")
ARGS+=(${OPTIONS[@]+"${OPTIONS[@]}"})

WORKERS=${MS_WORKER_NUM:-$COUNT}
HOST=${MS_SCHED_HOST:-127.0.0.1}
RANK=${NODE_RANK:-0}
PORT=${MS_SCHED_PORT:-$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')}
unset MS_WORKER_NUM MS_SCHED_HOST MS_SCHED_PORT # msrun sets them for each process
LOGS=$OUTPUT.logs/node_$RANK
rm -rf "$LOGS"
mkdir -p "$LOGS"
export PATH="$(dirname "$PYTHON"):$PATH" # msrun starts what is called python there
[ "$DEVICE" != CPU ] || export DGN_THREADS=${DGN_THREADS:-$(($(nproc) / COUNT > 0 ? $(nproc) / COUNT : 1))}

# what the first process of this host says is shown as it comes; all logs stay in OUTPUT_PATH.logs
"$(dirname "$PYTHON")/msrun" --worker_num="$WORKERS" --local_worker_num="$COUNT" --master_addr="$HOST" --master_port="$PORT" \
    --node_rank="$RANK" --join=True --log_dir="$LOGS" "$ROOT/src/dgn/__main__.py" "${ARGS[@]}" >"$LOGS/msrun.log" 2>&1 &
LAUNCHER=$!
trap 'kill -INT $LAUNCHER 2>/dev/null || true' INT TERM
FIRST=$LOGS/worker_$((RANK * COUNT)).log
(until [ -e "$FIRST" ]; do sleep 0.2; done; tail -n +1 -f "$FIRST") 2>/dev/null &
FOLLOWER=$!
STATUS=0
wait "$LAUNCHER" || STATUS=$?
sleep 0.5
pkill -P "$FOLLOWER" 2>/dev/null || true
kill "$FOLLOWER" 2>/dev/null || true
if [ "$STATUS" -ne 0 ]; then
    for LOG in "$LOGS"/worker_*.log; do
        SAID=$(grep -h '^dgn: ' "$LOG" | tail -n 1 || true)
        [ -z "$SAID" ] || echo "$(basename "$LOG" .log): $SAID" >&2
    done
    echo "a process ended with an error; the logs of all are in $LOGS" >&2
fi
exit "$STATUS"
