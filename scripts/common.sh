# Shared by the launchers: finds or makes a Python with the MindSpore that this project needs.
# Sourced, not run. Sets ROOT and PYTHON, and PYTHONPATH so that `python -m dgn` finds the package.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$ROOT/src${PYTHONPATH:+:$PYTHONPATH}"

# A Python fits if every requirement is installed in a version that requirements.txt allows.
fits() {
    "$1" - "$ROOT/requirements.txt" >/dev/null 2>&1 <<'PY'
import re, sys
from importlib import metadata

if not (3, 10) <= sys.version_info[:2] <= (3, 12):
    sys.exit(1)

def numbers(text):
    return [int(n) for n in re.findall(r"\d+", text)][:3]

for line in open(sys.argv[1], encoding="utf-8"):
    name, _, rules = re.match(r"([\w-]*)(\[.*\])?([^#\s]*)", line.split("#")[0].strip()).groups()
    if not name:
        continue
    names = [name, "opencv-python"] if name == "opencv-python-headless" else [name]
    found = None
    for candidate in names:
        try:
            found = numbers(metadata.version(candidate))
            break
        except metadata.PackageNotFoundError:
            pass
    if found is None:
        sys.exit(1)
    for rule in filter(None, rules.split(",")):
        sign, version = re.match(r"(==|>=|<)(.*)", rule).groups()
        wanted = numbers(version)
        short = found[:len(wanted)]
        if not {"==": short == wanted, ">=": short >= wanted, "<": short < wanted}[sign]:
            sys.exit(1)
PY
}

setup_python() {
    local candidate
    if [ -n "${DGN_PYTHON:-}" ]; then
        PYTHON=$(command -v "$DGN_PYTHON") || { echo "DGN_PYTHON is $DGN_PYTHON, and there is no such program" >&2; exit 2; }
        PYTHON=$(cd "$(dirname "$PYTHON")" && pwd)/$(basename "$PYTHON")
        fits "$PYTHON" && return
        echo "DGN_PYTHON is $PYTHON, which has not what requirements.txt asks for: $PYTHON -m pip install -r $ROOT/requirements.txt" >&2
        exit 2
    fi
    for candidate in "$ROOT/.venv/bin/python" python3 python; do
        if [ -n "$candidate" ] && command -v "$candidate" >/dev/null && fits "$candidate"; then
            PYTHON=$(command -v "$candidate")
            return
        fi
    done
    local base=""
    for candidate in python3 python3.12 python3.11 python3.10 python; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            base=$candidate
            break
        fi
    done
    if [ -z "$base" ]; then
        echo "No Python 3.10 to 3.12 found; MindSpore 2.10 has wheels for these only. Install it, or name it in DGN_PYTHON." >&2
        exit 2
    fi
    echo "No Python here has what requirements.txt asks for: making $ROOT/.venv with $("$base" --version) (about 2 minutes, once)"
    "$base" -m venv "$ROOT/.venv"
    "$ROOT/.venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$ROOT/requirements.txt"
    PYTHON="$ROOT/.venv/bin/python"
    fits "$PYTHON" || { echo "$ROOT/.venv does not fit requirements.txt after the installation; remove it and try again" >&2; exit 1; }
}

# ARGS: the arguments of `python -m dgn` for a training, DGN_OPTIONS among them; a resumed run has its own config.
#   train_arguments DEVICE CONFIG DATA OUTPUT
train_arguments() {
    local options
    read -r -a options <<<"${DGN_OPTIONS:-}"
    case " ${options[*]:-} " in
    *" --resume "*) ARGS=(train) ;;
    *) ARGS=(train --config "$2") ;;
    esac
    ARGS+=(--device "$1" --output "$4")
    [ -z "$3" ] || ARGS+=(--data "$3")
    ARGS+=(${options[@]+"${options[@]}"})
}
