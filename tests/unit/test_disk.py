"""The disk guard: what a pull needs, what is kept free, and when it may start."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cri.extras import Blob
from daemon.nodeimages.disk import NoSpace, Space, check, needed_bytes, read_space, reserve

GIB = 2**30
sizes = st.integers(0, 2**50)
blobs = st.builds(Blob, st.sampled_from(["a", "b", "c", "d"]), st.integers(0, 10**12))


def test_only_missing_layers_count_and_each_once() -> None:
    layers = [Blob("a", 100), Blob("b", 10), Blob("b", 10), Blob("c", 1)]

    assert needed_bytes(layers, {"a"}) == 28
    assert needed_bytes(layers, {"a"}, factor=1) == 11
    assert needed_bytes(layers, {"a", "b", "c"}) == 0


def test_the_default_reserve_is_the_eviction_threshold_of_the_kubelet() -> None:
    assert reserve(1000) == 150
    assert reserve(1001) == 151
    assert reserve(1000, 0) == 0


def test_a_pull_that_just_fits_may_start() -> None:
    assert check(Space(free=250, capacity=1000), 150, 100) is None


def test_a_pull_that_does_not_fit_is_told_what_to_free() -> None:
    refused = check(Space(free=4 * GIB, capacity=20 * GIB), 3 * GIB, 3 * GIB)

    assert refused == NoSpace(
        needed=3 * GIB,
        available=GIB,
        remedy="needs 3.0 GiB, 1.0 GiB available: free at least 2.0 GiB on the image file system, "
        "or lower the disk reserve (now 3.0 GiB)",
    )


def test_a_pull_that_needs_nothing_may_start_on_a_full_disk() -> None:
    assert check(Space(free=0, capacity=1000), 150, 0) is None


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 * 2**60, "3145728.0 TiB")]
)
def test_sizes_are_readable(size: int, text: str) -> None:
    refused = check(Space(free=0, capacity=0), size, 1)

    assert refused is not None
    assert f"(now {text})" in refused.remedy


@given(sizes, sizes, sizes, sizes)
def test_a_pull_starts_exactly_when_the_reserve_stays_free(
    free: int, capacity: int, reserved: int, needed: int
) -> None:
    refused = check(Space(free, capacity), reserved, needed)

    assert (refused is None) == (needed == 0 or free - needed >= reserved)


@given(st.lists(blobs), st.frozensets(st.sampled_from(["a", "b", "c", "d"])), st.floats(1, 20))
def test_more_present_layers_never_need_more(
    layers: list[Blob], present: frozenset[str], factor: float
) -> None:
    assert 0 <= needed_bytes(layers, present, factor) <= needed_bytes(layers, set(), factor)


def test_the_space_of_a_real_file_system_is_read(tmp_path: Path) -> None:
    space = read_space(tmp_path)

    assert 0 < space.free <= space.capacity


def test_a_path_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_space(tmp_path / "gone")
