#!/usr/bin/env bash
# Trains a model with several processes, one per device, on one host or several. MindSpore's msrun starts them.
#
#   bash scripts/run_distribute_train.sh [DEVICE_TARGET] [DEVICE_NUM] [CONFIG_PATH] [DATA_PATH] [OUTPUT_PATH]
#
# DEVICE_TARGET  Ascend, GPU, CPU or auto (default: auto, the first of these that is available)
# DEVICE_NUM     number of processes on this host (default: 2)
# CONFIG_PATH    recipe (default: config/faces_demo.yaml); training.batch_size is the batch of all processes together
# DATA_PATH      folder of images or .mindrecord file (default: the recipe's; if it has none, generated faces)
# OUTPUT_PATH    run folder (default: runs/<config name>). The logs of the processes are in OUTPUT_PATH.logs, or with
#                several hosts in node_<NODE_RANK> there; those of earlier starts end in .1 (the newest) to .3.
#
# Several hosts: run the same command on each with these variables. OUTPUT_PATH must be on a file system that all hosts
# share, and DATA_PATH must have the same files on each.
#   MASTER_ADDR       address of the first host
#   MASTER_PORT       free port of the first host (on one host the default is any free port)
#   WORKER_NUM        number of processes on all hosts
#   NODE_RANK         0 on the first host, 1 on the second ...
#   CLUSTER_TIME_OUT  seconds to wait for the other hosts at the start (default: 600)
#
# Other variables:
#   DGN_OPTIONS       further options of `python -m dgn train`, with shell quoting: DGN_OPTIONS="--resume". A run may be
#                     resumed with any number of processes that divides the batch.
#   DGN_PATIENCE      seconds that a process waits for the others, which may be writing files (default: 3600). It
#                     determines HCCL_EXEC_TIMEOUT and MS_NODE_TIMEOUT unless they are set.
#   ASCEND_RT_VISIBLE_DEVICES (for GPUs CUDA_VISIBLE_DEVICES)  the devices of this host to use, such as 4,5,6,7
#   ASCEND_PROCESS_LOG_PATH  folder of CANN's logs (default: cann in the folder of logs)
#   DGN_BIND_CORE     whether msrun binds the processes to cores near their devices (default: True; not used on CPU)
#
# Ctrl-C on any host, or the end of the terminal's session, saves a checkpoint and ends all processes (exit code 130).
# Otherwise the exit code is that of the process that failed.
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
check_usage 0 5 "$@"
DEVICE=${1:-auto}
LOCAL=${2:-2}
CONFIG=${3:-$ROOT/config/faces_demo.yaml}
DATA=${4:-}
NAME=$(basename -- "$CONFIG")
OUTPUT=${5:-runs/${NAME%.*}}
OUTPUT=${OUTPUT%/}
NODE=${NODE_RANK:-0}
TOTAL=${WORKER_NUM:-$LOCAL}
PATIENCE=${DGN_PATIENCE:-3600}

# check_integer NAME VALUE MINIMUM MEANING
check_integer() {
    case "$2" in
    '' | *[!0-9]* | 0?*) ;;
    *) [ "$2" -lt "$3" ] || return 0 ;;
    esac
    fail "$1 is $2; it must be $4"
}

check_arguments() {
    local variable
    check_device "$DEVICE"
    check_integer DEVICE_NUM "$LOCAL" 1 "the number of processes on this host"
    check_integer NODE_RANK "$NODE" 0 "0 on the first host, 1 on the second ..."
    check_integer WORKER_NUM "$TOTAL" 1 "the number of processes on all hosts"
    check_integer DGN_PATIENCE "$PATIENCE" 1 "a number of seconds"
    if [ $((TOTAL % LOCAL)) -ne 0 ] || [ $((NODE * LOCAL)) -ge "$TOTAL" ]; then
        fail "WORKER_NUM is $TOTAL, DEVICE_NUM $LOCAL, NODE_RANK $NODE; each host runs DEVICE_NUM of WORKER_NUM processes"
    fi
    for variable in MASTER_ADDR MASTER_PORT NODE_RANK; do
        [ "$TOTAL" -eq "$LOCAL" ] || [ -n "${!variable:-}" ] ||
            fail "several hosts need MASTER_ADDR, MASTER_PORT and NODE_RANK; see --help"
    done
}

