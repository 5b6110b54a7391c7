#!/usr/bin/env bash
# Runs an exported model with the C++ program of ascend310_infer, and checks what it gives against Python.
#
#   bash scripts/run_infer_310.sh MINDIR_PATH DATA_PATH [DEVICE_TYPE] [DEVICE_ID] [OUTPUT_PATH]
#
# MINDIR_PATH  folder that run_export.sh wrote, or its decoder.mindir (for MindSpore Lite 2.0 export with --mindir-version 1)
# DATA_PATH    folder of images, cut as the run's config says; or of latents: what `python -m dgn infer` wrote, or subfolders
#              z_app and z_geo (a plain model: z) with .npy or .bin files of float32
# DEVICE_TYPE  Ascend310 (default), Ascend or CPU
# DEVICE_ID    (default: 0)
# OUTPUT_PATH  new folder for the results (default: infer_310 beside the files of MINDIR_PATH)
#
# Stages: prepare arrays; build; infer latents of the images (by one call, then by all), decode them, traverse both groups' strongest dimensions, recombine the
# first 8 samples; compare all with Python and draw overview.png. A stage that fails ends the script with its exit code.
# MSLITE_HOME names a MindSpore Lite (default: see ascend310_infer/build.sh), DGN_BUILD the folder of the build (default:
# ascend310_infer/build); DGN_SETTLE sets the steps of inference (default: 300), DGN_THREADS the threads on CPU (default: one a core).
set -euo pipefail

if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ] || [ $# -lt 2 ] || [ $# -gt 5 ]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    case "${1:-}" in -h | --help) exit 0 ;; *) exit 2 ;; esac
fi

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
MINDIR=$1
DATA=$2
DEVICE=${3:-Ascend310}
ID=${4:-0}
[ -d "$MINDIR" ] && FOLDER=$MINDIR || FOLDER=$(dirname "$MINDIR")
OUTPUT=${5:-$FOLDER/infer_310}
BUILD=${DGN_BUILD:-$ROOT/ascend310_infer/build}
SETTLE=${DGN_SETTLE:-300}
GAMMA=3
case "$DEVICE" in
CPU) PRECISION=float32 ;;
Ascend | Ascend310) PRECISION=float16 ;; # of its matrix unit
*) echo "DEVICE_TYPE is $DEVICE; it must be Ascend310, Ascend or CPU" >&2; exit 2 ;;
esac
setup_python
export DGN_PYTHON=$PYTHON

"$PYTHON" -m dgn infer310 prepare "$MINDIR" "$DATA" "$OUTPUT" --device CPU
bash "$ROOT/ascend310_infer/build.sh" "$BUILD"

# job NAME OPTIONS ...: runs the program, its results in OUTPUT/NAME
job() {
    echo "-- $1"
    "$BUILD/dgn_infer" --device_type "$DEVICE" --device_id "$ID" --threads "${DGN_THREADS:-0}" --output_path "$OUTPUT/$1" "${@:2}"
}

if [ -d "$OUTPUT/images" ]; then
    START=()
    [ ! -d "$OUTPUT/start" ] || START=(--start_path "$OUTPUT/start")
    INFER=(--job infer --mindir_path "$FOLDER/inference_lite.mindir" --input_path "$OUTPUT/images" ${START[@]+"${START[@]}"} --steps 0)
    job first_call "${INFER[@]}" --settle 1
    job latents "${INFER[@]}" --settle "$SETTLE"
fi
DECODER=(--mindir_path "$FOLDER/decoder.mindir" --input_path "$OUTPUT/latents")
job reconstruct "${DECODER[@]}"
for GROUP in z_app z_geo z; do
    [ ! -d "$OUTPUT/latents/$GROUP" ] || job "traverse_$GROUP" --job traverse --group "$GROUP" --gamma "$GAMMA" "${DECODER[@]}"
done
[ -d "$OUTPUT/latents/z" ] || job recombine --job recombine --second_path "$OUTPUT/latents" --limit 8 "${DECODER[@]}"

echo "-- check"
exec "$PYTHON" -m dgn infer310 check "$MINDIR" "$OUTPUT" --device CPU --settle "$SETTLE" --gamma "$GAMMA" \
    --precision "$PRECISION"
