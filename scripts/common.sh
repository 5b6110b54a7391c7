# Functions shared by the launchers in this folder. Sourced, not executed.
# Sets ROOT, the folder of the project, and PYTHONPATH, so that `python -m dgn` imports src/dgn.

ROOT=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$ROOT/src${PYTHONPATH:+:$PYTHONPATH}"

# MindSpore's compiler allocates millions of small objects. With longer lists of free chunks and huge pages, glibc's
# allocator saves an eighth of the time of a compilation. Huge pages are used only if their size is 2 MiB, because glibc
# rounds allocations up to it.
tune_malloc() {
    local size=/sys/kernel/mm/transparent_hugepage/hpage_pmd_size tunables=glibc.malloc.tcache_count=65535
    [ ! -r "$size" ] || [ "$(cat "$size")" -gt 2097152 ] || tunables=$tunables:glibc.malloc.hugetlb=1
    export GLIBC_TUNABLES=${GLIBC_TUNABLES:-$tunables}
}
tune_malloc

# Packages that CANN's own Python modules import and that are not among the requirements of this project.
CANN_PACKAGES=(attrs cython decorator sympy cffi pathlib2 requests absl-py)

# Variables by which MindSpore, msrun or a rank table describe the processes of one distributed run.
LAUNCH_VARIABLES=(MS_ROLE MS_WORKER_NUM MS_SERVER_NUM MS_SCHED_HOST MS_SCHED_PORT MS_NODE_ID MS_TOPO_TIMEOUT
    MS_HCCL_CM_INIT RANK_ID RANK_SIZE RANK_TABLE_FILE MINDSPORE_HCCL_CONFIG_PATH)

# fail MESSAGE: ends the launcher with exit code 2, which stands for wrong input.
fail() {
    echo "$(basename -- "$0"): $1" >&2
    exit 2
}

case "$ROOT" in *:*) fail "the project's folder $ROOT has a colon in its path, which PYTHONPATH does not allow" ;; esac

# quoted WORDS ...: prints the words as a command line. (In some locales printf %q escapes the bytes of accented
# letters.)
quoted() {
    local word line="" quote="'\\''"
    for word; do
        case "$word" in '' | *[!A-Za-z0-9_./=-]*) word="'${word//\'/$quote}'" ;; esac
        line="$line${line:+ }$word"
    done
    echo "$line"
}

# check_usage MINIMUM MAXIMUM ARGUMENTS ...: prints the comment at the top of the launcher and exits, for -h and --help
# with code 0, for a wrong number of arguments with code 2. An empty MAXIMUM means any number.
check_usage() {
    local minimum=$1 maximum=$2 code=
    shift 2
    [ $# -ge "$minimum" ] && [ $# -le "${maximum:-$#}" ] || code=2
    case "${1:-}" in -h | --help) code=0 ;; esac
    [ -n "$code" ] || return 0
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit "$code"
}

# The packages that a launcher needs, as arguments of pip; run_tests.sh adds its own.
REQUIREMENTS=(-r "$ROOT/requirements.txt")

# required: prints the names of the files in REQUIREMENTS.
required() {
    local names="${REQUIREMENTS[*]#"$ROOT"/}"
    echo "${names//-r /}"
}

