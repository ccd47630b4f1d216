#!/usr/bin/env bash
# Write requirements.lock: one file for every supported Python, with hashes and without the name
# of any registry. Extras stay in it: pip takes the newest for one that it finds without a version.
# uv is only needed here, so it is not in the environment until it is asked for.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -x .venv/bin/uv ] || .venv/bin/python -m pip --disable-pip-version-check --quiet install uv
exec .venv/bin/uv pip compile --generate-hashes --no-emit-index-url --no-header \
    --group dev pyproject.toml -o requirements.lock \
    --no-strip-extras --python-version 3.11 --universal --all-extras "$@"