# Fails if fewer cards than processes are visible, as the runtimes of CANN and CUDA read them: numbers with commas
# between.
check_cards() {
    local visible commas
    case "$DEVICE" in
    Ascend) visible=ASCEND_RT_VISIBLE_DEVICES ;;
    GPU) visible=CUDA_VISIBLE_DEVICES ;;
    *) return 0 ;;
    esac
    [ -n "${!visible:-}" ] || return 0
    commas=${!visible//[!,]/}
    [ $((${#commas} + 1)) -ge "$LOCAL" ] ||
        fail "DEVICE_NUM is $LOCAL, and $visible lists $((${#commas} + 1)) of this host's devices: ${!visible}"
}

# Fails if OUTPUT holds a run that is not resumed, or that another launcher trains.
check_output() {
    local other
    case " ${ARGS[*]} " in
    *" --resume "*) ;;
    *) [ ! -e "$OUTPUT/config.yaml" ] || # before the logs of that run are removed
        fail "$OUTPUT already holds a run: DGN_OPTIONS=--resume continues it, another OUTPUT_PATH starts a new one" ;;
    esac
    other=$(cat -- "$LOGS/launcher" 2>/dev/null || true)
    # the launcher may have been killed and its process id reused, so the command line is checked
    [ -z "$other" ] || ! { tr '\0' ' ' <"/proc/$other/cmdline"; } 2>/dev/null | grep -q run_distribute_train ||
        fail "$OUTPUT is in use by the launcher with process id $other; wait for it, or stop it"
}

# holds_logs FOLDER: whether a launcher made it, on one host or several
holds_logs() {
    local file
    for file in "$1"/started "$1"/node_*/started; do [ ! -e "$file" ] || return 0; done
    return 1
}

# Makes the folder LOGS; the logs of earlier starts stay as LOGS.1, the newest, to LOGS.3.
rotate_logs() {
    local folder k
    if [ -e "$LOGS" ]; then
        for folder in "$LOGS" "$LOGS".[123]; do
            [ ! -e "$folder" ] || holds_logs "$folder" ||
                fail "$folder is no folder of logs, whose place it takes; move it, or choose another OUTPUT_PATH"
        done
        rm -rf -- "$LOGS.3"
        for k in 2 1; do [ ! -e "$LOGS.$k" ] || mv -- "$LOGS.$k" "$LOGS.$((k + 1))"; done
        mv -- "$LOGS" "$LOGS.1"
    fi
    mkdir -p -- "$LOGS/bin"
    touch -- "$LOGS/started"
    echo $$ >"$LOGS/launcher"
}

# clamp VALUE LOW HIGH
clamp() { echo $(($1 < $2 ? $2 : $1 > $3 ? $3 : $1)); }

# Exports the variables of MindSpore and CANN. The range of HCCL_EXEC_TIMEOUT is that of CANN's documentation.
# HCCL_CONNECT_TIMEOUT is not derived: the processes connect immediately at the start, and MindSpore sets it to 600.
# `python -m dgn` sets MS_NODE_TIMEOUT only in the training processes, because the scheduler needs its short default to
# notice a process that died.
export_environment() {
    export DGN_PATIENCE=$PATIENCE
    export HCCL_EXEC_TIMEOUT=${HCCL_EXEC_TIMEOUT:-$(clamp "$PATIENCE" 68 17340)}
    if [ "$DEVICE" = Ascend ] && [ -z "${ASCEND_PROCESS_LOG_PATH:-}" ]; then
        mkdir -p -- "$LOGS/cann"
        ASCEND_PROCESS_LOG_PATH=$(CDPATH='' cd -- "$LOGS/cann" && pwd)
        export ASCEND_PROCESS_LOG_PATH
    fi
    # msrun writes the exit code of a process into a line of the level ERROR, which a GLOG_v above 3 would hide
    [ "${GLOG_v:-3}" -le 3 ] || unset GLOG_v
}

# Starts the processes; sets LAUNCHER to the process id of msrun.
start_msrun() {
    local bin address=127.0.0.1 port cores options
    [ "$TOTAL" -eq "$LOCAL" ] || address=$MASTER_ADDR
    port=${MASTER_PORT:-$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')}
    options=(--worker_num="$TOTAL" --local_worker_num="$LOCAL" --master_addr="$address" --master_port="$port"
        --node_rank="$NODE" --cluster_time_out="${CLUSTER_TIME_OUT:-600}" --join=True --log_dir="$LOGS")
    if [ "$DEVICE" = CPU ]; then
        # nproc would follow OMP_NUM_THREADS and not know of a container's quota
        cores=$("$PYTHON" -c 'from dgn.machine import cores; print(cores())')
        export DGN_THREADS=${DGN_THREADS:-$((cores / LOCAL > 0 ? cores / LOCAL : 1))}
    else
        case "$("$MSRUN" --help 2>/dev/null || true)" in
        *--bind_core*) options+=(--bind_core="${DGN_BIND_CORE:-True}") ;;
        esac
    fi
    # msrun runs the command python on PATH, whatever its own Python is
    bin=$(CDPATH='' cd -- "$LOGS/bin" && pwd)
    printf '#!/bin/sh\nexec %s "$@"\n' "$(quoted "$PYTHON")" >"$bin/python"
    chmod +x -- "$bin/python"
    export PATH="$bin:$(dirname -- "$PYTHON"):$PATH"
    # in a session of its own: Ctrl-C in a terminal reaches only this script
    setsid "$MSRUN" "${options[@]}" "$ROOT/src/dgn/__main__.py" "${ARGS[@]}" >"$LOGS/msrun.log" 2>&1 &
    LAUNCHER=$!
}

# Prints the ids of the processes that msrun started: /proc/ID/stat is "ID (NAME) STATE PARENT ...".
children() {
    local file line
    for file in /proc/[0-9]*/stat; do
        { read -r line <"$file"; } 2>/dev/null || continue
        case "${line##*) }" in
        ?" $LAUNCHER "*) echo "${line%% *}" ;;
        esac
    done
}

# Asks the training processes of this host to save and exit, each once: a second signal ends them at once. Sets WORKERS
# to their number.
stop_workers() {
    local pid
    WORKERS=0
    for pid in $(children); do
        grep -zqx 'MS_ROLE=MS_WORKER' "/proc/$pid/environ" 2>/dev/null || continue
        WORKERS=$((WORKERS + 1))
        case " $ASKED " in *" $pid "*) continue ;; esac
        ASKED="$ASKED $pid"
        kill -TERM "$pid" 2>/dev/null || true
    done
}

