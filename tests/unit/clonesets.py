"""Pods and snapshots of CloneSets for planners."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from daemon import names
from daemon.objects.local_pods import (
    LocalPod,
    LocalPodCondition,
    LocalPodSpec,
    LocalPodStatus,
    Readiness,
)
from daemon.objects.meta import LabelSelector, ObjectMeta
from daemon.objects.workloads import CloneSet, CloneSetSpec
from daemon.workloads.clonesets.settings import Settings
from daemon.workloads.clonesets.views import NORMAL, PodView, Snapshot, view_of

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NEW, OLD = "web-new", "web-old"
LABELS = {"app": "web"}


def pod(
    name: str,
    revision: str = NEW,
    *,
    ready: bool = True,
    state: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    finalizers: Sequence[str] = (),
    deleting: bool = False,
    node: str = "node-1",
    phase: str = "Running",
    conditions: Mapping[str, str] | None = None,
    since: datetime = NOW - timedelta(minutes=5),
) -> LocalPod:
    """A pod as the controller reads it."""
    marks = {names.LIFECYCLE_STATE_LABEL: state} if state else {}
    told = {names.READY: "True" if ready else "False", **(conditions or {})}
    return LocalPod(
        metadata=ObjectMeta(
            name=name,
            namespace="shop",
            uid=f"uid-{name}",
            resource_version="1",
            creation_timestamp=NOW - timedelta(minutes=10),
            deletion_timestamp=NOW if deleting else None,
            labels={**LABELS, names.TEMPLATE_HASH_LABEL: revision, **marks, **(labels or {})},
            annotations=annotations or {},
            finalizers=tuple(finalizers),
        ),
        spec=LocalPodSpec(
            node_name=node,
            readiness_gates=tuple(Readiness(condition_type=each) for each in conditions or {}),
        ),
        status=LocalPodStatus(
            phase=phase,
            conditions=tuple(
                LocalPodCondition(type=type_, status=status, last_transition_time=since)
                for type_, status in told.items()
            ),
        ),
    )


def seen(settings: Settings, *pods: LocalPod, chosen: Sequence[str] = (), current: str = OLD) -> Snapshot:
    """What planners look at."""
    return Snapshot(
        settings=settings,
        pods=[view_of(each, settings, NEW, NOW, chosen) for each in pods],
        update_revision=NEW,
        current_revision=current,
        now=NOW,
    )


def view(
    name: str, *, updated: bool = True, available: bool = True, state: str = NORMAL, **more: Any
) -> PodView:
    """A pod as planners see it, made directly."""
    made = pod(name, NEW if updated else OLD, ready=available, state=state)
    parts = {"revision": NEW if updated else OLD, "updated": updated, "state": state, "ready": available}
    return PodView(pod=made, available=available and state == NORMAL, **{**parts, **more})


def clone_set(**spec: Any) -> CloneSet:
    """A set of these parts."""
    parts = {
        "selector": LabelSelector(match_labels=LABELS),
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}},
        **spec,
    }
    metadata = ObjectMeta(name="web", namespace="shop", uid="set", generation=1, resource_version="1")
    return CloneSet(metadata=metadata, spec=CloneSetSpec(**parts))


def names_of(views: Sequence[PodView]) -> list[str]:
    """Their names, in their order."""
    return [each.name for each in views]
