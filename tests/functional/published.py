"""The wire formats as their owners publish them: fetched from the Go module proxy, compiled, cached.

Independent of this project's .proto files, which are compared with them.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc  # type: ignore[import-untyped]  # it ships no types

from tests.testbed import toolchain

DEADLINE: Final = 120.0
Described = DescriptorProto | EnumDescriptorProto | ServiceDescriptorProto


@dataclass(frozen=True)
class Module:
    """A Go module with .proto files. ``checksum`` is what its go.sum line has."""

    path: str
    version: str
    checksum: str
    root: str
    """The directory that imports are relative to."""
    files: tuple[str, ...]


MODULES: Final = (
    Module(
        "k8s.io/cri-api",
        "v0.34.4",
        "h1:YIiP2h3cehobdnjig19IdKgXJGzeTK2j9VSwH+tfhz4=",
        "pkg/apis/runtime/v1",
        ("api.proto",),
    ),
    Module(
        "github.com/containerd/containerd/api",
        "v1.11.1",
        "h1:h8nfoDW9+fNsC/9TwiAHj8B1GzXKtR4eFtkhi/X5RLU=",
        "",
        (
            "services/content/v1/content.proto",
            "services/images/v1/images.proto",
            "services/leases/v1/leases.proto",
            "services/version/v1/version.proto",
            "types/descriptor.proto",
        ),
    ),
)


def published() -> dict[str, Described]:
    """Every message, enum and service of the modules, nested ones included, by full name."""
    return {
        name: described
        for module in MODULES
        for file in _compiled(module).file
        for name, described in named(file).items()
    }


def named(file: FileDescriptorProto) -> dict[str, Described]:
    """Every message, enum and service of *file*, nested ones included, by full name."""
    found: dict[str, Described] = {}
    for enum in file.enum_type:
        found[f"{file.package}.{enum.name}"] = enum
    for service in file.service:
        found[f"{file.package}.{service.name}"] = service
    for message in file.message_type:
        found.update(_within(file.package, message))
    return found


def differences(ours: Mapping[str, Described], theirs: Mapping[str, Described]) -> list[str]:
    """What of *ours* is not just so in *theirs*. That they have more is fine."""
    return [line for name, described in ours.items() for line in _differences(name, described, theirs)]


def _differences(name: str, ours: Described, theirs: Mapping[str, Described]) -> Iterator[str]:
    if name not in theirs:
        yield f"{name}: not published"
        return
    known = _members(theirs[name])
    for member, facts in _members(ours).items():
        if known.get(member) != facts:
            yield f"{name}.{member}: ours {facts}, published {known.get(member)}"


def _members(described: Described) -> dict[str, object]:
    """What decides how each field, value or method looks on the wire, by its name."""
    match described:
        case DescriptorProto():
            return {field.name: _wire(field) for field in described.field}
        case EnumDescriptorProto():
            return {value.name: value.number for value in described.value}
        case _:
            return {
                method.name: (
                    method.input_type,
                    method.output_type,
                    method.client_streaming,
                    method.server_streaming,
                )
                for method in described.method
            }


def _wire(field: FieldDescriptorProto) -> tuple[object, ...]:
    return field.number, field.type, field.label, field.type_name, field.proto3_optional


def _within(scope: str, message: DescriptorProto) -> dict[str, Described]:
    name = f"{scope}.{message.name}"
    found: dict[str, Described] = {name: message}
    found.update({f"{name}.{enum.name}": enum for enum in message.enum_type})
    for nested in message.nested_type:
        found.update(_within(name, nested))
    return found


def _compiled(module: Module) -> FileDescriptorSet:
    name = f"{module.path.replace('/', '_')}@{module.version}.binpb"
    cached = toolchain.cache_directory() / "published" / name
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        _compile(module, cached)
    return FileDescriptorSet.FromString(cached.read_bytes())


def _compile(module: Module, target: Path) -> None:
    root = _download(module) / module.root
    well_known = Path(protoc.__file__).with_name("_proto")
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        written = Path(work, target.name)
        status = protoc.main(
            ["protoc", f"-I{root}", f"-I{well_known}", f"--descriptor_set_out={written}", *module.files]
        )
        assert status == 0, f"protoc could not compile {module.path}"
        written.rename(target)


def _download(module: Module) -> Path:
    """Have Go fetch the module, and return where it lies. Its content must be the one that was agreed on."""
    with tempfile.TemporaryDirectory() as elsewhere:  # Else Go would look at a go.mod around here.
        done = subprocess.run(
            [toolchain.go_command(), "mod", "download", "-json", f"{module.path}@{module.version}"],
            cwd=elsewhere,
            env=os.environ | {"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"},
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
    assert done.returncode == 0, f"{module.path} cannot be downloaded: {done.stdout}{done.stderr}"
    told = json.loads(done.stdout)
    assert told["Sum"] == module.checksum
    return Path(told["Dir"])
