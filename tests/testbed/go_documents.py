"""Documents as OpenKruise's manager and its webhook write them.

The webhook stores a template with Kubernetes' defaults, and ``Always`` where no imagePullPolicy is given
(``apis/apps/defaults`` of OpenKruise 1.9).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tests.testbed.sets import Document

_SAFE: Final = "bcdfghjklmnpqrstvwxz2456789"
_OF_THE_WEBHOOK: Final = {
    "imagePullPolicy": "Always",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}


def go_time(at: datetime | None = None) -> str:
    """A time as Go's metav1.Time is written."""
    return (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def stored_template(
    name: str,
    containers: Sequence[Mapping[str, Any]],
    *,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Document:
    """A template as it is stored once the webhook has been at it."""
    given = {"annotations": dict(annotations)} if annotations else {}
    return {
        "metadata": {"creationTimestamp": None, "labels": {"app": name, **(labels or {})}, **given},
        "spec": {
            "containers": [{**_OF_THE_WEBHOOK, **each} for each in containers],
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 5,
            "volumes": [{"emptyDir": {}, "name": "count"}],
        },
    }


def go_json(document: Mapping[str, Any]) -> str:
    """*document* as Go's encoder writes a map."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def short_name(data: Mapping[str, Any], collisions: int = 0) -> str:
    """The end of a revision's name: FNV-1 of its data and of the collision count, in a safe alphabet."""
    number = 0x811C9DC5
    for byte in f"{go_json(data)}{collisions}".encode():
        number = number * 0x01000193 & 0xFFFFFFFF ^ byte
    return "".join(_SAFE[ord(digit) % len(_SAFE)] for digit in str(number))
