"""Which platform's manifest is chosen."""

import pytest

from daemon.cri.extras import Blob
from daemon.cri.manifests import Index, Platform
from daemon.nodeimages.platforms import choose, host_platform
from daemon.nodeimages.registry_errors import NotFoundError


def digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def index_of(*platforms: str | None) -> Index:
    """An index whose manifests are a, b, c … in the order of the platforms."""
    offered = [None if one is None else Platform(*one.split("/")) for one in platforms]
    return Index(tuple(zip(offered, (Blob(digest(letter), 1) for letter in "abcdef"), strict=False)))


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
