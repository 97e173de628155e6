"""The kinds of the fake API server, and what a path names."""

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from tests.fakes.apifaults import refused
from tests.fakes.apistorage import Name, RefusalError, Served

VERSION = "v1.37.2"
"""Of the server."""
_KRUISE = ("apps.kruise.io", ("v1beta1", "v1alpha1"))
KINDS = (
    Served(*_KRUISE, "imagepulljobs", "ImagePullJob"),
    Served(*_KRUISE, "imagelistpulljobs", "ImageListPullJob"),
    Served(*_KRUISE, "nodeimages", "NodeImage", namespaced=False),
    Served(*_KRUISE, "containerrecreaterequests", "ContainerRecreateRequest"),
    Served(*_KRUISE, "clonesets", "CloneSet"),
    Served("inplaced.dev", ("v1alpha1",), "workloadrestarts", "WorkloadRestart"),
    Served("apps", ("v1",), "deployments", "Deployment"),
    Served("apps", ("v1",), "replicasets", "ReplicaSet"),
    Served("apps", ("v1",), "statefulsets", "StatefulSet"),
    Served("apps", ("v1",), "controllerrevisions", "ControllerRevision", status=False),
    Served("", ("v1",), "persistentvolumeclaims", "PersistentVolumeClaim", status=False),
    Served("", ("v1",), "nodes", "Node", namespaced=False, status=False),
    Served("", ("v1",), "pods", "Pod", tagged_by_status=True, subresources=("status", "resize")),
    Served("", ("v1",), "secrets", "Secret", status=False),
    Served("coordination.k8s.io", ("v1",), "leases", "Lease", status=False),
    Served("events.k8s.io", ("v1",), "events", "Event", status=False),
)


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names."""

    kind: Served
    version: str
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> Name:
        """As documents are stored."""
        return (self.namespace if self.kind.namespaced else "", self.name)

    @property
    def resource(self) -> str:
        """As in RBAC."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural


def target_of(kinds: Mapping[str, Served], path: str) -> Target | None:
    """What a path names: ``/apis/GROUP/VERSION[/namespaces/NS]/PLURAL[/NAME[/SUBRESOURCE]]``."""
    parts = path.strip("/").split("/")
    if len(parts) == 1:
        return None
    group, rest = ("", parts[1:]) if parts[0] == "api" else (parts[1], parts[2:])
    version, rest = rest[0], rest[1:]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    kind = kinds.get(rest[0]) if rest else None
    if kind is None or kind.group != group or version not in kind.versions:
        return None
    name, subresource = ([*rest[1:], "", ""])[:2]
    return Target(kind, version, namespace, name, subresource)


def discovery(kinds: Mapping[str, Served], path: str) -> web.Response:
    """What a group serves in one version."""
    parts = path.strip("/").split("/")
    if parts == ["version"]:
        return web.json_response({"major": "1", "minor": "37", "gitVersion": VERSION})
    group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
    found = [each for each in kinds.values() if each.group == group and version in each.versions]
    if not found or len(parts) > (2 if parts[0] == "api" else 3):
        return refused(RefusalError(404, "NotFound", "the server could not find the requested resource"))
    names = [each.plural for each in found]
    names += [f"{each.plural}/{below}" for each in found for below in each.subresources]
    return web.json_response({"kind": "APIResourceList", "resources": [{"name": each} for each in names]})


def reading_verb(target: Target, query: Mapping[str, str]) -> str:
    """What a GET is."""
    if target.name:
        return "get"
    return "watch" if query.get("watch") == "true" else "list"