# unmet_requirements PYTHON: prints the requirements of REQUIREMENTS that the Python does not meet, and succeeds if all
# are met. opencv-python and opencv-python-headless replace each other. Lines with an environment marker are not
# checked.
unmet_requirements() {
    "$1" - "${REQUIREMENTS[@]}" <<'PY'
import re
import sys

if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit("Python %d.%d (3.10 to 3.12 is needed)" % sys.version_info[:2])

from importlib import metadata

OPENCV = ["opencv-python", "opencv-python-headless"]


def parse(version):
    """Release numbers without trailing zeros, and whether it is a final release: "2.10.0rc1" -> ([2, 10], False)."""
    numbers, suffix = re.match(r"v*(\d+(?:\.\d+)*)(.*)", version).groups()
    final = not re.match(r"[-_.]?(a|b|c|rc|alpha|beta|pre|dev)", suffix)
    return [int(part) for part in re.sub(r"(\.0+)+$", "", numbers).split(".")], final


def satisfied(installed, sign, wanted):
    found, required = parse(installed), parse(wanted.replace(".*", ""))
    same = (installed + ".").startswith(wanted[:-1]) if wanted.endswith(".*") else found == required
    return {"==": same, "!=": not same, ">=": found >= required, "<=": found <= required, ">": found > required,
            "<": found[0] < required[0]}[sign]  # excludes pre-releases of the required version


unmet = []
for line in [line for path in sys.argv[1:] if path != "-r" for line in open(path, encoding="utf-8")]:
    match = re.match(r"([A-Za-z0-9][\w.-]*)(?:\[[^]]*\])?([^;#]*)(;?)", line.strip())
    if not match or match.group(3):
        continue
    name, rules = match.group(1), re.sub(r"\s", "", match.group(2))
    pairs = re.findall(r"(==|!=|>=|<=|>|<)([^,]+)", rules)
    versions = [package.version for candidate in (OPENCV if name.lower() in OPENCV else [name])
                for package in list(metadata.distributions(name=candidate))[:1]]
    if not versions:
        unmet.append("%s is not installed" % name)
    elif not any(all(satisfied(version, *pair) for pair in pairs) for version in versions):
        unmet.append("%s %s (%s is needed)" % (name, versions[0], rules))
print("; ".join(unmet))
sys.exit(1 if unmet else 0)
PY
}

# fits PYTHON: whether the Python meets requirements.txt.
fits() {
    unmet_requirements "$1" >/dev/null 2>&1
}

# find_cann [FOLDER]: prints the folder of an installed CANN. Its default folder is FOLDER/cann since CANN 8.5 and
# FOLDER/ascend-toolkit/latest before.
# shellcheck disable=SC2120 # the tests pass FOLDER
find_cann() {
    local folder parent=${1:-/usr/local/Ascend}
    for folder in "${ASCEND_HOME_PATH:-}" "$parent/cann" "$parent/ascend-toolkit/latest"; do
        if [ -n "$folder" ] && [ -d "$folder" ]; then
            echo "$folder"
            return 0
        fi
    done
    return 1
}

