"""Our protos against the published ones: a wrong number would make runtimes misread us, silently."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.message import Message

import daemon
from daemon.cri.v1 import runtime_pb2 as pb
from tests.functional.published import Described, differences, named, published

SOURCES = sorted(Path(daemon.__file__).parent.glob("cri/**/*_pb2.py"))


def _described(module: str) -> dict[str, Described]:
    ours = FileDescriptorProto()
    import_module(module).DESCRIPTOR.CopyToProto(ours)
    return named(ours)


def _module_of(source: Path) -> str:
    return ".".join(("daemon", *source.relative_to(Path(daemon.__file__).parent).with_suffix("").parts))


@pytest.fixture(scope="module")
def theirs() -> Mapping[str, Described]:
    return published()


@pytest.mark.parametrize("module", [_module_of(source) for source in SOURCES])
def test_names_numbers_types_and_labels_are_the_published_ones(
    module: str, theirs: Mapping[str, Described]
) -> None:
    ours = _described(module)

    assert ours
    assert differences(ours, theirs) == []


def test_a_wrong_number_would_be_seen(theirs: Mapping[str, Described]) -> None:
    ours = _described("daemon.cri.v1.runtime_pb2")
    image = ours["runtime.v1.Image"]
    assert isinstance(image, DescriptorProto)
    pinned = next(field for field in image.field if field.name == "pinned")

    pinned.number = 9

    assert [line.partition(":")[0] for line in differences(ours, theirs)] == ["runtime.v1.Image.pinned"]


def test_a_message_that_nobody_published_would_be_seen(theirs: Mapping[str, Described]) -> None:
    ours: dict[str, Described] = {"runtime.v1.Invented": DescriptorProto(name="Invented")}

    assert differences(ours, theirs) == ["runtime.v1.Invented: not published"]


@pytest.mark.parametrize("message", [pb.AuthConfig, pb.PodSandboxMetadata, pb.Image])
def test_what_is_listed_as_whole_is_whole(message: type[Message], theirs: Mapping[str, Described]) -> None:
    known = theirs[message.DESCRIPTOR.full_name]
    assert isinstance(known, DescriptorProto)

    assert {field.name for field in message.DESCRIPTOR.fields} == {field.name for field in known.field}
