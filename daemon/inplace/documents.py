"""The writes of an update: patches that are bound to the version of the pod they were decided on. Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from daemon import names
from daemon.inplace.changes import changed_containers, first_batch, part_for, restarts_of
from daemon.inplace.diff import InPlace, MetadataChange
from daemon.inplace.observing import is_gated
from daemon.inplace.records import (
    Batch,
    Grace,
    LastStatus,
    PreCheck,
    RefMetadata,
    RestartCount,
    State,
    metadata_patch,
    ref_metadata,
    restart_counts_of,
    same_revision,
    written,
)
from daemon.inplace.targets import Extras, Target
from daemon.objects.local_pods import LocalPod, ResourceRequirements
from daemon.objects.planned_restarts import all_replaced, counted, to_be_replaced
from daemon.objects.pod_readiness import unready
from daemon.objects.resizes import Wanted, Wish, WishError, wish_of
from daemon.objects.running_containers import newest_status, told_to_kruise
from daemon.objects.slim_pods import is_managed

_OVER = (
    names.OLD_STATE_ANNOTATION,
    names.GRACE_ANNOTATION,
    names.OLD_GRACE_ANNOTATION,
    names.NEXT_REVISION_ANNOTATION,
)
Tags = Mapping[str, str | None]

BEGUN = "StartInPlaceUpdate"
"""OpenKruise's reason of the condition while a pod changes."""


def bound(pod: LocalPod, labels: Tags, annotations: Tags) -> dict[str, Any]:
    """Metadata of exactly this version of exactly this pod, with those labels and annotations changed."""
    metadata: dict[str, Any] = {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version}
    if labels:
        metadata["labels"] = labels
    if annotations:
        metadata["annotations"] = annotations
    return metadata


def condition(
    pod: LocalPod, type_: str, status: str, now: datetime, *, reason: str = "", message: str = ""
) -> dict[str, Any]:
    """One condition; its transition time moves only with the status."""
    old = next((each for each in pod.status.conditions if each.type == type_), None)
    same = old is not None and old.status == status and old.last_transition_time is not None
    at = old.last_transition_time if same and old is not None else now
    told: dict[str, Any] = {"type": type_, "status": status, "lastTransitionTime": at}
    return msgspec.to_builtins({**told, "reason": reason or None, "message": message or None})  # type: ignore[no-any-return]


def out_of_traffic(pod: LocalPod, now: datetime, message: str) -> list[dict[str, Any]]:
    """The conditions of a pod that begins to change: its gate, and what the kubelet would only say later."""
    gate = names.IN_PLACE_UPDATE_READY
    conditions = [condition(pod, gate, "False", now, reason=BEGUN, message=message)]
    ready = unready(pod, gate, now)
    if ready is not None:
        conditions.append(msgspec.to_builtins(ready))
    return conditions


def untold(pod: LocalPod) -> Tags:
    """The annotation that tells what the pod becomes, taken away where there is one."""
    return {key: None for key in (names.NEXT_REVISION_ANNOTATION,) if key in pod.metadata.annotations}


def back_in_traffic(pod: LocalPod, now: datetime, *, still_told: bool = False) -> list[dict[str, Any]]:
    """The conditions that change then: the gate, where it is shut, and what was said of the preparation.

    That stays where the pod is *still_told* what it becomes next.
    """
    told = {each.type: each.status for each in pod.status.conditions}
    gate, conditions = names.IN_PLACE_UPDATE_READY, []
    if told.get(gate) != "True" and is_gated(pod):
        conditions.append(condition(pod, gate, "True", now))
    if names.NEXT_REVISION_READY in told and not still_told:
        conditions.append({"type": names.NEXT_REVISION_READY, "$patch": "delete"})
    return conditions