# shellcheck disable=SC2317 # called by the trap
interrupted() {
    INTERRUPTED=1
    ASKED=
    stop_workers
}

# Prints the output of the first process of this host; sets TAIL to the process that does.
show_output() {
    local log=$LOGS/worker_$((NODE * LOCAL)).log
    (
        trap '' INT HUP # to show the last lines
        until [ -e "$log" ]; do sleep 0.2; done
        exec tail -n +1 -f -- "$log"
    ) 2>/dev/null &
    TAIL=$!
}

# Waits for msrun; sets STATUS to its exit code. msrun does not notice that a process of another host failed; the
# launcher of that host creates the file `failed`. The processes of this host are then ended, and FAILED_HOST is the
# folder of that file.
watch_hosts() {
    local flag idle=0
    STATUS=0
    FAILED_HOST=
    while kill -0 "$LAUNCHER" 2>/dev/null; do
        sleep 1 & # in the background, since a signal interrupts wait but not sleep
        wait $! || true
        if [ -n "$INTERRUPTED" ]; then
            stop_workers # those that started since
            [ "$WORKERS" -eq 0 ] && idle=$((idle + 1)) || idle=0
            # MindSpore's scheduler waits for minutes for processes that ended before they had connected
            # shellcheck disable=SC2046
            [ "$idle" -lt 10 ] || kill -KILL $(children) 2>/dev/null || true
        fi
        if [ "$TOTAL" -eq "$LOCAL" ] || [ -n "$FAILED_HOST" ]; then continue; fi
        for flag in "$OUTPUT.logs"/node_*/failed; do
            if [ "$flag" -nt "$LOGS/started" ]; then FAILED_HOST=$(dirname -- "$flag"); fi
        done
        if [ -n "$FAILED_HOST" ]; then
            sleep 3
            # shellcheck disable=SC2046
            kill -KILL $(children) 2>/dev/null || true
        fi
    done
    wait "$LAUNCHER" || STATUS=$?
}

