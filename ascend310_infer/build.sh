#!/usr/bin/env bash
# Builds the program dgn_infer with CMake.
#
#   bash ascend310_infer/build.sh [BUILD_DIR] [CMAKE_OPTIONS ...]
#   bash ascend310_infer/build.sh --fetch       only find or download MindSpore Lite, and print its folder
#   bash ascend310_infer/build.sh --converter   print the path of converter_lite in MSLITE_HOME
#
# BUILD_DIR    folder of the build (default: ascend310_infer/build)
#
# MSLITE_HOME  folder of an unpacked MindSpore Lite package (mindspore-lite-VERSION-linux-ARCH, with runtime/include,
#              runtime/lib and tools/converter), or a folder with include and lib. Without it, the wheel mindspore-lite
#              2.0.0 from PyPI is used: it is downloaded once (161 MiB on x86_64, 54 MiB on aarch64), verified by its
#              SHA-256, and kept in $DGN_CACHE (default: ~/.cache/dgn), a folder of the user who builds.
# DGN_PYTHON   Python whose pip downloads the wheel (default: python3)
# CXX          C++ compiler, GCC 7.3 or newer. The sources are C++14 without std::filesystem and newer headers.
#
# Exit codes: 1 the build failed, 2 MSLITE_HOME is not usable, 3 there is no MindSpore Lite and it cannot be downloaded
# or kept.
set -euo pipefail

HERE=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
VERSION=2.0.0

# fail CODE MESSAGE
fail() {
    echo "build.sh: $2" >&2
    exit "$1"
}

