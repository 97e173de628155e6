"""What people who look at a node see of the resizes on it. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from daemon import names
from daemon.debug.views import ChangeView, ResizeView
from daemon.localpods.conditions import condition_of
from daemon.localpods.room import Changes
from daemon.objects import quantities
from daemon.objects.local_pods import LocalPod, ResourceRequirements
from daemon.objects.resizes import Outcome, WishError, digest_of, record_of, wish_of
from daemon.resizes.targets import PARTS, POD, number, text_of, wanted_by

ASKED = "Asked"
"""The state of a resize of which nothing was told yet."""


def in_force(pod: LocalPod, text: str) -> Changes:
    """What the containers have now that the annotation *text* names."""
    return {name: _in_force(pod, name) for name in _targets(text)}


def resizes(pods: Iterable[LocalPod | None], before: Mapping[str, Changes]) -> tuple[ResizeView, ...]:
    """Those of *pods* that ask for something; those in sync come last.

    *before* holds what they had when they began to ask for it, by UID, as far as somebody saw that.
    """
    found = [
        _resize(pod, pod.metadata.annotations[names.RESOURCES_ANNOTATION], before.get(pod.metadata.uid, {}))
        for pod in pods
        if pod is not None and names.RESOURCES_ANNOTATION in pod.metadata.annotations
    ]
    return tuple(sorted(found, key=_order))


def _order(view: ResizeView) -> tuple[bool, float, str, str]:
    since = -view.since.timestamp() if view.since is not None else 0.0
    return (view.state == Outcome.IN_SYNC, since, view.namespace, view.pod)


def _resize(pod: LocalPod, text: str, before: Changes) -> ResizeView:
    record, condition = record_of(pod), condition_of(pod, names.RESOURCES_IN_SYNC)
    told = record is not None and record.wish == digest_of(text)
    return ResizeView(
        namespace=pod.metadata.namespace,
        pod=pod.metadata.name,
        state=record.reason if record is not None and told else ASKED,
        changes=tuple(_changes(pod, _targets(text), (record.before if record and told else None) or before)),
        message=condition.message if condition is not None and told else "",
        since=record.since if record is not None and told else None,
    )


def _targets(text: str) -> Changes:
    """What the annotation asks for by container; nothing, where that cannot be read."""
    try:
        wish = wish_of(text)
    except WishError:
        return {}
    return {
        name: ResourceRequirements(requests=_texts(wanted.requests), limits=_texts(wanted.limits))
        for name, wanted in wanted_by(wish)
    }


def _texts(given: Mapping[str, str | int | float | None]) -> dict[str, str]:
    return {key: text for key, value in given.items() if (text := text_of(value)) is not None}


def _changes(pod: LocalPod, targets: Changes, before: Changes) -> Iterator[ChangeView]:
    """From what was *before*, else what is in force, to what is wanted."""
    for name, target in targets.items():
        now = before.get(name) or _in_force(pod, name)
        for part in PARTS:
            for resource, wanted in getattr(target, part).items():
                old = getattr(now, part).get(resource, "") if resource in quantities.RESIZABLE else ""
                same = number(old or None) == number(wanted)
                yield ChangeView(
                    container=name,
                    name=f"{resource} {part[:-1]}",
                    wanted=wanted,
                    before="" if same else old,
                )


def _in_force(pod: LocalPod, name: str) -> ResourceRequirements:
    status = pod.status if name == POD else pod.status.of(name)
    return (status.resources if status is not None else None) or ResourceRequirements()
