"""How a pod asks for restarts of its drifted containers, and how the controller lets it. Pure."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from daemon import names
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import OwnerReference

_GRANT = msgspec.json.Decoder(dict[str, str])
_NUMBER: Final = re.compile(r"([0-9]{1,6})(%?)")


class Budget(NamedTuple):
    """How many pods of one owner may be away at a time."""

    pods: int
    problem: str = ""
    """What is wrong with the annotation; 1 is taken then."""


def has_opted_in(pod: LocalPod) -> bool:
    """Tell whether the pod wants its containers restarted when its labels or annotations change."""
    return pod.metadata.annotations.get(names.RESTART_ANNOTATION) == "true"


def opting_problem(pod: LocalPod) -> str:
    """What is wrong with the annotation that opts in; empty when nothing is."""
    told = pod.metadata.annotations.get(names.RESTART_ANNOTATION, "false")
    return "" if told in {"true", "false"} else f'{names.RESTART_ANNOTATION} must be "true" or "false"'


def controller_of(pod: LocalPod) -> OwnerReference | None:
    """The workload whose pods share a budget with this one; None of a bare pod."""
    return pod.metadata.controller


def granted(pod: LocalPod) -> Mapping[str, str]:
    """The containers that the controller lets the agent stop: ID by name. Unreadable is none."""
    try:
        return _GRANT.decode(pod.metadata.annotations.get(names.GRANT_ANNOTATION, "{}"))
    except msgspec.MsgspecError:
        return {}


def grant_of(containers: Mapping[str, str]) -> str:
    """The annotation's text."""
    return msgspec.json.encode(containers, order="deterministic").decode()


def budget(pod: LocalPod, total: int) -> Budget:
    """How many of *total* pods may be away, by this pod's annotation: a number, or a percentage rounded down.

    At least one may: else nothing would ever change.
    """
    text = pod.metadata.annotations.get(names.MAX_UNAVAILABLE_ANNOTATION, "1")
    found = _NUMBER.fullmatch(text)
    number = int(found[1]) if found else 0
    if found is None or not number or (found[2] and number > 100):
        allowed = "a number from 1, or from 1% to 100%"
        return Budget(1, f"{names.MAX_UNAVAILABLE_ANNOTATION} must be {allowed}: 1 is taken")
    return Budget(max(1, total * number // 100) if found[2] else number)
