#!/usr/bin/env bash
# Make .venv hold exactly what requirements.lock says, and effectmq itself, editable.
# Called by make; the stamp is written last, so an interrupted run is repeated.
set -euo pipefail
cd "$(dirname "$0")/.."

usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "effectmq needs Python 3.11 or later; ${PYTHON:-python3} is not. Install one, or name it:" \
        "make PYTHON=/path/to/python3.11" >&2
    return 1
}

# Debian keeps the part of Python that fills a new environment with pip in a package of its own.
provide_ensurepip() {
    "$1" -c 'import ensurepip' > /dev/null 2>&1 && return
    local package
    package="$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        echo "$1 cannot make virtual environments: its module ensurepip is missing." \
            "Install the package $package (on Debian: apt-get install $package), then try again." >&2
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -qq --no-install-recommends "$package" > /dev/null ||
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$package" > /dev/null; }
}

rm -f .venv/.stamp
if ! usable .venv/bin/python || ! .venv/bin/python -m pip --version > /dev/null 2>&1; then
    python="$(find_python)"
    provide_ensurepip "$python"
    "$python" -m venv --clear .venv
fi

pip() {
    .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"
}
pip install --require-hashes -r requirements.lock
pip install --no-deps --no-build-isolation -e .
touch .venv/.stamp
