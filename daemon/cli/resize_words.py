"""What ``kubectl inplaced resize`` asks of pods, and how it tells what becomes of it. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from daemon import names
from daemon.cli.errors import UsageError
from daemon.cli.output import clean, took
from daemon.localpods.conditions import condition_of
from daemon.localpods.room import Room, allocatable_of, free_of, is_taking, taken_by
from daemon.objects import quantities
from daemon.objects.local_nodes import LocalNode
from daemon.objects.local_pods import LocalPod, ResourceRequirements
from daemon.objects.meta import Key
from daemon.objects.resizes import Outcome, Policy, WishError, digest_of, record_of, wish_of

Word = Literal["ok", "failed", "pending"]
_FAILED: Final = frozenset({Outcome.INFEASIBLE, Outcome.ERROR, Outcome.ROLLED_BACK, Outcome.UNSUPPORTED})
_UNANSWERED: Final = 10.0
"""Seconds after which it is worth a word that no agent has answered."""
_HOLDERS: Final = 5
"""Pods that are named at most of those that hold the room."""


@dataclass(frozen=True, slots=True)
class Amount:
    """What is asked of one resource."""

    option: str
    request: str = ""
    limit: str = ""
    alone: bool = False
    """Given as one number: the limit follows where it is the same as the request."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of each pod."""

    container: str
    amounts: Mapping[str, Amount]
    """By resource."""
    on_deferred: Policy | None = None
    on_infeasible: Policy | None = None
    deadline: int | None = None


def amount_of(option: str, text: str) -> Amount:
    """``500m``, ``500m/1`` or ``/1``: request and limit. Raises UsageError."""
    request, slash, limit = text.partition("/")
    for each in filter(None, (request, limit)):
        try:
            if quantities.parse(each) < 0:
                raise UsageError(f"{option} {text!r}: {each} is negative; allowed: 0 or more")
        except quantities.QuantityError as error:
            raise UsageError(f"{option} {text!r}: {error}") from error
    if not request and not limit:
        raise UsageError(f"{option} {text!r}: allowed is REQUEST, REQUEST/LIMIT or /LIMIT, as in 500m/1")
    return Amount(option, request, limit, alone=not slash)


def wish_for(pod: LocalPod, wanted: Wanted) -> str:
    """The annotation that asks it of *pod*, beside what its other containers are asked. Raises UsageError."""
    name = _container(pod, wanted.container)
    able = _resizable(pod)
    mine: dict[str, dict[str, str]] = {"requests": {}, "limits": {}}
    for resource, amount in wanted.amounts.items():
        request, limit = _both(pod, able[name], resource, amount)
        mine["requests"] |= {resource: request} if request else {}
        mine["limits"] |= {resource: limit} if limit else {}
    document = _before(pod)
    old = document["containers"].get(name, {})
    document["containers"][name] = {part: {**old.get(part, {}), **mine[part]} for part in mine}
    document |= {"onDeferred": wanted.on_deferred} if wanted.on_deferred else {}
    document |= {"onInfeasible": wanted.on_infeasible} if wanted.on_infeasible else {}
    document |= {"deadlineSeconds": wanted.deadline} if wanted.deadline is not None else {}
    return _anew(pod, json.dumps(document))


def _anew(pod: LocalPod, text: str) -> str:
    """The wish; under another revision if it was given up, since agents try no wish a second time."""
    record = record_of(pod)
    if record is None or record.reason != Outcome.ROLLED_BACK:
        return text
    return json.dumps({"revision": f"after-{_time(record.since)}", **json.loads(text)})


def _before(pod: LocalPod) -> dict[str, Any]:
    """What was asked of the pod before, as far as it can be read. A revision belongs to whoever asked."""
    text = pod.metadata.annotations.get(names.RESOURCES_ANNOTATION, "")
    try:
        wish_of(text)
    except WishError:
        return {"containers": {}}
    document: dict[str, Any] = json.loads(text)
    document.pop("revision", None)
    return {"containers": {}, **document}


def _resizable(pod: LocalPod) -> dict[str, ResourceRequirements]:
    sidecars = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    return {each.name: each.resources for each in (*pod.spec.containers, *sidecars)}


def _container(pod: LocalPod, name: str) -> str:
    able = _resizable(pod)
    if name in able:
        return name
    has = ", ".join(able)
    if name:
        raise UsageError(f"--container {name!r}: pod {pod.metadata.name} has no such one; allowed: {has}")
    if len(able) > 1:
        raise UsageError(
            f"pod {pod.metadata.name} has several containers: name one by --container; allowed: {has}"
        )
    return next(iter(able))


