#!/usr/bin/env bash
# Builds the program dgn_infer with CMake.
#
#   bash ascend310_infer/build.sh [BUILD_DIR] [CMAKE_OPTIONS ...]
#   bash ascend310_infer/build.sh --fetch    only makes sure that MindSpore Lite is there
#
# BUILD_DIR  folder of the build (default: ascend310_infer/build)
#
# MindSpore Lite is looked for in MSLITE_HOME: a folder with include/api/model.h and lib/, or runtime/ with these. Where that is
# not set, the wheel mindspore-lite 2.0.0 of PyPI serves as SDK: it is fetched once (161 MiB on x86_64, 54 on aarch64), compared
# with its SHA-256, and kept in $DGN_CACHE (default: ~/.cache/dgn). Exit code 3: there is none and it cannot be fetched.
# DGN_PYTHON names the Python whose pip fetches it (default: python3).
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VERSION=2.0.0

if [ "${1:-}" = "-h" ] || [ "${1:-}" = "--help" ]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
fi

# Sets LITE, the folder with include/ and lib/, from the PyPI wheel.
fetch_lite() {
    local machine platform digest python wheel
    machine=$(uname -m)
    case "$machine" in
    x86_64) platform=manylinux1_x86_64 digest=199cd0605cc985b88eddb273db9dfe9000a585ba10ca2292b6b36ebfff07b3ec ;;
    aarch64) platform=manylinux2014_aarch64 digest=9006b56a0285833802b4880f34cbce5f94111ef5ca4071d5df5c61e8c2a3a6f7 ;;
    *) echo "PyPI has no MindSpore Lite for $machine; set MSLITE_HOME" >&2; exit 3 ;;
    esac
    local kept="${DGN_CACHE:-$HOME/.cache/dgn}/mindspore-lite-$VERSION-$machine"
    LITE="$kept/mindspore_lite"
    [ ! -d "$LITE" ] || return 0
    python=${DGN_PYTHON:-python3}
    mkdir -p "$(dirname "$kept")"
    SCRATCH=$(mktemp -d "$(dirname "$kept")/.mindspore-lite-XXXXXX")
    trap 'rm -rf "$SCRATCH"' EXIT
    echo "fetching mindspore-lite $VERSION for $machine from PyPI (once)" >&2
    if ! "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.7 --implementation cp \
        --abi cp37m --platform "$platform" --dest "$SCRATCH" "mindspore-lite==$VERSION" >&2; then
        echo "MindSpore Lite cannot be fetched from PyPI; set MSLITE_HOME to one, or try again with a network" >&2
        exit 3
    fi
    wheel=$(echo "$SCRATCH"/*.whl)
    if [ "$(sha256sum "$wheel" | cut -d ' ' -f 1)" != "$digest" ]; then
        echo "$(basename "$wheel") is not the file that it should be (SHA-256 $digest); it was not used" >&2
        exit 1
    fi
    "$python" -m zipfile -e "$wheel" "$SCRATCH/sdk"
    rm "$wheel"
    mv -T "$SCRATCH/sdk" "$kept" 2>/dev/null || [ -d "$LITE" ] # another build may have been faster
}

if [ -n "${MSLITE_HOME:-}" ]; then
    LITE=""
    for FOLDER in "$MSLITE_HOME" "$MSLITE_HOME/runtime"; do
        [ ! -f "$FOLDER/include/api/model.h" ] || LITE=$(cd "$FOLDER" && pwd)
    done
    [ -n "$LITE" ] || { echo "MSLITE_HOME is $MSLITE_HOME, and include/api/model.h is neither there nor in its runtime/" >&2; exit 2; }
else
    fetch_lite
fi
LIBRARY=""
for NAME in libmindspore-lite.so libmindspore-extendrt.so libmindspore-extendrt_python.so; do
    [ -n "$LIBRARY" ] || [ ! -f "$LITE/lib/$NAME" ] || LIBRARY="$LITE/lib/$NAME"
done
[ -n "$LIBRARY" ] || { echo "$LITE/lib holds no library of MindSpore Lite (libmindspore-lite.so ...)" >&2; exit 2; }
# the newest MindIR that it reads: 1 for Lite 2.0; others say it themselves
MINDIR=0
! grep -qs "'2\.0\." "$LITE/version.py" || MINDIR=1
if [ "${1:-}" = "--fetch" ]; then
    echo "$LITE"
    exit 0
fi

for TOOL in cmake "${CXX:-c++}"; do
    command -v "$TOOL" >/dev/null || { echo "$TOOL is needed to build dgn_infer, and is not on PATH" >&2; exit 1; }
done
BUILD=${1:-$HERE/build}
[ $# -eq 0 ] || shift
mkdir -p "$BUILD"
cmake -S "$HERE" -B "$BUILD" -DMSLITE_INCLUDE="$LITE" -DMSLITE_LIBRARY="$LIBRARY" -DMSLITE_MINDIR_VERSION="$MINDIR" "$@" >"$BUILD/configure.log" 2>&1 ||
    { cat "$BUILD/configure.log" >&2; exit 1; }
cmake --build "$BUILD" --target dgn_infer --parallel "$(nproc)"
echo "built $BUILD/dgn_infer with $LITE"
