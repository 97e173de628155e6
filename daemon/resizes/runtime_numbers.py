"""What a container's resources are in the numbers of the runtime, for cgroup v1 and v2. Pure.

The kubelet's conversions are those of pkg/kubelet/cm/helpers_linux.go. On cgroup v2 a runtime may report what
it was told, in numbers of v1, or what the kernel has, converted back: both are understood.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from daemon.objects import quantities
from daemon.objects.local_pods import ResourceRequirements

PERIOD: Final = 100_000
"""Microseconds; the kubelet's own default."""
_LEAST_QUOTA: Final = 1_000
_LEAST_SHARES: Final = 2
_MOST_SHARES: Final = 262_144
_NO_LIMIT: Final = "max"


class Numbers(msgspec.Struct, frozen=True):
    """Limits of a container, as CRI has them."""

    cpu_period: int = 0
    """Microseconds."""
    cpu_quota: int = 0
    """Microseconds a period; 0 or less is no limit."""
    cpu_shares: int = 0
    memory_limit: int = 0
    """Bytes; 0 is no limit."""
    unified: Mapping[str, str] = {}
    """Files of cgroup v2 by name."""


def shares_of(millicores: int) -> int:
    """cpu.shares of a CPU request."""
    return min(max(millicores * 1024 // 1000, _LEAST_SHARES), _MOST_SHARES)


def quota_of(millicores: int, period: int) -> int:
    """The CPU time in microseconds that a limit gives in each *period*; 0 without a limit."""
    return max(millicores * period // 1000, _LEAST_QUOTA) if millicores else 0


def weights_of(shares: int) -> tuple[int, int]:
    """cpu.weight of cgroup v2 for so many shares: by KEP-2254, and as runc 1.4 and crun 1.23 convert."""
    linear = 1 + (shares - _LEAST_SHARES) * 9999 // (_MOST_SHARES - _LEAST_SHARES)
    power = math.log2(shares)
    return linear, math.ceil(10 ** ((power**2 + 125 * power) / 612 - 7 / 34))


def _shares_back(weight: int) -> int:
    """cpu.shares that a runtime reports for a weight which it reads from the kernel."""
    return _LEAST_SHARES + (weight - 1) * (_MOST_SHARES - _LEAST_SHARES) // 9999


def swaps(resources: Numbers) -> bool:
    """Tell whether the container may swap: the kubelet resizes no memory of such a one."""
    most = resources.unified.get("memory.swap.max", "0")
    return most == _NO_LIMIT or (most.isdigit() and int(most) > 0)


def disagreement(wanted: ResourceRequirements, found: Numbers) -> str:
    """What the runtime has otherwise than *wanted* says, for a person; empty when all is as wanted."""
    return "; ".join(_disagreements(wanted, found))


def update_of(wanted: ResourceRequirements, found: Numbers) -> Numbers:
    """What sets the numbers of *wanted* in the runtime, in its own period."""
    limits = wanted.limits
    period = found.cpu_period or PERIOD
    return Numbers(
        cpu_period=period,
        cpu_quota=quota_of(_amount(quantities.CPU, limits), period) or -1,
        cpu_shares=shares_of(_request(wanted)),
        memory_limit=_amount(quantities.MEMORY, limits),
    )


def _disagreements(wanted: ResourceRequirements, found: Numbers) -> Iterator[str]:
    asked = shares_of(_request(wanted))
    if not _same_shares(asked, found):
        yield f"cpu shares are {found.cpu_shares or found.unified.get('cpu.weight')}, not {asked}"
    quota, period = _quota(found)
    limit = quota_of(_amount(quantities.CPU, wanted.limits), period)
    if max(quota, 0) != limit:
        yield f"the cpu quota is {quota} us in {period} us, not {limit or 'without limit'}"
    memory, most = _memory(found), _amount(quantities.MEMORY, wanted.limits)
    if most and memory != most:
        yield f"the memory limit is {memory} bytes, not {most}"


def _request(wanted: ResourceRequirements) -> int:
    source = wanted.requests if quantities.CPU in wanted.requests else wanted.limits
    return _amount(quantities.CPU, source)


def _same_shares(asked: int, found: Numbers) -> bool:
    weight, weights = found.unified.get("cpu.weight", ""), weights_of(asked)
    if weight.isdigit():
        return int(weight) in weights
    reported = (0, asked, *(_shares_back(each) for each in weights))  # 0 where it is not reported
    return found.cpu_shares in reported


def _quota(found: Numbers) -> tuple[int, int]:
    quota, _, period = found.unified.get("cpu.max", "").partition(" ")
    if period.isdigit():
        return (int(quota) if quota.isdigit() else 0), int(period)
    return found.cpu_quota, found.cpu_period or PERIOD


def _memory(found: Numbers) -> int:
    most = found.unified.get("memory.max", "")
    return int(most) if most.isdigit() else found.memory_limit


def _amount(resource: str, texts: Mapping[str, str]) -> int:
    return quantities.amount(resource, texts.get(resource, "0"))
