"""The condition ``KruisePodReady``: False while anybody wants the pod out of traffic. Pure.

Its message is a JSON list of ``{"userAgent":…,"key":…}``, sorted, one for each who does, as OpenKruise's
manager reads and writes it; without any, the condition is True. It only counts in pods that have the gate.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from daemon import names
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.meta import Wire


class _Written(Wire, frozen=True, omit_defaults=False):
    user_agent: str
    key: str


class Blocker(NamedTuple):
    """Somebody who wants the pod out of traffic, and what for."""

    user_agent: str
    key: str


_BLOCKERS = msgspec.json.Decoder(tuple[_Written, ...])


def has_gate(pod: LocalPod) -> bool:
    """Tell whether the condition decides on the pod's readiness."""
    return any(gate.condition_type == names.KRUISE_POD_READY for gate in pod.spec.readiness_gates)


def pod_ready_condition(pod: LocalPod) -> LocalPodCondition | None:
    """The condition, if the pod has it."""
    return next((each for each in pod.status.conditions if each.type == names.KRUISE_POD_READY), None)


def blockers(pod: LocalPod) -> frozenset[Blocker]:
    """Who wants the pod out of traffic. What is unreadable is nobody's."""
    condition = pod_ready_condition(pod)
    if condition is None or not condition.message:
        return frozenset()
    try:
        written = _BLOCKERS.decode(condition.message)
    except msgspec.MsgspecError:
        return frozenset()
    return frozenset(Blocker(each.user_agent, each.key) for each in written)


def blocked_by(pod: LocalPod, wanted: Iterable[Blocker], now: datetime) -> LocalPodCondition | None:
    """The condition that says so, None when the pod says it already."""
    old = pod_ready_condition(pod)
    listed = sorted(wanted)
    status = "False" if listed else "True"
    message = _written(listed)
    if old is not None and (old.status, old.message) == (status, message):
        return None
    same = old is not None and old.status == status and old.last_transition_time is not None
    return LocalPodCondition(
        type=names.KRUISE_POD_READY,
        status=status,
        message=message,
        last_transition_time=old.last_transition_time if same and old is not None else now,
    )


def unready(pod: LocalPod, gate: str, now: datetime) -> LocalPodCondition | None:
    """What the kubelet says of a ready pod once it has seen that its gate is False: some time later."""
    ready = next((each for each in pod.status.conditions if each.type == names.READY), None)
    if ready is None or ready.status != "True":
        return None
    return LocalPodCondition(
        type=names.READY,
        status="False",
        reason="ReadinessGatesNotReady",
        message=f'the status of pod readiness gate "{gate}" is not "True", but False',
        last_transition_time=now,
    )


def _written(listed: Iterable[Blocker]) -> str:
    items = [_Written(user_agent=each.user_agent, key=each.key) for each in listed]
    return msgspec.json.encode(items).decode() if items else ""
