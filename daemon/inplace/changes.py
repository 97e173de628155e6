"""What is left to change of one pod, and which containers change at the same time. Pure.

Two revisions say what differs between them; the pod says how much of that it has by now, and what an update
that was overtaken by this one still owed it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from daemon import names
from daemon.inplace.diff import InPlace, MetadataChange
from daemon.inplace.records import Grace, State, merged_metadata, patched_metadata
from daemon.inplace.templates import (
    Revision,
    containers_of,
    image_of,
    metadata_of,
    resources_of,
)
from daemon.objects.container_env import MetadataField, from_metadata, restartable
from daemon.objects.local_pods import Container, LocalPod, ResourceRequirements
from daemon.objects.quantities import RESIZABLE, QuantityError, parse

_METADATA: tuple[MetadataField, ...] = ("labels", "annotations")
_PRIORITY = re.compile(r".*p_(-?\d{1,10})(?:'\])?")
"""At the end of a barrier: the key of OpenKruise's ConfigMap, or our annotation's."""


@dataclass(frozen=True, slots=True)
class Touched:
    """Which parts of a pod may have to change; what they become stands in the new revision."""

    images: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    metadata: MetadataChange = field(default_factory=MetadataChange)
    """By key; the values do not matter."""

    def __or__(self, other: "Touched") -> "Touched":
        labels = {**self.metadata.labels, **other.metadata.labels}
        annotations = {**self.metadata.annotations, **other.metadata.annotations}
        return Touched(
            self.images | other.images,
            self.resources | other.resources,
            MetadataChange(labels, annotations),
        )


def touched_by(change: InPlace) -> Touched:
    """What two revisions differ in."""
    return Touched(frozenset(change.images), frozenset(change.resources), change.metadata)


def owed(state: State | None, grace: Grace | None) -> Touched:
    """What the updates that were begun before have not written yet. Raises UndecodableError."""
    found = Touched()
    if grace is not None:
        metadata = merged_metadata(patched_metadata(grace), grace.container_ref_metadata)
        found |= _named(grace.container_images, grace.container_resources, metadata)
    if state is not None:
        metadata = merged_metadata(MetadataChange(), state.next_container_ref_metadata)
        found |= _named(state.next_container_images, state.next_container_resources, metadata)
    return found


def everything(new: Revision) -> Touched:
    """All that can change in place: for a pod whose records cannot be read."""
    metadata = MetadataChange(*(dict(metadata_of(new, each)) for each in _METADATA))
    return Touched(frozenset(containers_of(new)), frozenset(), metadata)


def _named(
    images: Mapping[str, str] | None,
    resources: Mapping[str, ResourceRequirements] | None,
    metadata: MetadataChange,
) -> Touched:
    return Touched(frozenset(images or ()), frozenset(resources or ()), metadata)


def left_of(pod: LocalPod, touched: Touched, new: Revision) -> InPlace:
    """What of *touched* the pod does not have yet as *new* says."""
    current = {each.name: each for each in pod.spec.containers}
    known = containers_of(new).keys() & current.keys()
    images = {name: image_of(new, name) for name in touched.images & known}
    wanted = {name: resources_of(new, name) for name in touched.resources & known}
    metadata = MetadataChange(
        *(dict(_metadata_left(pod, getattr(touched.metadata, each), new, each)) for each in _METADATA)
    )
    return in_place(
        pod,
        {name: image for name, image in images.items() if image and image != current[name].image},
        {name: each for name, each in wanted.items() if not fulfils(current[name].resources, each)},
        metadata,
    )


def in_place(
    pod: LocalPod,
    images: Mapping[str, str],
    resources: Mapping[str, ResourceRequirements],
    metadata: MetadataChange,
) -> InPlace:
    """The change, with what of *metadata* the containers of *pod* have in their environment."""
    readers = {each.name: part_of(metadata, each) for each in restartable(pod)}
    return InPlace(images, metadata, {name: each for name, each in readers.items() if each}, resources)


def part_of(metadata: MetadataChange, container: Container) -> MetadataChange:
    """Those of the changed labels and annotations that *container* takes variables from."""
    read = set(from_metadata(container).values())
    parts = (
        {key: text for key, text in getattr(metadata, each).items() if (each, key) in read}
        for each in _METADATA
    )
    return MetadataChange(*parts)


def _metadata_left(
    pod: LocalPod, touched: Iterable[str], new: Revision, where: MetadataField
) -> Iterator[tuple[str, str | None]]:
    has, wanted = getattr(pod.metadata, where), metadata_of(new, where)
    for key in touched:
        if has.get(key) != wanted.get(key):
            yield key, wanted.get(key)


def fulfils(has: ResourceRequirements, wanted: ResourceRequirements) -> bool:
    """Tell whether *has* names what *wanted* asks for; a limit without a request is a request, too."""
    requests = {**wanted.limits, **wanted.requests}
    pairs = [(has.requests, requests), (has.limits, wanted.limits)]
    return all(
        _number(told.get(name)) == _number(asked.get(name))
        for told, asked in pairs
        for name in RESIZABLE
        if name in asked
    )


def _number(text: str | None) -> Fraction | str | None:
    try:
        return parse(text) if text is not None else None
    except QuantityError:
        return text


def first_batch(pod: LocalPod, change: InPlace) -> frozenset[str]:
    """The containers that change now: those without a priority and those of the highest.

    A container that reads a label or annotation which one of them reads must change with it: the key has one
    value. So must one of whose keys one goes: what is put off can only be written as a value.
    """
    priorities = dict(_priorities(pod, change))
    highest = max((each for each in priorities.values() if each is not None), default=None)
    chosen = {name for name, each in priorities.items() if each is None or each == highest}
    chosen |= {name for name, each in change.env_metadata.items() if _removes(each)}
    while joining := {name for name in priorities.keys() - chosen if _shares(change, name, chosen)}:
        chosen |= joining
    return frozenset(chosen)


def part_for(change: InPlace, chosen: frozenset[str], pod: LocalPod) -> InPlace:
    """What of *change* is done with the containers *chosen*: all metadata but what others alone read."""
    later = [each for name, each in change.env_metadata.items() if name not in chosen]
    put_off = {(where, key) for each in later for where in _METADATA for key in getattr(each, where)}
    now = MetadataChange(
        *(
            {
                key: text
                for key, text in getattr(change.metadata, where).items()
                if (where, key) not in put_off
            }
            for where in _METADATA
        )
    )
    images = {name: each for name, each in change.images.items() if name in chosen}
    resources = {name: each for name, each in change.resources.items() if name in chosen}
    return in_place(pod, images, resources, now)


def changed_containers(change: InPlace) -> frozenset[str]:
    """All containers of which anything changes."""
    return change.restarted | frozenset(change.resources)


def restarts_of(pod: LocalPod, change: InPlace) -> frozenset[str]:
    """The containers that will restart: also those whose resize policy wants that."""
    resized = {
        each.name
        for each in pod.spec.containers
        if each.name in change.resources and _restarts_when_resized(each, change.resources[each.name])
    }
    return change.restarted | resized


def _restarts_when_resized(container: Container, wanted: ResourceRequirements) -> bool:
    strict = {
        each.resource_name for each in container.resize_policy if each.restart_policy == "RestartContainer"
    }
    return any(
        not fulfils(container.resources, _only(wanted, name)) for name in strict.intersection(RESIZABLE)
    )


def _only(wanted: ResourceRequirements, name: str) -> ResourceRequirements:
    requests = {key: each for key, each in wanted.requests.items() if key == name}
    return ResourceRequirements(
        requests=requests, limits={key: each for key, each in wanted.limits.items() if key == name}
    )


def _priorities(pod: LocalPod, change: InPlace) -> Iterator[tuple[str, int | None]]:
    changed = changed_containers(change)
    for container in restartable(pod):
        if container.name in changed:
            yield container.name, priority_of(container)


def priority_of(container: Container) -> int | None:
    """Its place in the pod's launch order, the highest first; None without one."""
    for variable in container.env:
        source = variable.value_from
        if variable.name != names.BARRIER_VARIABLE or source is None:
            continue
        key = source.config_map_key_ref.key if source.config_map_key_ref is not None else ""
        path = source.field_ref.field_path if source.field_ref is not None else ""
        found = _PRIORITY.fullmatch(key or path)
        return int(found[1]) if found is not None else None
    return None


def _removes(change: MetadataChange) -> bool:
    return None in (*change.labels.values(), *change.annotations.values())


def _shares(change: InPlace, name: str, chosen: Iterable[str]) -> bool:
    mine = change.env_metadata.get(name)
    if mine is None:
        return False
    others = [change.env_metadata[each] for each in chosen if each in change.env_metadata]
    return any(
        not getattr(mine, where).keys().isdisjoint(getattr(other, where))
        for other in others
        for where in _METADATA
    )
