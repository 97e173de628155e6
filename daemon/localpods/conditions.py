"""Conditions of pods: what is new of one, in the form in which it is written. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from daemon.objects.local_pods import LocalPod, LocalPodCondition


def condition_of(pod: LocalPod, type_: str) -> LocalPodCondition | None:
    """The condition of that type, if the pod has one."""
    return next((each for each in pod.status.conditions if each.type == type_), None)


def news(pod: LocalPod, wanted: Sequence[LocalPodCondition], now: datetime) -> list[LocalPodCondition]:
    """Those of *wanted* that the pod does not have yet; the transition time moves only with the status."""
    found = []
    for each in wanted:
        old = condition_of(pod, each.type)
        same = old is not None and old.status == each.status and old.last_transition_time is not None
        moved = old.last_transition_time if same and old is not None else now
        told = msgspec.structs.replace(each, last_transition_time=moved)
        if told != old:
            found.append(told)
    return found
