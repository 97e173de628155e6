"""The later steps of one pod's update: the end of its grace period, verification, back in traffic. Pure."""

from datetime import timedelta

from daemon import names
from daemon.inplace import documents
from daemon.inplace.beginning import go_on
from daemon.inplace.changes import everything, in_place, left_of, owed, restarts_of
from daemon.inplace.diff import InPlace, MetadataChange, MustRecreate
from daemon.inplace.evidence import Missing, status_of
from daemon.inplace.observing import Observed, Records, Write, condition_of, is_gated, is_serving
from daemon.inplace.records import State, merged_metadata, patched_metadata, same_revision
from daemon.inplace.targets import Done, Failed, Options, Progress, Waiting
from daemon.inplace.verifying import missing, unreadable
from daemon.objects.next_revisions import next_revision_of


def end_grace(seen: Observed, records: Records) -> Write | Progress:
    """What to do for a pod that waits for the end of its grace period."""
    pod, target = seen.pod, seen.target
    if records.grace is None or not same_revision(records.grace.revision, target.revision):
        # Nobody can tell any more what waited: what differs from the revision is what is left.
        touched = everything(target.new) | owed(records.state, records.grace)
        return go_on(seen, records, left_of(pod, touched, target.new))
    began = records.state.update_timestamp if records.state is not None else None
    left = records.grace.grace_seconds - (seen.now - (began or seen.now)) / timedelta(seconds=1)
    if left > 0 and not (is_gated(pod) and is_serving(pod)):  # else it begins anew, out of traffic
        return Waiting("GracePeriod", f"{left:.0f} s until the pod changes", left)
    grace = records.grace
    metadata = merged_metadata(patched_metadata(grace), grace.container_ref_metadata)
    change = in_place(pod, grace.container_images or {}, grace.container_resources or {}, metadata)
    return go_on(seen, Records(records.state), change)


def verify(seen: Observed, records: Records) -> Write | Progress:
    """What to do for a pod that was changed, or was made like this."""
    pod, state = seen.pod, records.state
    if is_gated(pod) and is_serving(pod) and not _runs_while_serving(state):
        return _settle(seen)
    left = left_of(pod, everything(seen.target.new), seen.target.new) if records.problem else InPlace()
    if restarts_of(pod, left):  # what was put off stood in the state that cannot be read
        return go_on(seen, records, left)
    late = unreadable(pod) if records.problem else missing(pod, state, seen.now)
    if late:
        return _judge(seen, state, late)
    if state is not None and state.has_next:
        return _next(seen, state)
    return _settle(seen)


def _runs_while_serving(state: State | None) -> bool:
    """Whether the update did not have to take the pod out, so that the gate says nothing of its end."""
    if state is None:
        return False
    restarts = state.update_images or state.update_env_from_metadata
    return state.has_next or (state.update_resources and not restarts)


def _judge(seen: Observed, state: State | None, late: tuple[Missing, ...]) -> Write | Progress:
    options = seen.target.options
    failed = next((each for each in late if each.failed), None)
    if failed is not None:
        if failed.reason == "Infeasible" and options.on_infeasible == "Recreate":
            return MustRecreate(failed.reason, message=failed.message)
        return _fail(seen, failed.reason, failed.message)
    words = "; ".join(each.message for each in late)
    left = _deadline_left(seen, options, state)
    if left <= 0:
        if not seen.agent_alive:
            words = f"{words}; the agent of its node gives no sign of life"
            return _fail(seen, "AgentMissing", words)
        return _fail(seen, "DeadlineExceeded", words)
    looks = [each.look_again_in for each in late if each.look_again_in is not None]
    return Waiting(late[0].reason, words, min([left, *looks]))


def _deadline_left(seen: Observed, options: Options, state: State | None) -> float:
    """Seconds since the last patch, of what each is given."""
    if state is None:
        return options.deadline
    batches = [each.timestamp for each in state.container_batches_record or () if each.timestamp is not None]
    since = max([*batches, state.update_timestamp or seen.now])
    return options.deadline - (seen.now - since) / timedelta(seconds=1)


def _fail(seen: Observed, reason: str, message: str) -> Write | Failed:
    """Told once in the condition; the update goes on as soon as its cause is gone."""
    progress = Failed(reason, message)
    gate = condition_of(seen.pod, names.IN_PLACE_UPDATE_READY)
    if gate is None or gate.status != "False" or (gate.reason, gate.message) == (reason, message):
        return progress
    told = documents.condition(seen.pod, gate.type, "False", seen.now, reason=reason, message=message)
    document = {"metadata": documents.bound(seen.pod, {}, {}), "status": {"conditions": [told]}}
    return Write("Tell", document, "status", message, then=progress)


def _next(seen: Observed, state: State) -> Write | Progress:
    """The containers of the next priority, as soon as those before are ready."""
    pod = seen.pod
    check = state.pre_check_before_next
    for name in (check.containers_required_ready or ()) if check is not None else ():
        status = status_of(pod, name)
        if status is None or not status.ready:
            left = _deadline_left(seen, seen.target.options, state)
            words = f"container {name} must be ready before those of lower priority change"
            return (
                Waiting("NextContainers", words, left) if left > 0 else _fail(seen, "DeadlineExceeded", words)
            )
    metadata = merged_metadata(MetadataChange(), state.next_container_ref_metadata)
    change = in_place(pod, state.next_container_images or {}, state.next_container_resources or {}, metadata)
    return go_on(seen, Records(state), change)


def _settle(seen: Observed) -> Write | Done:
    """Back in traffic, on exactly the version that was looked at; what the workload wants said then, is."""
    pod, target = seen.pod, seen.target
    unsaid = any(pod.metadata.labels.get(key) != text for key, text in target.done.labels.items())
    told = next_revision_of(pod)
    newer = told is not None and told.revision != target.revision  # which waits for its turn
    conditions = documents.back_in_traffic(pod, seen.now, still_told=newer)
    over = {**documents.ended(pod), **(documents.untold(pod) if not newer else {})}
    if not conditions and not unsaid and not over:
        return Done()
    document = documents.with_extras(
        {"metadata": documents.bound(pod, {}, over), "status": {"conditions": conditions}}, {}, target.done
    )
    return Write("GiveBack", document, "status", f"is {target.revision} now", then=Done())
