"""Objects of our kinds on an API server, each with a name of its own."""

import itertools
from collections.abc import Mapping
from typing import Any

from daemon import names
from tests.testbed.api import Api

GROUP = f"/apis/{names.KRUISE_GROUP}"
STORED, OTHER = names.KRUISE_VERSIONS
KINDS = {
    "imagepulljobs": "ImagePullJob",
    "imagelistpulljobs": "ImageListPullJob",
    "nodeimages": "NodeImage",
    "clonesets": "CloneSet",
    "containerrecreaterequests": "ContainerRecreateRequest",
}
NOW = "2026-01-01T00:00:00Z"

_numbers = itertools.count(1)


def path(plural: str, name: str = "", version: str = STORED) -> str:
    """Where that object, or all of the kind, are served."""
    namespace = "" if plural == "nodeimages" else "/namespaces/default"
    return f"{GROUP}/{version}{namespace}/{plural}{f'/{name}' if name else ''}"


async def make(api: Api, plural: str, spec: Mapping[str, Any], version: str = STORED) -> dict[str, Any]:
    """Store an object of that spec and return it."""
    name = f"served-{next(_numbers)}"
    body = {
        "apiVersion": f"{names.KRUISE_GROUP}/{version}",
        "kind": KINDS[plural],
        "metadata": {"name": name},
        "spec": spec,
    }
    made: dict[str, Any] = await api.request("POST", path(plural, version=version), body)
    return made


async def make_job(api: Api, **spec: Any) -> str:
    """Store a job and return its name."""
    made = await make(api, "imagepulljobs", {"image": "nginx:1", **spec})
    return str(made["metadata"]["name"])


def condition(type_: str, status: str) -> dict[str, Any]:
    """A condition as the controller writes it."""
    words = {"reason": "Pulling", "message": "1 of 2", "observedGeneration": 1, "lastTransitionTime": NOW}
    return {"type": type_, "status": status, **words}
