#!/bin/sh
# Builds the environment of the comparisons, .venv-bench, beside the package's own: torch first, what the peers import, then the peers alone.
set -eu
cd "$(dirname "$0")/.."
stamp=.venv-bench/.built
if [ -e "$stamp" ] && [ "$stamp" -nt benchmarks/requirements.txt ] && [ "$stamp" -nt benchmarks/peers.txt ] && [ "$stamp" -nt pyproject.toml ]; then
    exit 0
fi
"${PYTHON:-python3}" -m venv .venv-bench
pip=".venv-bench/bin/python -m pip --disable-pip-version-check install --quiet"
$pip -c constraints.txt torch
$pip -c constraints.txt -r benchmarks/requirements.txt
$pip --no-deps -r benchmarks/peers.txt
$pip -c constraints.txt -e .
touch "$stamp"