def grace_records(pod: LocalPod, target: Target, change: InPlace, begun_at: datetime) -> Tags:
    """The annotations of a pod that waits for the end of its grace period."""
    env = {name: ref_metadata(each) for name, each in change.env_metadata.items()}
    grace = Grace(
        revision=target.revision,
        container_images=change.images or None,
        container_ref_metadata=env or None,
        container_resources=change.resources or None,
        meta_data_patch=metadata_patch(_left_alone(change)),
        update_env_from_metadata=bool(change.env_metadata),
        grace_seconds=round(target.options.grace),
    )
    state = _begun(target, change, begun_at)
    return {**_cleared(pod), names.STATE_ANNOTATION: written(state), names.GRACE_ANNOTATION: written(grace)}


def _left_alone(change: InPlace) -> MetadataChange:
    """Labels and annotations that go, or that no container reads: what OpenKruise changes before others."""
    read = {
        (where, key)
        for each in change.env_metadata.values()
        for where in ("labels", "annotations")
        for key, text in getattr(each, where).items()
        if text is not None
    }
    labels = {key: text for key, text in change.metadata.labels.items() if ("labels", key) not in read}
    annotations = {
        key: text for key, text in change.metadata.annotations.items() if ("annotations", key) not in read
    }
    return MetadataChange(labels, annotations)


def _begun(target: Target, change: InPlace, at: datetime) -> State:
    return State(
        revision=target.revision,
        update_timestamp=at,
        last_container_statuses=None,
        update_env_from_metadata=bool(change.env_metadata),
        update_resources=bool(change.resources),
        update_images=bool(change.images),
    )


def changed(
    pod: LocalPod, target: Target, change: InPlace, before: State | None, now: datetime
) -> dict[str, Any]:
    """The one patch that changes containers: those of the first batch, what others need is put off.

    *before* is the state of the same update, whose records go on, or of one that this overtakes: what of that
    is not proven must be proven with this one.
    """
    chosen = first_batch(pod, change)
    part = part_for(change, chosen, pod)
    state = _state(pod, target, change, before, now)
    annotations: dict[str, str | None] = {**_cleared(pod), **part.metadata.annotations}
    annotations |= {**_restart_counts(pod, target.revision, part, before), **_planned(pod, part)}
    annotations[names.STATE_ANNOTATION] = written(_with_batch(pod, state, change, part, now))
    if part.resources:
        annotations[names.RESOURCES_ANNOTATION] = _wish(pod, target, part.resources)
    spec = [{"name": name, "image": image} for name, image in sorted(part.images.items())]
    document: dict[str, Any] = {"metadata": bound(pod, part.metadata.labels, annotations)}
    if spec:
        document["spec"] = {"containers": spec}
    return document


def _planned(pod: LocalPod, change: InPlace) -> Tags:
    """By what the restarts for other images count as planned.

    With the gate, they do at the update's end. Without, the agent counts for pods that ask for restarts; at
    others it does not look.
    """
    if not change.images:
        return {}
    if is_gated(pod):
        return to_be_replaced(pod, change.images)
    if names.RESTART_ANNOTATION in pod.metadata.annotations:
        return {}
    statuses = {name: pod.status.of(name) for name in change.images}
    return counted(pod, {name: each.container_id for name, each in statuses.items() if each is not None})


def _state(pod: LocalPod, target: Target, change: InPlace, before: State | None, now: datetime) -> State:
    if before is None:
        return _begun(target, change, now)
    if same_revision(before.revision, target.revision):
        return msgspec.structs.replace(before, revision=target.revision)
    begun = _begun(target, change, now)
    return msgspec.structs.replace(
        begun,
        last_container_statuses=before.last_container_statuses,
        update_env_from_metadata=begun.update_env_from_metadata or before.update_env_from_metadata,
        update_resources=begun.update_resources or before.update_resources,
        update_images=begun.update_images or bool(before.last_container_statuses),
    )


