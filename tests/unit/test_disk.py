"""The disk guard: what a pull needs, what is kept free, and when it may start."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cri.extras import Blob
from daemon.nodeimages.disk import needed_bytes, read_space, reserve

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
