"""Reads pod templates as ControllerRevisions hold them: plain JSON, of which nothing is lost. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from daemon.objects.container_env import MetadataField, from_metadata
from daemon.objects.local_pods import Container, ResourceRequirements

Revision = Mapping[str, Any]
"""The data of a ControllerRevision: ``{"spec": {"template": {…}}}``; other members of ``spec`` are kept."""


def template_of(revision: Revision) -> Mapping[str, Any]:
    """The pod template of *revision*."""
    return _member(_member(revision, "spec"), "template")


def pod_spec_of(revision: Revision) -> Mapping[str, Any]:
    """The pod spec of *revision*."""
    return _member(template_of(revision), "spec")


def containers_of(revision: Revision) -> Mapping[str, Mapping[str, Any]]:
    """The regular containers by name, in the order of the template."""
    return by_name(pod_spec_of(revision).get("containers"))


def by_name(items: Any) -> Mapping[str, Mapping[str, Any]]:
    """The items of a list that have a name, by that name."""
    found = items if isinstance(items, Sequence) and not isinstance(items, str) else ()
    return {each["name"]: each for each in found if isinstance(each, Mapping) and "name" in each}


def image_of(revision: Revision, container: str) -> str:
    """The image that *container* has in *revision*; empty when there is no such container."""
    return str(containers_of(revision).get(container, {}).get("image") or "")


def resources_of(revision: Revision, container: str) -> ResourceRequirements:
    """Requests and limits that *container* has in *revision*."""
    return requirements(containers_of(revision).get(container, {}).get("resources"))


def requirements(raw: Any) -> ResourceRequirements:
    """Requests and limits of plain JSON, in which a quantity may be a number."""
    lists = {name: _quantities(_member(raw, name)) for name in ("requests", "limits")}
    return msgspec.convert(lists, ResourceRequirements)


def metadata_of(revision: Revision, field: MetadataField) -> Mapping[str, str]:
    """Labels or annotations of the template."""
    return _member(_member(template_of(revision), "metadata"), field)


def references(container: Mapping[str, Any]) -> Collection[tuple[MetadataField, str]]:
    """The labels and annotations from which *container* takes variables of its environment."""
    known = {"name": container.get("name"), "env": container.get("env") or ()}
    return from_metadata(msgspec.convert(known, Container)).values()


def _quantities(raw: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in raw.items() if value is not None}


def _member(raw: Any, name: str) -> Mapping[str, Any]:
    found = raw.get(name) if isinstance(raw, Mapping) else None
    return found if isinstance(found, Mapping) else {}
