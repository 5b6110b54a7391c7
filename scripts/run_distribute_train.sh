#!/usr/bin/env bash
# Trains a model with several processes, one a device, by MindSpore's msrun, on one host or several.
#
#   bash scripts/run_distribute_train.sh [DEVICE_TARGET] [DEVICE_NUM] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]
#
# DEVICE_TARGET  Ascend, GPU or CPU (default: CPU)
# DEVICE_NUM     processes on this host (default: 2)
# CONFIG_PATH    recipe (default: config/faces_demo.yaml); its training.batch_size is that of all processes together
# DATA_PATH      folder of images, or a .mindrecord file (default: what the config says; without it faces are generated)
# OUTPUT_PATH    run folder (default: runs/<config name>)
#
# Several hosts: the same command on each, with as many processes, and these variables (msrun's options of these names):
#   MASTER_ADDR       address of the first host
#   MASTER_PORT       a free port there
#   WORKER_NUM        processes of all hosts together
#   NODE_RANK         0 on the first host, 1 on the second ...
#   CLUSTER_TIME_OUT  seconds to wait for the other hosts (default: 600)
# OUTPUT_PATH must then be on a file system that all hosts share, and DATA_PATH hold the same files everywhere.
#
# Further options of `python -m dgn train` can be given in DGN_OPTIONS, e.g. DGN_OPTIONS="--resume": a run goes on with any
# number of processes that divides the batch. Ctrl-C, on any host, saves and says how to go on. The exit code is the failed
# process's. On one host MASTER_PORT is a free one unless it is set.
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
NODE=${NODE_RANK:-0}
case "$COUNT" in '' | *[!0-9]* | 0) echo "DEVICE_NUM is $COUNT; it must be the number of processes on this host" >&2; exit 2 ;; esac
case "$NODE" in '' | *[!0-9]*) echo "NODE_RANK is $NODE; it must be 0 on the first host, 1 on the second ..." >&2; exit 2 ;; esac
ALL=${WORKER_NUM:-$COUNT}
case "$ALL" in '' | *[!0-9]* | 0) echo "WORKER_NUM is $ALL; it must be the number of processes of all hosts" >&2; exit 2 ;; esac
if [ $((ALL % COUNT)) -ne 0 ] || [ $((NODE * COUNT)) -ge "$ALL" ]; then
    echo "WORKER_NUM is $ALL, DEVICE_NUM $COUNT, NODE_RANK $NODE; every host has DEVICE_NUM of the WORKER_NUM processes" >&2
    exit 2
fi
if [ "$ALL" -gt "$COUNT" ] && { [ -z "${MASTER_ADDR:-}" ] || [ -z "${MASTER_PORT:-}" ] || [ -z "${NODE_RANK:-}" ]; }; then
    echo "several hosts need MASTER_ADDR, MASTER_PORT and NODE_RANK; see --help" >&2
    exit 2
fi

setup_python
MSRUN=$(dirname "$PYTHON")/msrun
[ -x "$MSRUN" ] || MSRUN=$(command -v msrun) || { echo "there is no msrun beside $PYTHON or on PATH; it comes with MindSpore" >&2; exit 2; }
train_arguments "$DEVICE" "$CONFIG" "$DATA" "$OUTPUT"

PORT=${MASTER_PORT:-$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')}
ADDRESS=127.0.0.1
LOGS=$OUTPUT.logs
[ "$ALL" -eq "$COUNT" ] || { ADDRESS=$MASTER_ADDR; LOGS=$LOGS/node_$NODE; }
rm -rf "$LOGS"
mkdir -p "$LOGS"
touch "$LOGS/started"
export PATH="$(dirname "$PYTHON"):$PATH" # msrun starts what is called python there
[ "$DEVICE" != CPU ] || export DGN_THREADS=${DGN_THREADS:-$(($(nproc) / COUNT > 0 ? $(nproc) / COUNT : 1))}

# what the first process of this host says is shown as it comes; the logs of all stay in OUTPUT_PATH.logs
"$MSRUN" --worker_num="$ALL" --local_worker_num="$COUNT" --master_addr="$ADDRESS" --master_port="$PORT" \
    --node_rank="$NODE" --cluster_time_out="${CLUSTER_TIME_OUT:-600}" --join=True --log_dir="$LOGS" \
    "$ROOT/src/dgn/__main__.py" "${ARGS[@]}" >"$LOGS/msrun.log" 2>&1 &
LAUNCHER=$!
SHOWN=$LOGS/worker_$((NODE * COUNT)).log

workers() { # their process ids, of this host
    local pid
    for pid in $(pgrep -P "$LAUNCHER" || true); do
        ! tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qx 'MS_ROLE=MS_WORKER' || echo "$pid"
    done
}

# msrun kills its processes when it is interrupted; they are asked to save instead, and end by themselves
trap 'kill -TERM $(workers) 2>/dev/null || true' INT TERM

(until [ -e "$SHOWN" ]; do sleep 0.2; done; exec tail -n +1 -f "$SHOWN") 2>/dev/null &
FOLLOWER=$!
STATUS=0
ELSEWHERE=
while kill -0 "$LAUNCHER" 2>/dev/null; do
    sleep 1 & # a signal ends the wait, not the launcher
    wait $! || true
    [ "$ALL" -gt "$COUNT" ] && [ -z "$ELSEWHERE" ] || continue
    # msrun misses a process that died on another host: its launcher leaves word, and ours would wait for ever
    for WORD in "$OUTPUT.logs"/node_*/failed; do
        [ "$WORD" -nt "$LOGS/started" ] && ELSEWHERE=$WORD || true
    done
    [ -z "$ELSEWHERE" ] || { sleep 3; kill -KILL $(pgrep -P "$LAUNCHER") 2>/dev/null || true; }
done
wait "$LAUNCHER" || STATUS=$?
sleep 0.5
kill "$FOLLOWER" 2>/dev/null || true
if [ -n "$ELSEWHERE" ]; then
    echo "a process of another host ended with an error, so these were ended too; see $(dirname "$ELSEWHERE")" >&2
    STATUS=1
elif [ "$STATUS" -ne 0 ]; then
    CODE=$(grep -o 'Error code: [0-9]*' "$LOGS/msrun.log" | head -n 1 | grep -o '[0-9]*$' || true)
    STATUS=${CODE:-$STATUS}
    for LOG in "$LOGS"/worker_*.log; do
        SAID=$(grep -h '^dgn: ' "$LOG" | tail -n 1 || true)
        [ -z "$SAID" ] || echo "$(basename "$LOG" .log): $SAID" >&2
    done
    if [ "$STATUS" -ne 130 ]; then
        echo "a process ended with an error; the logs of all are in $LOGS" >&2
        touch "$LOGS/failed"
    fi
fi
exit "$STATUS"
