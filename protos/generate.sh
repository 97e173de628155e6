#!/bin/sh
# Generates the Python of every .proto here: messages, their types, and grpclib's stubs.
# The `virtual=disk` form of -I gives the generated files absolute imports below `daemon.`.
#
#   protos/generate.sh [DIRECTORY]    DIRECTORY: where daemon/ is written, by default this checkout
set -eu

cd "$(dirname "$0")/.."
out=${1:-.}
python=${PYTHON:-.venv/bin/python}
PATH="$(dirname "$(command -v "$python")"):$PATH" # protoc finds protoc-gen-grpclib_python there

for source in protos/cri/v1 protos/containerd/v1; do
    case $source in
        protos/cri/v1) package=daemon/cri/v1 ;;
        *) package=daemon/cri/containerd/v1 ;;
    esac
    mkdir -p "$out/$package"
    rm -f "$out/$package"/*_pb2.py "$out/$package"/*_pb2.pyi "$out/$package"/*_grpc.py
    for proto in "$source"/*.proto; do
        "$python" -m grpc_tools.protoc \
            -I daemon/cri/v1=protos/cri/v1 -I daemon/cri/containerd/v1=protos/containerd/v1 \
            --python_out="$out" --pyi_out="$out" --grpclib_python_out="$out" "$package/${proto##*/}"
    done
done
