"""Revisions as ControllerRevisions hold them, for tests."""

from collections.abc import Mapping
from typing import Any


def container(name: str, image: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "image": image, **rest}


def env_of(variable: str, path: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def revision(
    *containers: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    metadata = {"creationTimestamp": None, "labels": {"app": "web", **(labels or {})}}
    if annotations:
        metadata["annotations"] = dict(annotations)
    template = {"$patch": "replace", "metadata": metadata, "spec": {"containers": [*containers], **spec}}
    return {"spec": {"template": template}}
