#!/usr/bin/env bash
# Install each given wheel or sdist, without extras, in a virtual environment of its own, and try what a
# new user tries first: the version, the demo, every public name. Without arguments both are built here.
#
#   scripts/smoke.sh                      # builds into a temporary folder
#   scripts/smoke.sh dist/effectmq-*      # what was built before
#   PYTHON=python3.13 scripts/smoke.sh    # with another Python
set -euo pipefail

root="$(cd "$(dirname "$0")/.." && pwd)"
python="$(command -v "${PYTHON:-python3}")"
[ "${python:0:1}" = / ] || python="$PWD/$python"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

if [ "$#" = 0 ]; then
    (cd "$root" && .venv/bin/python -m hatchling build --directory "$work/dist")
    set -- "$work"/dist/*
fi

# Absolute, because the programs below run in a folder from which the source cannot be imported.
packages=()
for package in "$@"; do
    packages+=("$(realpath "$package")")
done
mkdir "$work/empty"
cd "$work/empty"
export XDG_STATE_HOME="$work/state"
unset PYTHONPATH

for package in "${packages[@]}"; do
    echo "smoke: $(basename "$package") with $("$python" --version)"
    "$python" -m venv --clear "$work/venv"
    "$work/venv/bin/python" -m pip --disable-pip-version-check --quiet install "$package"
    "$work/venv/bin/effectmq" --version
    "$work/venv/bin/effectmq" demo > "$work/demo.txt" || { cat "$work/demo.txt" >&2; exit 1; }
    "$work/venv/bin/python" -I - << 'PROGRAM'
"""Every public name can be imported, out of what was installed, and its version is the one that it says."""

import importlib.metadata
import pathlib
import subprocess
import sys

import effectmq
import effectmq.protocol

for package in (effectmq, effectmq.protocol):
    place = pathlib.Path(package.__file__).resolve()
    assert place.is_relative_to(sys.prefix), f"imported from {place}, expected below {sys.prefix}"
    for name in package.__all__:
        getattr(package, name)
said = subprocess.run([f"{sys.prefix}/bin/effectmq", "--version"], capture_output=True, text=True).stdout
version = importlib.metadata.version("effectmq")
assert said.strip() == f"effectmq {version}", f"--version says {said!r}, the package {version}"
print(f"smoke: {len(effectmq.__all__) + len(effectmq.protocol.__all__)} public names")
PROGRAM
done
