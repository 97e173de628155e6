"""The first steps of one pod's update: out of traffic, the grace period, the change. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from daemon import names
from daemon.inplace import documents
from daemon.inplace.changes import everything, left_of, owed, restarts_of, touched_by
from daemon.inplace.diff import InPlace, MustRecreate, diff
from daemon.inplace.observing import Observed, Records, Write, condition_of, is_gated, is_out, records_of
from daemon.inplace.preparation import Prepared, Preparing, Unprepared, preparation_of
from daemon.inplace.records import State, same_revision
from daemon.inplace.targets import NOT_SCHEDULED, Failed, Progress, Target, Waiting
from daemon.inplace.verifying import missing, restarting, unproven
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.next_revisions import WOULD_NOT_FIT, about
from daemon.objects.restart_grants import has_opted_in

_REFUSED = "Refused"
_REFUSED_AGAIN = 60.0
"""Seconds until a change that the API server refused is asked for again."""
_AGENT_AGAIN = 15.0
"""Seconds until it is looked anew for an agent, whose return changes nothing of the pod."""


def begin(seen: Observed, records: Records) -> Write | Progress:
    """What to do for a pod of another revision."""
    pod, target = seen.pod, seen.target
    verdict = diff(target.old, target.new, ignore_claims=target.options.ignore_claims)
    if isinstance(verdict, MustRecreate):
        return verdict
    touched = touched_by(verdict) | owed(records.state, records.grace)
    if records.problem:
        touched |= everything(target.new)
    change = left_of(pod, touched, target.new)
    out = is_out(pod)
    if not out:
        held = _refusal(seen) or _unasked(pod, change) or _hindrance(seen, change)
        if held is not None:
            return held
    if not out and _must_be_out(pod, change):
        return _take_out(seen, change) if _is_safe(seen) else _try(seen, records, change)
    left = _grace_left(seen)
    if out and restarts_of(pod, change) and left > 0:
        return _wait_with_grace(seen, change, left)
    return change_now(seen, records, change)


def _unasked(pod: LocalPod, change: InPlace) -> MustRecreate | None:
    """Why nobody would restart a container for its environment alone: the agent goes by the gate's condition.

    Pods are without the gate that were made while their set replaced them.
    """
    alone = sorted(change.env_metadata.keys() - change.images.keys())
    if not alone or is_gated(pod) or has_opted_in(pod):
        return None
    words = (
        f"was made without the readiness gate {names.IN_PLACE_UPDATE_READY}, by which an agent is asked to"
    )
    return MustRecreate("NoReadinessGate", message=f"{pod.metadata.name} {words} restart {', '.join(alone)}")


def _hindrance(seen: Observed, change: InPlace) -> Progress | None:
    """Why the pod is not touched yet."""
    pod, options = seen.pod, seen.target.options
    if not (seen.agent_alive and pod.spec.node_name):
        return _lack(pod, change)
    if not options.prepare or not (change.images or change.resources):
        return None
    prepared = preparation_of(pod, seen.target.revision, seen.now, options.preparation_deadline)
    match prepared:
        case Prepared():
            return None
        case Preparing(message, seconds):
            return Waiting("Preparing", message, seconds, untouched=True)
        case Unprepared(reason, message) if reason == WOULD_NOT_FIT and options.on_infeasible == "Recreate":
            return MustRecreate(reason, message=message)
        case Unprepared(reason, message):
            return Failed("PreparationFailed", f"{reason}: {message}", untouched=True)


def _lack(pod: LocalPod, change: InPlace) -> Progress | None:
    """What a pod misses that has no agent: nothing where the kubelet does all of it."""
    if not pod.spec.node_name:
        words = "it has no node yet, and only another pod can ask for one with other resources"
        return MustRecreate(NOT_SCHEDULED, message=words) if change.resources else None
    if change.env_metadata.keys() - change.images.keys() or change.resources:
        words = "only the node's agent can do it, and that gives no sign of life"
        return Waiting("AgentMissing", words, _AGENT_AGAIN, untouched=True)
    return None


def refused(seen: Observed, message: str) -> Write | Failed:
    """What to do when the API server will not have the change: the pod serves on as it was.

    What waits, for the end of its grace period or for other containers, stays on it and is asked for again.
    """
    pod = seen.pod
    words = about(seen.target.revision, message)
    progress = Failed("Refused", message, _REFUSED_AGAIN, untouched=True)
    if not (is_gated(pod) and is_out(pod)):
        return progress
    # For what was written before: it goes back when that has come about.
    if restarting(pod, records_of(pod), seen.now):
        return replace(progress, untouched=False)
    gate = documents.condition(
        pod, names.IN_PLACE_UPDATE_READY, "True", seen.now, reason=_REFUSED, message=words
    )
    document = {"metadata": documents.bound(pod, {}, {}), "status": {"conditions": [gate]}}
    return Write("Tell", document, "status", words, then=progress)


def _refusal(seen: Observed) -> Failed | None:
    """The answer of the API server to this very change, which is not asked for again at once."""
    if seen.refusal is not None:
        return Failed("Refused", seen.refusal.message, seen.refusal.seconds, untouched=True)
    gate = _told_refusal(seen)
    if gate is None:
        return None
    age = (seen.now - (gate.last_transition_time or seen.now)) / timedelta(seconds=1)
    left, message = _REFUSED_AGAIN - age, gate.message.removeprefix(_about(seen))
    return Failed("Refused", message, left, untouched=True) if left > 0 else None


def _told_refusal(seen: Observed) -> LocalPodCondition | None:
    """The condition that tells of a refusal of this very change, however old."""
    gate = condition_of(seen.pod, names.IN_PLACE_UPDATE_READY)
    told = gate is not None and gate.reason == _REFUSED
    return gate if gate is not None and told and gate.message.startswith(_about(seen)) else None


def _about(seen: Observed) -> str:
    return about(seen.target.revision, "")


def _is_safe(seen: Observed) -> bool:
    """Whether the pod may leave its traffic without asking first whether the change is let through.

    With a grace period, it would be away for nothing for as long.
    """
    return seen.tried or not (seen.doubted or _grace_left(seen) > 0 or _told_refusal(seen) is not None)


def _try(seen: Observed, records: Records, change: InPlace) -> Write:
    return Write("Try", change_now(seen, records, change).document, note=_told(seen.target, change))


def _must_be_out(pod: LocalPod, change: InPlace) -> bool:
    """Whether the pod must not serve meanwhile: something restarts, and it has the gate to say so."""
    return is_gated(pod) and bool(restarts_of(pod, change))


def _take_out(seen: Observed, change: InPlace) -> Write:
    """Out of traffic. With a grace period, what comes after it is recorded in the same write."""
    pod, target = seen.pod, seen.target
    message = f"changes in place to {target.revision}"
    document: dict[str, Any] = {
        "metadata": documents.bound(pod, {}, {}),
        "status": {"conditions": documents.out_of_traffic(pod, seen.now, message)},
    }
    if _grace_left(seen) > 0 or names.GRACE_ANNOTATION in pod.metadata.annotations:
        metadata = documents.bound(pod, {}, documents.grace_records(pod, target, change, seen.now))
        document = documents.with_extras({**document, "metadata": metadata}, target.labels, target.begun)
    return Write("TakeOut", document, "status", message)


def _grace_left(seen: Observed) -> float:
    """Seconds of the grace period, which began when the pod was taken out for whatever revision."""
    return seen.target.options.grace - (seen.now - _out_since(seen)) / timedelta(seconds=1)


def _out_since(seen: Observed) -> datetime:
    gate = condition_of(seen.pod, names.IN_PLACE_UPDATE_READY)
    out = gate is not None and gate.status == "False"
    return gate.last_transition_time or seen.now if out and gate is not None else seen.now


def _wait_with_grace(seen: Observed, change: InPlace, left: float) -> Write:
    pod, target = seen.pod, seen.target
    notes = documents.grace_records(pod, target, change, _out_since(seen))
    document = documents.with_extras(
        {"metadata": documents.bound(pod, {}, notes)}, target.labels, target.begun
    )
    return Write("Grace", document, then=Waiting("GracePeriod", "", left))


def go_on(seen: Observed, records: Records, change: InPlace) -> Write | Progress:
    """Go on with a pod that has the new revision's labels: out of traffic, should it have come back to it.

    It has when the change was refused, or when nobody controlled the pod for a while.
    """
    if is_out(seen.pod) or not _must_be_out(seen.pod, change):
        return change_now(seen, records, change)
    held = _refusal(seen)
    if held is not None:
        return held
    return _take_out(seen, change) if _is_safe(seen) else _try(seen, records, change)


def change_now(seen: Observed, records: Records, change: InPlace) -> Write:
    """The patch that changes the first of the containers, and records the rest."""
    pod, target = seen.pod, seen.target
    before = _overtaken(seen, records)
    document = documents.changed(pod, target, change, before, seen.now)
    document = documents.with_extras(document, target.labels, target.begun)
    return Write("Change", document, note=_told(target, change))


def _overtaken(seen: Observed, records: Records) -> State | None:
    """The update that stands on the pod, less what of it is proven: the rest is proven with the next."""
    pod, state = seen.pod, records.state
    if state is None or same_revision(state.revision, seen.target.revision):
        return state
    if records.grace is not None:
        return None
    late = {each.reason for each in missing(pod, state, seen.now)}
    unsure = unproven(pod, state, seen.now)
    last = {name: each for name, each in (state.last_container_statuses or {}).items() if name in unsure}
    return msgspec.structs.replace(
        state,
        last_container_statuses=last or None,
        update_env_from_metadata=state.update_env_from_metadata and "Restarting" in late,
        update_resources=state.update_resources and bool(late - {"Restarting", "ImagePullFailed"}),
    )


def _told(target: Target, change: InPlace) -> str:
    parts = [f"image of {name}" for name in sorted(change.images)]
    parts += [f"environment of {name}" for name in sorted(change.env_metadata.keys() - change.images.keys())]
    parts += [f"resources of {name}" for name in sorted(change.resources)]
    return f"changes in place to {target.revision}: {', '.join(parts) or 'labels and annotations'}"
