#!/bin/sh
# Regenerates the Python of every .proto here: messages, their types, and grpclib's stubs.
# The `virtual=disk` form of -I gives the generated files absolute imports below `daemon.`.
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
PATH="$(dirname "$(command -v "$python")"):$PATH" # protoc finds protoc-gen-grpclib_python there

for source in protos/cri/v1 protos/containerd/v1; do
    case $source in
        protos/cri/v1) package=daemon/cri/v1 ;;
        *) package=daemon/cri/containerd/v1 ;;
    esac
    rm -f "$package"/*_pb2.py "$package"/*_pb2.pyi "$package"/*_grpc.py
    for proto in "$source"/*.proto; do
        [ -e "$proto" ] || continue
        "$python" -m grpc_tools.protoc \
            -I daemon/cri/v1=protos/cri/v1 -I daemon/cri/containerd/v1=protos/containerd/v1 \
            --python_out=. --pyi_out=. --grpclib_python_out=. "$package/${proto##*/}"
    done
done