# Prints which process failed and why; sets STATUS to its exit code.
report_failure() {
    local code log message said=
    if [ -n "$FAILED_HOST" ]; then
        echo "a process of another host failed, so the processes of this host were ended; see $FAILED_HOST" >&2
        STATUS=1
        return
    fi
    code=$(grep -o 'Error code: [0-9]*' "$LOGS/msrun.log" | head -n 1 | grep -o '[0-9]*$' || true)
    STATUS=${code:-$STATUS}
    # no process failed: those that were still starting ended without a message, or with this one
    if [ -n "$INTERRUPTED" ] && ! grep -hs '^dgn: ' "$LOGS"/worker_*.log | grep -vx 'dgn: interrupted' >/dev/null; then
        [ "$STATUS" -eq 130 ] || echo "interrupted before the training began" >&2
        STATUS=130
    fi
    for log in "$LOGS"/worker_*.log; do
        message=$(grep -h '^dgn: ' "$log" | tail -n 1 || true)
        [ "$message" = "$said" ] || echo "$(basename -- "$log" .log): $message" >&2 # the same mistake is named once
        said=${message:-$said}
    done
    [ "$STATUS" -ne 130 ] || return 0
    echo "a process failed; the logs of all processes are in $LOGS" >&2
    [ "$DEVICE" != Ascend ] || echo "those of CANN are in $ASCEND_PROCESS_LOG_PATH" >&2
    touch -- "$LOGS/failed"
}

check_arguments
setup_python
unset_launch_variables "msrun describes the processes itself" # a rank table that is left over describes others
# once, so that all processes have the same
[ "$DEVICE" != auto ] || DEVICE=$("$PYTHON" -c 'from dgn import device; print(device.preferred())' | tail -n 1) ||
    fail "MindSpore does not tell which device is here: name it as DEVICE_TARGET; dgn.sh doctor shows what is missing"
check_cards
MSRUN=$(dirname -- "$PYTHON")/msrun
[ -x "$MSRUN" ] || MSRUN=$(command -v msrun) || fail "MindSpore's msrun is neither next to $PYTHON nor on PATH"
train_arguments "$DEVICE" "$CONFIG" "$DATA" "$OUTPUT"
LOGS=$OUTPUT.logs
[ "$TOTAL" -eq "$LOCAL" ] || LOGS=$LOGS/node_$NODE
check_output
rotate_logs
export_environment
# An interrupted msrun kills its processes before they can save. SIGTERM makes them save and exit.
INTERRUPTED=
ASKED=
LAUNCHER=none
trap interrupted INT TERM HUP
start_msrun
show_output
watch_hosts
sleep 0.5
kill "$TAIL" 2>/dev/null || true
if [ -n "$FAILED_HOST" ] || [ "$STATUS" -ne 0 ]; then report_failure; fi
exit "$STATUS"