# Sets LITE to the folder with include/ and lib/ of the PyPI wheel, which is downloaded if it is not in the cache.
fetch_lite() {
    local machine platform digest cache kept wheel python=${DGN_PYTHON:-python3}
    machine=$(uname -m)
    case "$machine" in
    x86_64)
        platform=manylinux1_x86_64
        digest=199cd0605cc985b88eddb273db9dfe9000a585ba10ca2292b6b36ebfff07b3ec
        ;;
    aarch64)
        platform=manylinux2014_aarch64
        digest=9006b56a0285833802b4880f34cbce5f94111ef5ca4071d5df5c61e8c2a3a6f7
        ;;
    *) fail 3 "PyPI has no MindSpore Lite for $machine; set MSLITE_HOME to the folder of one" ;;
    esac
    [ -n "${DGN_CACHE:-}${XDG_CACHE_HOME:-}${HOME:-}" ] ||
        fail 3 "no folder to keep MindSpore Lite in: set DGN_CACHE to one, or MSLITE_HOME to a MindSpore Lite"
    cache=${DGN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dgn}
    mkdir -p -m 700 "$cache" || fail 3 "cannot make the folder $cache; set DGN_CACHE to a folder of yours"
    cache=$(CDPATH='' cd -- "$cache" && pwd) # the program keeps the path
    [ -O "$cache" ] && [ -z "$(find "$cache" -maxdepth 0 -perm /022)" ] ||
        fail 3 "$cache belongs to another user, or others can write to it (chmod go-w); set DGN_CACHE to a folder of yours"
    kept=$cache/mindspore-lite-$VERSION-$machine
    LITE=$kept/mindspore_lite
    [ ! -d "$LITE" ] || return 0
    SCRATCH=$(mktemp -d "$cache/.mindspore-lite-XXXXXX")
    trap 'rm -rf "$SCRATCH"' EXIT
    echo "downloading mindspore-lite $VERSION for $machine from PyPI (once)" >&2
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.7 \
        --implementation cp --abi cp37m --platform "$platform" --dest "$SCRATCH" "mindspore-lite==$VERSION" >&2 ||
        fail 3 "no MindSpore Lite: set MSLITE_HOME to an unpacked package of mindspore.cn, or give access to PyPI"
    wheel=$(echo "$SCRATCH"/*.whl)
    [ "$(sha256sum "$wheel" | cut -d ' ' -f 1)" = "$digest" ] ||
        fail 1 "the SHA-256 of $(basename "$wheel") is not $digest; the file was not used"
    "$python" -m zipfile -e "$wheel" "$SCRATCH/sdk"
    rm "$wheel"
    mv -T "$SCRATCH/sdk" "$kept" 2>/dev/null || [ -d "$LITE" ] # another build may have stored it meanwhile
}

# Sets LITE (the folder with include/ and lib/) and PACKAGE (MSLITE_HOME, or its parent if that is the runtime folder).
find_lite() {
    local folder
    PACKAGE=""
    LITE=""
    if [ -z "${MSLITE_HOME:-}" ]; then
        fetch_lite
        return 0
    fi
    [ -d "$MSLITE_HOME" ] || fail 2 "MSLITE_HOME is $MSLITE_HOME, which is not a folder"
    for folder in "$MSLITE_HOME/runtime" "$MSLITE_HOME"; do
        [ -n "$LITE" ] || [ ! -f "$folder/include/api/model.h" ] || LITE=$(CDPATH='' cd -- "$folder" && pwd)
    done
    [ -n "$LITE" ] || fail 2 "MSLITE_HOME is $MSLITE_HOME; neither it nor its folder runtime has include/api/model.h"
    PACKAGE=$LITE
    [ "$(basename "$LITE")" != runtime ] || PACKAGE=$(dirname "$LITE")
}

# Sets LIBRARY, and RPATH: its folder and those that the documentation of MindSpore Lite adds to LD_LIBRARY_PATH.
find_library() {
    local name folder
    LIBRARY=""
    for name in libmindspore-lite.so libmindspore-extendrt.so libmindspore-extendrt_python.so; do
        [ -n "$LIBRARY" ] || [ ! -f "$LITE/lib/$name" ] || LIBRARY=$LITE/lib/$name
    done
    [ -n "$LIBRARY" ] || fail 2 "$LITE/lib has no library of MindSpore Lite (libmindspore-lite.so ...)"
    RPATH=$LITE/lib
    [ -n "$PACKAGE" ] || return 0
    for folder in "$PACKAGE/tools/converter/lib" "$LITE/third_party/glog" "$LITE/third_party/dnnl"; do
        [ ! -d "$folder" ] || RPATH="$RPATH;$folder"
    done
}

case "${1:-}" in
-h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
--converter)
    [ -n "${MSLITE_HOME:-}" ] || fail 2 "MSLITE_HOME is not set; the wheel of PyPI has no converter_lite"
    find_lite
    [ -x "$PACKAGE/tools/converter/converter/converter_lite" ] ||
        fail 2 "there is no $PACKAGE/tools/converter/converter/converter_lite"
    echo "$PACKAGE/tools/converter/converter/converter_lite"
    exit 0
    ;;
esac
find_lite
find_library
if [ "${1:-}" = "--fetch" ]; then
    echo "$LITE"
    exit 0
fi

COMPILER=${CXX:-c++} # may have options: CXX="ccache g++"
for TOOL in cmake "${COMPILER%% *}"; do
    command -v "$TOOL" >/dev/null || fail 1 "$TOOL is needed to build dgn_infer and is not on PATH"
done
MINDIR=0 # newest MindIR version that MindSpore Lite reads: 1 for Lite 2.0, unknown for others
! grep -qs "'2\.0\." "$LITE/version.py" || MINDIR=1
BUILD=${1:-$HERE/build}
[ $# -eq 0 ] || shift
mkdir -p "$BUILD"
if [ -n "${CXX:-}" ] && [ "$(cat "$BUILD/compiler" 2>/dev/null || true)" != "$CXX" ]; then
    rm -rf "$BUILD/CMakeCache.txt" "$BUILD/CMakeFiles" # CMake would keep the compiler of the first configuration
    echo "$CXX" >"$BUILD/compiler"
fi
cmake -S "$HERE" -B "$BUILD" -DMSLITE_INCLUDE="$LITE" -DMSLITE_LIBRARY="$LIBRARY" -DMSLITE_RPATH="$RPATH" \
    -DMSLITE_MINDIR_VERSION="$MINDIR" "$@" >"$BUILD/configure.log" 2>&1 || {
    cat "$BUILD/configure.log" >&2
    exit 1
}
cmake --build "$BUILD" --target dgn_infer --parallel "$(nproc)"
echo "built $BUILD/dgn_infer with $LITE"