def _with_batch(pod: LocalPod, state: State, change: InPlace, part: InPlace, now: datetime) -> State:
    """*state* once *part* of *change* is written, and the rest is put off."""
    images = {name: each for name, each in change.images.items() if name not in part.images}
    env = {name: each for name, each in change.env_metadata.items() if name not in part.env_metadata}
    resources = {name: each for name, each in change.resources.items() if name not in part.resources}
    ref: dict[str, RefMetadata] = {name: ref_metadata(each) for name, each in env.items()}
    now_changed = tuple(sorted(changed_containers(part)))
    put_off = bool(images or env or resources)
    return msgspec.structs.replace(
        state,
        last_container_statuses={**(state.last_container_statuses or {}), **_last(pod, part.images)} or None,
        next_container_images=images or None,
        next_container_ref_metadata=ref or None,
        next_container_resources=resources or None,
        pre_check_before_next=PreCheck(containers_required_ready=now_changed) if put_off else None,
        container_batches_record=(*(state.container_batches_record or ()), Batch(now, now_changed)),
    )


def _last(pod: LocalPod, containers: Iterable[str]) -> dict[str, LastStatus]:
    statuses = {name: pod.status.of(name) for name in sorted(containers)}
    return {
        name: LastStatus(image_id=status.image_id if status is not None else "")
        for name, status in statuses.items()
    }


def ended(pod: LocalPod) -> Tags:
    """What is written with the last word on an update, of the containers that it replaced."""
    annotations = all_replaced(pod)
    told = told_to_kruise(pod) if annotations and is_managed(pod) else ""
    return {**annotations, names.KRUISE_META_ANNOTATION: told} if told else annotations


def _restart_counts(
    pod: LocalPod, revision: str, part: InPlace, before: State | None
) -> dict[str, str | None]:
    """Both annotations. Containers that do not change now keep what was recorded of their last update."""
    told = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    statuses = [newest_status(pod, each.name) or each for each in told]
    restarting, old = restarts_of(pod, part), restart_counts_of(pod)
    unproven = (before.last_container_statuses or {}).keys() if before is not None else ()
    counts = {
        each.name: _count(each.name, each.restart_count, revision, restarting, old)
        for each in statuses
        if each.name in restarting or each.name in old
    }
    carried = {
        name: msgspec.structs.replace(count, revision=revision)
        for name, count in counts.items()
        if name in unproven and name not in restarting
    }
    total = sum(each.restart_count for each in statuses)
    return {
        names.RESTART_COUNTS_ANNOTATION: written({**counts, **carried}),
        names.POD_RESTART_COUNT_ANNOTATION: str(total),
    }


def _count(
    name: str, restarts: int, revision: str, restarting: Collection[str], old: Mapping[str, RestartCount]
) -> RestartCount:
    return RestartCount(revision, restarts) if name in restarting else old[name]


def _wish(pod: LocalPod, target: Target, resources: Mapping[str, ResourceRequirements]) -> str:
    """``inplaced.dev/resources``: what earlier batches of the same update asked for stays in it."""
    containers = {
        name: Wanted(requests=each.requests, limits=each.limits) for name, each in resources.items()
    }
    try:
        old = wish_of(pod.metadata.annotations.get(names.RESOURCES_ANNOTATION, ""))
    except WishError:
        old = Wish()
    if old.revision == target.revision:
        containers = {**old.containers, **containers}
    options = target.options
    wish = Wish(
        revision=target.revision,
        containers=containers,
        on_deferred=options.on_deferred,
        on_infeasible="Rollback" if options.on_infeasible == "Rollback" else "Wait",
        deadline_seconds=options.resize_deadline,
    )
    return written(wish)


def _cleared(pod: LocalPod) -> dict[str, str | None]:
    """Records that are of no use any more."""
    return {key: None for key in _OVER if key in pod.metadata.annotations}


def with_extras(document: Mapping[str, Any], labels: Mapping[str, str], extras: Extras) -> dict[str, Any]:
    """*document* that also sets *labels* and *extras*."""
    metadata = dict(document["metadata"])
    every: dict[str, str | None] = {**metadata.get("labels", {}), **labels, **extras.labels}
    if every:
        metadata["labels"] = every
    if extras.annotations:
        metadata["annotations"] = {**extras.annotations, **metadata.get("annotations", {})}
    return {**document, "metadata": metadata}
