"""Manifests and indexes: what is read, what is refused, and which platform is chosen."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cri.extras import Blob
from daemon.nodeimages.manifests import Index, Manifest, Platform, choose, decode, digest_of, host_platform
from daemon.nodeimages.registry_errors import GarbageError, NotFoundError


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def descriptor(letter: str, size: Any = 1, **more: Any) -> dict[str, Any]:
    return {"mediaType": "x", "digest": digest(letter), "size": size, **more}


def index_of(*platforms: str | None) -> Index:
    """An index whose manifests are a, b, c … in the order of the platforms."""
    offered = [None if one is None else Platform(*one.split("/")) for one in platforms]
    return Index(tuple(zip(offered, (Blob(digest(letter), 1) for letter in "abcdef"), strict=False)))


def test_a_manifest_is_read_whatever_its_media_type() -> None:
    body = {
        "schemaVersion": 2,
        "config": descriptor("c", 7),
        "layers": [descriptor("a", 1), descriptor("b", 2)],
    }

    assert decode(json.dumps(body).encode()) == Manifest(
        Blob(digest("c"), 7), (Blob(digest("a"), 1), Blob(digest("b"), 2))
    )


def test_an_index_is_read_with_its_platforms() -> None:
    arm = {"os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1"}
    body = {"schemaVersion": 2, "manifests": [descriptor("a", platform=arm), descriptor("b")]}

    assert decode(json.dumps(body).encode()) == index_of("linux/arm/v7", None)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "<html>",
        "[" * 100_000,
        "{}",
        '{"schemaVersion": 1, "fsLayers": [{"blobSum": "sha256:a"}]}',
        '{"schemaVersion": 1, "layers": 5}',
        json.dumps({"config": descriptor("a")}),
        json.dumps({"layers": []}),
        json.dumps({"config": descriptor("a", -1), "layers": []}),
        json.dumps({"config": descriptor("a", 2**63), "layers": []}),
        json.dumps({"config": descriptor("a", "1"), "layers": []}),
        json.dumps({"config": {"size": 1}, "layers": []}),
        json.dumps({"config": {"size": 1, "digest": "sha256:../../etc"}, "layers": []}),
        json.dumps({"manifests": [{"size": 1, "digest": "md5:" + "a" * 32}]}),
    ],
)
def test_what_is_no_manifest_is_refused(body: str) -> None:
    with pytest.raises(GarbageError):
        decode(body.encode())


def test_schema_1_is_refused_with_a_remedy() -> None:
    with pytest.raises(GarbageError, match="rebuild"):
        decode(b'{"schemaVersion": 1}')


@pytest.mark.parametrize(
    ("wanted", "offered", "expected"),
    [
        ("linux/amd64", ["linux/arm64", "linux/amd64"], "b"),
        ("linux/amd64", ["linux/amd64/v2", "linux/amd64"], "b"),
        ("linux/amd64", ["linux/386"], "a"),
        ("linux/amd64", ["windows/amd64", "linux/x86_64"], "b"),
        ("linux/amd64/v3", ["linux/amd64", "linux/amd64/v2"], "b"),
        ("linux/arm64", ["linux/arm/v7", "linux/arm64/v8"], "b"),
        ("linux/arm64", ["linux/arm/v6", "linux/arm/v7"], "b"),
        ("linux/arm/v7", ["linux/arm/v6", "linux/arm/v5"], "a"),
        ("linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm"], "c"),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm/v5"], "b"),
        ("linux/arm/v6", ["linux/arm/6"], "a"),
        ("linux/amd64", ["unknown/unknown", "linux/amd64"], "b"),
        ("linux/amd64", [None, "linux/amd64"], "b"),
        ("linux/amd64", ["linux/s390x", None], "b"),
        ("linux/riscv64", ["linux/amd64", "linux/riscv64"], "b"),
    ],
)
def test_the_platform_is_chosen_as_containerd_chooses(
    wanted: str, offered: list[str | None], expected: str
) -> None:
    assert choose(index_of(*offered), Platform(*wanted.split("/"))).digest == digest(expected)


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("linux/amd64", ["linux/arm64", "windows/amd64"]),
        ("linux/arm/v6", ["linux/arm/v7", "linux/arm64"]),
        ("linux/arm64", ["linux/amd64"]),
        ("linux/386", ["linux/amd64"]),
        ("linux/amd64", ["linux/amd64/v2"]),
        ("linux/amd64", []),
    ],
)
def test_a_platform_that_is_missing_is_told_with_what_there_is(wanted: str, offered: list[str]) -> None:
    with pytest.raises(NotFoundError, match=f"no image for {wanted}") as caught:
        choose(index_of(*offered), Platform(*wanted.split("/")))

    assert all(one.split("/")[1] in str(caught.value) for one in offered)


def test_this_machine_has_a_platform_in_the_words_of_go() -> None:
    found = host_platform()

    assert found.os == "linux"
    assert found.arch not in {"x86_64", "aarch64", ""}


def test_a_body_is_addressed_by_either_algorithm() -> None:
    assert digest_of(b"") == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert len(digest_of(b"", "sha512")) == 7 + 128


@given(st.binary(max_size=60))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        found = decode(body)
    except GarbageError:
        return

    assert isinstance(found, Manifest | Index)
