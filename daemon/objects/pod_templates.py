"""Pod templates as Go's types write them, and what of one says something at all. Pure.

OpenKruise's manager compares revisions byte by byte, and its templates went through Go's types (k8s.io/api,
``core/v1``): a field that is nothing is left out, some are always there, quantities have one spelling. A
revision of ours is found again by it only in that form; a difference would have it replace every pod.

Its webhook, and the API server for pods, also fill in defaults. A template with them and one without make the
same pods.
"""

from collections.abc import Mapping
from typing import Any, Final

from daemon.objects.quantities import QuantityError, canonical

Template = Mapping[str, Any]

_TEXT_MAPS: Final = frozenset({"labels", "annotations", "nodeSelector", "matchLabels", "volumeAttributes"})
_QUANTITY_MAPS: Final = frozenset({"limits", "requests", "overhead"})
_QUANTITIES: Final = frozenset({"sizeLimit", "divisor"})
_LISTS: Final = frozenset({"containers", "nodeSelectorTerms", "sources"})
"""Lists that Go writes even when they are empty."""
_POINTERS: Final = frozenset(
    {"storageClassName", "runtimeClassName", "volumeAttributesClassName", "service", "hostnameOverride"}
)
"""Texts that Go tells from absent ones when they are empty."""
_EMPTY_IN: Final = {
    "value": frozenset({"env", "tolerations"}),
    "type": frozenset({"seLinuxOptions"}),
}
"""Where Go leaves such a text out when it is empty: nowhere else."""
_FLAGS: Final = frozenset({"hostIPC", "hostNetwork", "hostPID", "readOnly", "stdin", "stdinOnce", "tty"})
_POINTED_FLAGS: Final = frozenset({"csi", "azureDisk"})
"""Where ``readOnly: false`` is told from nothing."""
_NUMBERS: Final = frozenset(
    {
        "failureThreshold",
        "hostPort",
        "initialDelaySeconds",
        "periodSeconds",
        "successThreshold",
        "timeoutSeconds",
    }
)
_CONTAINERS: Final = ("containers", "initContainers")
_SELECTORS: Final = frozenset({"labelSelector", "namespaceSelector"})
"""Empty, they select everything; absent, they do not."""

_PROBE: Final = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_CONTAINER: Final = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_FILES: Final = {"defaultMode": 0o644}
_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "spec": {
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30,
        "volumeMode": "Filesystem",
    },
    "containers": _CONTAINER,
    "initContainers": _CONTAINER,
    "ports": {"protocol": "TCP"},
    "livenessProbe": _PROBE,
    "readinessProbe": _PROBE,
    "startupProbe": _PROBE,
    "httpGet": {"path": "/", "scheme": "HTTP"},
    "grpc": {"service": ""},
    "fieldRef": {"apiVersion": "v1"},
    "configMap": _FILES,
    "secret": _FILES,
    "downwardAPI": _FILES,
    "projected": _FILES,
    "hostPath": {"type": ""},
    "serviceAccountToken": {"expirationSeconds": 3600},
}
"""By the field that holds the object: pkg/apis/core/v1/defaults.go of Kubernetes."""


def as_go_writes(template: Template) -> dict[str, Any]:
    """*template* after a way through Go's PodTemplateSpec, keys in order; what is unknown here stays.

    The null of ``creationTimestamp`` is that of Kubernetes before 1.34, with which OpenKruise is built.
    """
    written = {
        **_object(template, "template", ""),
        "metadata": _object(template.get("metadata"), "metadata", ""),
    }
    return dict(sorted(written.items()))


def settled(one: Template, other: Template) -> tuple[Template, Template]:
    """Both as ``telling``, and without the imagePullPolicy of containers of which one of them says none.

    That is not taken for a default: OpenKruise's webhook has another one (``Always``) than Kubernetes.
    """
    first, second = telling(one), telling(other)
    for field in _CONTAINERS:
        _forget_unsaid(_named(first, field), _named(second, field))
    return first, second