def _both(pod: LocalPod, now: ResourceRequirements, resource: str, amount: Amount) -> tuple[str, str]:
    """Request and limit, empty where they stay."""
    request, limit = now.requests.get(resource), now.limits.get(resource)
    if not amount.alone or limit is None:
        return amount.request, amount.limit
    if request is None or quantities.parse(request) == quantities.parse(limit):
        return amount.request, amount.request
    if quantities.parse(amount.request) > quantities.parse(limit):
        raise UsageError(
            f"{amount.option} {amount.request!r} is above the limit {limit} of pod {pod.metadata.name}; "
            f"allowed: {amount.option} {amount.request}/LIMIT"
        )
    return amount.request, ""


@dataclass(frozen=True, slots=True)
class Sight:
    """One pod, and what was asked of it."""

    key: Key
    uid: str
    digest: str
    node: str
    outcome: str = ""
    """The reason of the condition, once the agent has answered."""
    message: str = ""
    seconds: float = 0.0
    gone: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be waited for."""
        return self.gone or self.outcome == Outcome.IN_SYNC or self.outcome in _FAILED

    @property
    def succeeded(self) -> bool:
        """Whether the pod has what was asked."""
        return not self.gone and self.outcome == Outcome.IN_SYNC


def first_sight(pod: LocalPod, text: str) -> Sight:
    """The pod as it is when *text* has just been asked of it."""
    return Sight(pod.metadata.key, pod.metadata.uid, digest_of(text), pod.spec.node_name)


def went(sight: Sight, message: str, seconds: float = 0.0) -> Sight:
    """The pod is gone."""
    return replace(sight, message=message, seconds=seconds, gone=True)


def seen(sight: Sight, pod: LocalPod | None, seconds: float) -> Sight:
    """How far it is after so many seconds."""
    if sight.ended:
        return sight
    if pod is None or pod.metadata.uid != sight.uid or pod.metadata.deletion_timestamp is not None:
        return went(sight, "it was removed", seconds)
    record, told = record_of(pod), condition_of(pod, names.RESOURCES_IN_SYNC)
    if record is None or record.wish != sight.digest or told is None:
        where = f" of node {sight.node}" if sight.node else ", as it is on no node"
        silent = (
            f"is there an agent{where}? kubectl {names.PROGRAM} nodes" if seconds > _UNANSWERED else "asked"
        )
        return replace(sight, outcome="", message=silent, seconds=seconds)
    return replace(sight, outcome=told.reason, message=told.message, seconds=seconds)


def progress_line(sight: Sight) -> str:
    """Where one pod is now."""
    said = ": ".join(filter(None, (sight.outcome, sight.message)))
    return f"pod/{sight.key.name}  {clean(said)}"


def end_line(sight: Sight) -> tuple[Word, str]:
    """How it ended for one pod, or where it was left."""
    if sight.succeeded:
        return "ok", f"pod/{sight.key.name}  {clean(sight.message)} in {took(sight.seconds)}"
    return ("failed" if sight.ended else "pending"), progress_line(sight)


def room_lines(pod: LocalPod, node: LocalNode, pods: Sequence[LocalPod]) -> Iterator[str]:
    """Who holds the room that *pod* waits for."""
    free, whole = free_of(node, pods), allocatable_of(node)
    name = node.metadata.name
    yield f"node {name} has {_shown(whole)} for pods, of which {_shown(free.most(Room()))} is free"
    rivals = (each for each in pods if is_taking(each) and each.metadata.uid != pod.metadata.uid)
    others = [each for each in rivals if taken_by(each) != Room()]
    ranked = sorted(others, key=lambda each: _share(taken_by(each), whole), reverse=True)
    for each in ranked[:_HOLDERS]:
        key = each.metadata.key
        yield f"{_shown(taken_by(each))} is held by {key}{_waits(each)}"
    rest = ranked[_HOLDERS:]
    if rest:
        total = Room()
        for each in rest:
            total = total.plus(taken_by(each))
        yield f"{_shown(total)} is held by {len(rest)} others"


def _waits(pod: LocalPod) -> str:
    told = condition_of(pod, names.RESOURCES_IN_SYNC)
    since = _since(pod)
    return f", which is {told.reason}{since} itself" if told is not None and told.status != "True" else ""


def _since(pod: LocalPod) -> str:
    record = record_of(pod)
    return f" since {_time(record.since)}" if record is not None else ""


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _shown(room: Room) -> str:
    words = [
        f"{resource} {quantities.readable(resource, count)}"
        for resource, count in zip(quantities.RESIZABLE, room, strict=True)
        if count
    ]
    return " and ".join(words) or "nothing"


def _share(room: Room, whole: Room) -> float:
    return max(part / total if total else 0.0 for part, total in zip(room, whole, strict=True))
