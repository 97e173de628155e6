"""A container's limits in the numbers of runtimes, for both versions of cgroups."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.objects.local_pods import ResourceRequirements
from daemon.resizes.runtime_numbers import Numbers, disagreement, shares_of, swaps, update_of

WANTED = ResourceRequirements(
    requests={"cpu": "250m", "memory": "64Mi"}, limits={"cpu": "500m", "memory": "128Mi"}
)
V1 = Numbers(100_000, 50_000, 256, 128 * 2**20)
MEMORY = str(128 * 2**20)


@pytest.mark.parametrize(
    "found",
    [
        V1,
        Numbers(20_000, 10_000, 256, 128 * 2**20),
        Numbers(100_000, 50_000, 0, 128 * 2**20),
        Numbers(100_000, 50_000, 237, 128 * 2**20),
        Numbers(unified={"cpu.weight": "10", "cpu.max": "50000 100000", "memory.max": MEMORY}),
        Numbers(unified={"cpu.weight": "35", "cpu.max": "50000 100000", "memory.max": MEMORY}),
    ],
    ids=[
        "v1",
        "another period",
        "no shares told",
        "converted back from a weight",
        "v2",
        "v2 as newer runtimes convert",
    ],
)
def test_agrees(found: Numbers) -> None:
    assert disagreement(WANTED, found) == ""


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Numbers(100_000, 50_000, 512, 128 * 2**20), "cpu shares are 512, not 256"),
        (Numbers(100_000, 20_000, 256, 128 * 2**20), "the cpu quota is 20000 us in 100000 us, not 50000"),
        (Numbers(100_000, -1, 256, 128 * 2**20), "the cpu quota is -1 us in 100000 us, not 50000"),
        (Numbers(100_000, 50_000, 256, 0), "the memory limit is 0 bytes, not 134217728"),
        (
            Numbers(unified={"cpu.weight": "10", "cpu.max": "max 100000", "memory.max": MEMORY}),
            "the cpu quota is 0 us in 100000 us, not 50000",
        ),
        (
            Numbers(unified={"cpu.weight": "10", "cpu.max": "50000 100000", "memory.max": "max"}),
            "the memory limit is 0 bytes, not 134217728",
        ),
    ],
)
def test_disagrees(found: Numbers, told: str) -> None:
    assert disagreement(WANTED, found) == told


def test_without_limits_a_runtime_without_limits_agrees() -> None:
    assert disagreement(ResourceRequirements(requests={"cpu": "250m"}), Numbers(100_000, 0, 256, 0)) == ""


def test_tiny_amounts_are_what_the_kernel_has_at_least() -> None:
    tiny = ResourceRequirements(requests={"cpu": "1m"}, limits={"cpu": "1m"})

    assert disagreement(tiny, Numbers(100_000, 1_000, 2, 0)) == ""


@given(st.integers(0, 300_000), st.integers(0, 10**6), st.sampled_from([0, 50_000, 100_000]))
def test_what_is_updated_agrees(request: int, limit: int, period: int) -> None:
    wanted = ResourceRequirements(requests={"cpu": f"{request}m"}, limits={"cpu": f"{limit}m"})

    assert disagreement(wanted, update_of(wanted, Numbers(cpu_period=period))) == ""


def test_shares_stay_within_what_the_kernel_takes() -> None:
    assert (shares_of(0), shares_of(1000), shares_of(10**9)) == (2, 1024, 262_144)


def test_only_cgroup_v2_tells_that_a_container_swaps() -> None:
    assert not swaps(V1)
    assert not swaps(Numbers(unified={"memory.swap.max": "0"}))
    assert swaps(Numbers(unified={"memory.swap.max": "max"}))
    assert swaps(Numbers(unified={"memory.swap.max": "1048576"}))