def telling(template: Template) -> dict[str, Any]:
    """*template* without what means the same as nothing: defaults, nulls, empty maps and lists."""
    told: dict[str, Any] = _shorn(as_go_writes(template), "template") or {}
    told.pop("$patch", None)  # of a revision's data: how that is merged into a workload
    spec = told.get("spec")
    if not isinstance(spec, dict):
        return told
    account = spec.pop("serviceAccount", None)  # the old name of the same field
    if account is not None:
        spec.setdefault("serviceAccountName", account)
    if spec.get("hostNetwork"):
        for port in (each for field in _CONTAINERS for each in _ports(told, field)):
            if port.get("hostPort") == port.get("containerPort"):  # the default there
                port.pop("hostPort", None)
    return told


def _go(value: Any, field: str, parent: str) -> Any:
    if isinstance(value, Mapping):
        return _object(value, field, parent)
    if isinstance(value, list | tuple):
        return [_go(item, field, parent) for item in value]
    return _quantity(value) if field in _QUANTITIES else value


def _object(value: Any, field: str, parent: str) -> dict[str, Any]:
    given = value if isinstance(value, Mapping) else {}
    if field in _TEXT_MAPS:
        return {key: given[key] for key in sorted(given)}
    if field in _QUANTITY_MAPS:
        return {key: _quantity(given[key]) for key in sorted(given)}
    members = {key: _go(item, key, field) for key, item in given.items()}
    members = {key: item for key, item in members.items() if not _is_omitted(item, key, field)}
    return dict(sorted((_always(field, parent) | members).items()))


def _always(field: str, parent: str) -> dict[str, Any]:
    """What Go writes of such an object whatever it holds."""
    if field == "metadata":
        return {"creationTimestamp": None}
    if field == "volumeClaimTemplate":
        return {"metadata": {"creationTimestamp": None}}
    if field in _CONTAINERS or (field == "spec" and parent == "volumeClaimTemplate"):
        return {"resources": {}}
    return {"divisor": "0"} if field == "resourceFieldRef" else {}


def _is_omitted(value: Any, field: str, parent: str) -> bool:
    """Whether Go leaves a field of that value out."""
    match value:
        case None:
            return True
        case bool():
            return not value and field in _FLAGS and parent not in _POINTED_FLAGS
        case "":
            return parent in _EMPTY_IN[field] if field in _EMPTY_IN else field not in _POINTERS
        case int():
            return value == 0 and field in _NUMBERS
        case list():
            return not value and field not in _LISTS
        case dict():
            return not value and (field in _TEXT_MAPS or field in _QUANTITY_MAPS)
        case _:
            return False


def _quantity(value: Any) -> Any:
    try:
        return canonical(str(value))
    except QuantityError:
        return value


def _shorn(value: Any, field: str) -> Any:
    if isinstance(value, Mapping):
        if field in _TEXT_MAPS:
            return value
        defaults = _DEFAULTS.get(field, {})
        members = {key: _shorn(item, key) for key, item in value.items()}
        kept = {
            key: item
            for key, item in members.items()
            if item is not None and not (key in defaults and item == defaults[key])
        }
        return kept if kept or field in _SELECTORS else None
    if isinstance(value, list | tuple):
        return [_shorn(item, field) for item in value] or None
    return None if field == "divisor" and value == "0" else value


def _items(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _containers(template: Template, field: str) -> list[dict[str, Any]]:
    spec = template.get("spec")
    return _items(spec.get(field)) if isinstance(spec, dict) else []


def _ports(template: Template, field: str) -> list[dict[str, Any]]:
    return [port for container in _containers(template, field) for port in _items(container.get("ports"))]


def _named(template: Template, field: str) -> dict[str, dict[str, Any]]:
    return {str(each.get("name")): each for each in _containers(template, field)}


def _forget_unsaid(one: Mapping[str, dict[str, Any]], other: Mapping[str, dict[str, Any]]) -> None:
    for name in one.keys() & other.keys():
        both = (one[name], other[name])
        if any("imagePullPolicy" not in each for each in both):
            for each in both:
                each.pop("imagePullPolicy", None)
