#!/usr/bin/env bash
# Runs an exported model with the C++ program of ascend310_infer, and compares its results with those of Python.
#
#   bash scripts/run_infer_310.sh MINDIR_PATH DATA_PATH [DEVICE_TYPE] [DEVICE_ID] [OUTPUT_PATH]
#
# MINDIR_PATH  folder written by run_export.sh, or its decoder.mindir
# DATA_PATH    folder of images, which are cropped as the run's config specifies; or folder of latents: the output of
#              `python -m dgn infer`, or subfolders z_app and z_geo (one-group models: z) of float32 .npy or .bin files
# DEVICE_TYPE  Ascend310 (Ascend 310), Ascend (310P, 310B, 910B) or CPU (default: Ascend310)
# DEVICE_ID    (default: 0)
# OUTPUT_PATH  new folder for the results (default: infer_310 in the folder of MINDIR_PATH); what this script left there
#              unfinished is replaced
#
# Steps: build the program; write the inputs as arrays; infer the latents of the images (by the encoder, if there is
# one; by Langevin steps, one call, then all calls) and decode them; traverse the strongest dimensions of each latent
# group; recombine the first 8 samples; compare with Python and draw overview.png. The exit code is that of the first
# step that fails.
#
# MSLITE_HOME        MindSpore Lite (default: see ascend310_infer/build.sh)
# DGN_BUILD          build folder (default: ascend310_infer/build)
# DGN_DESCENT_STEPS  noiseless steps of inference (default: 300)
# DGN_THREADS        CPU threads (default: one per core)
#
# MindSpore Lite and options of the export (DGN_OPTIONS of run_export.sh) for a device:
#   Ascend 310 (Atlas 200, 300): Lite 2.0, --mindir-version 1 --batch 8
#   Ascend 310P, 310B, 910B:     Lite 2.7 or newer, --target ascend --batch 8
#
# Lite 2.7 or newer loads these files unchanged and compiles them for the device at each start. converter_lite compiles
# them once. Its output goes into a copy of the export folder, which is then MINDIR_PATH:
#   export LD_LIBRARY_PATH=$MSLITE_HOME/tools/converter/lib:$LD_LIBRARY_PATH
#   cp -r RUN_DIR/export RUN_DIR/export_ascend
#   printf '[ascend_context]\nprecision_mode=preferred_fp32\n' >converter.cfg  # the default is enforce_fp16
#   for NAME in decoder inference_lite; do  # and encoder, if there is an encoder.mindir
#     "$(bash ascend310_infer/build.sh --converter)" --fmk=MINDIR --saveType=MINDIR --optimize=ascend_oriented \
#       --configFile=converter.cfg --modelFile=RUN_DIR/export/$NAME.mindir --outputFile=RUN_DIR/export_ascend/$NAME
#   done
# The shapes are fixed by --batch of the export. This is the documented use of converter_lite; not tested on a device.
set -euo pipefail

. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
check_usage 2 5 "$@"
MINDIR=$1
DATA=$2
DEVICE=${3:-Ascend310}
ID=${4:-0}
if [ -d "$MINDIR" ]; then FOLDER=$MINDIR; else FOLDER=$(dirname -- "$MINDIR"); fi
OUTPUT=${5:-$FOLDER/infer_310}
BUILD=${DGN_BUILD:-$ROOT/ascend310_infer/build}
if [ -n "${DGN_SETTLE:-}" ]; then
    echo "$(basename -- "$0"): note: DGN_SETTLE is now DGN_DESCENT_STEPS" >&2
    DGN_DESCENT_STEPS=${DGN_DESCENT_STEPS:-$DGN_SETTLE}
fi
DESCENT_STEPS=${DGN_DESCENT_STEPS:-300}
GAMMA=3
case "$DEVICE" in
CPU) PRECISION=float32 ;;
Ascend | Ascend310) PRECISION=float16 ;; # precision of Ascend's matrix unit
*) fail "DEVICE_TYPE is $DEVICE; it must be Ascend310 (Ascend 310), Ascend (310P, 310B, 910B) or CPU" ;;
esac
setup_python
single_process
export DGN_PYTHON=$PYTHON

bash "$ROOT/ascend310_infer/build.sh" "$BUILD"
"$PYTHON" -m dgn infer310 prepare "$MINDIR" "$DATA" "$OUTPUT" --device CPU

# job NAME OPTIONS ...: runs the program, with its results in OUTPUT/NAME. Without GLOG_v it would start itself again to
# turn off the log of MindSpore Lite.
job() {
    echo "-- $1"
    GLOG_v=${GLOG_v:-4} "$BUILD/dgn_infer" --device_type "$DEVICE" --device_id "$ID" --threads "${DGN_THREADS:-0}" \
        --output_path "$OUTPUT/$1" "${@:2}"
}

if [ -d "$OUTPUT/images" ]; then
    INFER=(--job infer --mindir_path "$FOLDER/inference_lite.mindir" --input_path "$OUTPUT/images" --steps 0)
    [ ! -d "$OUTPUT/start" ] || INFER+=(--start_path "$OUTPUT/start")
    [ ! -f "$FOLDER/encoder.mindir" ] ||
        job encode --job encode --mindir_path "$FOLDER/encoder.mindir" --input_path "$OUTPUT/images"
    job first_call "${INFER[@]}" --descent_steps 1
    job latents "${INFER[@]}" --descent_steps "$DESCENT_STEPS"
fi
DECODER=(--mindir_path "$FOLDER/decoder.mindir" --input_path "$OUTPUT/latents")
job reconstruct "${DECODER[@]}"
for GROUP in z_app z_geo z; do
    [ ! -d "$OUTPUT/latents/$GROUP" ] ||
        job "traverse_$GROUP" --job traverse --group "$GROUP" --gamma "$GAMMA" "${DECODER[@]}"
done
[ -d "$OUTPUT/latents/z" ] || job recombine --job recombine --second_path "$OUTPUT/latents" --limit 8 "${DECODER[@]}"

echo "-- check"
exec "$PYTHON" -m dgn infer310 check "$MINDIR" "$OUTPUT" --device CPU --descent-steps "$DESCENT_STEPS" --gamma "$GAMMA" \
    --precision "$PRECISION"