# find_base: prints a Python with which a .venv can be made.
find_base() {
    local candidate
    for candidate in python3 python3.12 python3.11 python3.10 python; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

# make_venv BASE [PACKAGES ...]: makes ROOT/.venv with the requirements and the packages. With packages, those of BASE
# are visible in it. Completes a .venv whose installation was interrupted, and replaces one whose Python or pip does not
# start.
make_venv() {
    local base=$1 venv=$ROOT/.venv options=()
    shift
    [ $# -eq 0 ] || options+=(--system-site-packages)
    if [ -e "$venv" ] && ! "$venv/bin/python" -c '' 2>/dev/null; then
        "$base" -m venv --clear ${options[@]+"${options[@]}"} "$venv"
    else
        "$base" -m venv ${options[@]+"${options[@]}"} "$venv"
    fi
    "$venv/bin/python" -m pip --version >/dev/null 2>&1 ||
        "$base" -m venv --clear ${options[@]+"${options[@]}"} "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${REQUIREMENTS[@]}" "$@"
}

# Sets PYTHON to a Python that meets REQUIREMENTS: DGN_PYTHON if it is set, else ROOT/.venv, python3 or python. If
# none does, makes ROOT/.venv. With CANN on the machine it does so only if DGN_MAKE_VENV is 1, and prints the commands
# otherwise.
setup_python() {
    local candidate base cann packages=()
    if [ -n "${DGN_PYTHON:-}" ]; then
        PYTHON=$(command -v "$DGN_PYTHON") || fail "DGN_PYTHON is $DGN_PYTHON, and there is no such program"
        PYTHON=$(CDPATH='' cd -- "$(dirname -- "$PYTHON")" && pwd)/$(basename -- "$PYTHON")
        fits "$PYTHON" || fail "DGN_PYTHON is $PYTHON, which does not meet $(required):
  $(unmet_requirements "$PYTHON" 2>&1 || true)
  $(quoted "$PYTHON" -m pip install "${REQUIREMENTS[@]}")"
        return
    fi
    for candidate in "$ROOT/.venv/bin/python" python3 python; do
        if command -v "$candidate" >/dev/null && fits "$candidate"; then
            PYTHON=$(command -v "$candidate")
            return
        fi
    done
    base=$(find_base) || fail "there is no Python 3.10 to 3.12: install one, or name it in DGN_PYTHON"
    # shellcheck disable=SC2119
    if cann=$(find_cann); then
        packages=("${CANN_PACKAGES[@]}")
        [ "${DGN_MAKE_VENV:-}" = 1 ] || fail "no Python here meets $(required). CANN is installed in $cann; \
its Python packages must be importable, too:
  $(quoted "$base" -m venv --system-site-packages "$ROOT/.venv")
  $(quoted "$ROOT/.venv/bin/python" -m pip install "${REQUIREMENTS[@]}" "${packages[@]}")
DGN_MAKE_VENV=1 runs these commands; DGN_PYTHON names another Python. Without a version, pip installs the newest
MindSpore, which fits CANN 9.1; for an older CANN add mindspore==VERSION to the command (docs/devices.md, Versions)."
    fi
    echo "No Python here meets $(required): installing $ROOT/.venv with $("$base" --version)" \
        "(first run only; downloads packages, takes a few minutes)"
    PYTHON=$ROOT/.venv/bin/python
    ( # two launchers at once would install into one folder: the second one waits, and finds it made
        ! command -v flock >/dev/null || flock 9 || echo "start no other launcher until this one is done" >&2
        fits "$PYTHON" || make_venv "$base" ${packages[@]+"${packages[@]}"}
    ) 9>"$ROOT/.venv.lock"
    fits "$PYTHON" && return
    echo "$ROOT/.venv does not meet $(required) after the installation; remove it and try again:" >&2
    unmet_requirements "$PYTHON" >&2 || exit 1
}

# unset_launch_variables REASON: unsets LAUNCH_VARIABLES, which a launcher may inherit from another one; names what it
# ignores.
unset_launch_variables() {
    local name found=()
    for name in "${LAUNCH_VARIABLES[@]}"; do
        [ -n "${!name+set}" ] || continue
        found+=("$name=${!name}")
        unset "$name"
    done
    [ ${#found[@]} -eq 0 ] || echo "$(basename -- "$0"): ignoring ${found[*]}: $1" >&2
}

# For a launcher of one process, which would wait for other processes if it inherited their variables.
single_process() {
    unset_launch_variables "this launcher starts one process"
}

# Sets OPTIONS to the words of DGN_OPTIONS, which may be quoted as in a shell; nothing is expanded or executed. Example:
# DGN_OPTIONS='--set "data.path=/my photos"'. Needs PYTHON.
read_options() {
    local word
    OPTIONS=()
    [ -n "${DGN_OPTIONS:-}" ] || return 0
    # the last word marks a complete list: bash before 4.4 does not give the exit code of a process substitution
    while IFS= read -r -d '' word; do OPTIONS+=("$word"); done < <("$PYTHON" -c '
import os, shlex, sys
try:
    words = shlex.split(sys.argv[1])
except ValueError as error:
    sys.exit("DGN_OPTIONS is %s, which cannot be split into words: %s" % (sys.argv[1], error))
sys.stdout.buffer.write(b"".join(os.fsencode(word) + b"\0" for word in words + ["end"]))' "$DGN_OPTIONS")
    [ ${#OPTIONS[@]} -gt 0 ] || exit 2
    unset "OPTIONS[$((${#OPTIONS[@]} - 1))]"
}

# check_device DEVICE: fails unless it is a DEVICE_TARGET. Called before setup_python, which may install packages.
check_device() {
    case $1 in
    Ascend | GPU | CPU | auto) ;;
    *) fail "DEVICE_TARGET is $1; it must be Ascend, GPU, CPU or auto" ;;
    esac
}

# train_arguments DEVICE CONFIG DATA OUTPUT: sets ARGS to the arguments of `python -m dgn` for a training, with those of
# DGN_OPTIONS. Without OUTPUT the program chooses a new folder, runs/<config name> or with a number. A resumed run uses
# its own config instead of CONFIG; without OUTPUT it is runs/<config name>.
train_arguments() {
    local word output=$4 name
    read_options
    ARGS=(train --config "$2")
    for word in ${OPTIONS[@]+"${OPTIONS[@]}"}; do
        [ "$word" = --resume ] || continue
        ARGS=(train)
        name=$(basename -- "$2")
        output=${output:-runs/${name%.*}}
    done
    ARGS+=(--device "$1")
    [ -z "$output" ] || ARGS+=(--output "$output")
    [ -z "$3" ] || ARGS+=(--data "$3")
    ARGS+=(${OPTIONS[@]+"${OPTIONS[@]}"})
}
