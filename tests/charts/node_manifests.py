"""What may be asked of a node, and what nobody may."""

from collections.abc import Mapping
from typing import Any, Final

from tests.charts.manifests import Wrong

TAG: Final[Mapping[str, Any]] = {
    "tag": "1",
    "createdAt": "2026-01-01T00:00:00Z",
    "pullPolicy": {"ttlSecondsAfterFinished": 300},
}
_TAGS: Final = "spec.images.nginx.tags"


def node_spec(*tags: Mapping[str, Any], name: str = "nginx") -> dict[str, Any]:
    """The spec of a NodeImage with these tags of one image."""
    return {"images": {name: {"tags": list(tags)}}}


def without(key: str) -> dict[str, Any]:
    """A tag that lacks a field."""
    return {name: value for name, value in TAG.items() if name != key}


NODE: Final[Mapping[str, Wrong]] = {
    "257 images": Wrong(
        {"images": {f"image-{i}": {} for i in range(257)}}, "spec.images", "must have at most 256 items"
    ),
    "an image without a name": Wrong(
        node_spec(TAG, name=""),
        "spec.images",
        "has an image without a name; allowed: the name of a repository",
    ),
    "an empty tag": Wrong(
        node_spec({**TAG, "tag": ""}), f"{_TAGS}[0].tag", "should be at least 1 chars long"
    ),
    "no tag": Wrong(node_spec(without("tag")), f"{_TAGS}[0].tag", "Required value"),
    "a tag twice": Wrong(
        node_spec(TAG, {**TAG, "tag": "2"}, TAG), "spec.images[nginx].tags[2]", 'Duplicate value: {"tag":"1"}'
    ),
    "no time of asking": Wrong(node_spec(without("createdAt")), f"{_TAGS}[0].createdAt", "Required value"),
    "a wrong time": Wrong(node_spec({**TAG, "createdAt": "today"}), f"{_TAGS}[0].createdAt", "date-time"),
    "a version below 0": Wrong(
        node_spec({**TAG, "version": -1}), f"{_TAGS}[0].version", "greater than or equal to 0"
    ),
    "no policy": Wrong(node_spec(without("pullPolicy")), f"{_TAGS}[0].pullPolicy", "Required value"),
    "no life after the end": Wrong(
        node_spec({**TAG, "pullPolicy": {}}),
        f"{_TAGS}[0].pullPolicy.ttlSecondsAfterFinished",
        "Required value",
    ),
    "an unknown rule for present images": Wrong(
        node_spec({**TAG, "imagePullPolicy": "Never"}), f"{_TAGS}[0].imagePullPolicy", "Unsupported value"
    ),
}
"""What nobody may ask of a node."""
