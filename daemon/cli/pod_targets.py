"""What somebody names whose pods are meant: a pod, a workload or labels, in kubectl's own words. Pure."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from daemon import names
from daemon.cli.errors import UsageError
from daemon.objects.meta import LabelSelector, LabelSelectorRequirement
from daemon.objects.workload_restarts import WorkloadReference

_APPS: Final = "apps/v1"
_KRUISE: Final = names.KRUISE_API
_PODS: Final = frozenset({"pod", "pods", "po"})
_WORKLOADS: Final = {
    **dict.fromkeys(("deploy", "deployment", "deployments"), (_APPS, "Deployment")),
    **dict.fromkeys(("sts", "statefulset", "statefulsets"), (_APPS, "StatefulSet")),
    **dict.fromkeys(("ds", "daemonset", "daemonsets"), (_APPS, "DaemonSet")),
    **dict.fromkeys(("rs", "replicaset", "replicasets"), (_APPS, "ReplicaSet")),
    **dict.fromkeys(("clone", "cloneset", "clonesets"), (_KRUISE, "CloneSet")),
    **dict.fromkeys(("asts",), (_KRUISE, "StatefulSet")),
    **dict.fromkeys(("daemon", "ads"), (_KRUISE, "DaemonSet")),
}
_BETWEEN: Final = re.compile(r",(?![^()]*\))")
"""A comma that is not in parentheses."""
_REQUIREMENT: Final = re.compile(
    r"(?P<no>!(?=[\w./-]+$))?(?P<key>[\w./-]+)"
    r"(?:\s*(?P<equals>==?|!=)\s*(?P<value>[\w.-]*)|\s+(?P<set>in|notin)\s*\((?P<values>[\w.,\s-]*)\))?",
    re.ASCII,
)
WORKLOADS: Final = ("deploy", "sts", "ds", "rs", "cloneset")
"""What people call them that are known here."""
ALLOWED: Final = "POD, deploy/NAME, sts/NAME, ds/NAME, rs/NAME or cloneset/NAME"


@dataclass(frozen=True, slots=True)
class PodTarget:
    """One of the three."""

    pod: str = ""
    workload: WorkloadReference | None = None
    selector: LabelSelector | None = None
    typed: str = ""
    """As it was given."""

    def __str__(self) -> str:
        return f"pod/{self.pod}" if self.pod else str(self.workload or self.typed)


def target_of(name: str | None, labels: str | None) -> PodTarget:
    """What is meant. Raises UsageError."""
    if (name is None) == (labels is None):
        given = f"{name!r} and --selector {labels!r}" if name is not None else "nothing is named"
        raise UsageError(f"{given}: allowed is one of {ALLOWED}, or --selector")
    if labels is not None:
        return PodTarget(selector=selector_of(labels), typed=labels)
    assert name is not None
    kind, slash, rest = name.partition("/")
    if not slash:
        return PodTarget(pod=_name(name, name), typed=name)
    if kind.lower() in _PODS:
        return PodTarget(pod=_name(rest, name), typed=name)
    version, kind_name = _workload(kind.lower(), name)
    reference = WorkloadReference(api_version=version, kind=kind_name, name=_name(rest, name))
    return PodTarget(workload=reference, typed=name)


def workload_of(name: str) -> WorkloadReference | None:
    """The workload that KIND/NAME means; None when that is something else. Raises UsageError."""
    kind, slash, _ = name.partition("/")
    if not slash or kind.lower().partition(".")[0] not in _WORKLOADS:
        return None
    return target_of(name, None).workload


def _workload(kind: str, typed: str) -> tuple[str, str]:
    """As ``kubectl get -o name`` prints it, the group may follow the kind."""
    word, _, group = kind.partition(".")
    found = _WORKLOADS.get(word)
    if found is not None and group == names.KRUISE_GROUP and found[1] in {"StatefulSet", "DaemonSet"}:
        found = (_KRUISE, found[1])
    if found is None or (group and not found[0].startswith(f"{group}/")):
        raise UsageError(f"{typed!r} names no pods; allowed: {ALLOWED}")
    return found


def _name(name: str, typed: str) -> str:
    if not name or "/" in name:
        raise UsageError(f"{typed!r} is no name; allowed: {ALLOWED}")
    return name


def selector_of(text: str) -> LabelSelector:
    """The labels of ``app=web,tier!=cache,zone in (a,b),canary``, as kubectl has it. Raises UsageError."""
    equal: dict[str, str] = {}
    others: list[LabelSelectorRequirement] = []
    for part in _BETWEEN.split(text):
        found = _REQUIREMENT.fullmatch(part.strip())
        if found is None:
            raise UsageError(
                f"--selector {text!r}: {part.strip()!r} is not allowed; allowed are labels as in "
                "app=web,tier!=cache,zone in (a,b),zone notin (c),canary,!old"
            )
        if found["equals"] not in {"=", "=="}:
            others.append(_expression(found))
        elif equal.setdefault(found["key"], found["value"]) != found["value"]:
            raise UsageError(f"--selector {text!r}: no {found['key']} has two values; allowed: in (a,b)")
    return LabelSelector(match_labels=equal, match_expressions=tuple(others))


def _expression(found: re.Match[str]) -> LabelSelectorRequirement:
    if found["equals"]:
        return LabelSelectorRequirement(key=found["key"], operator="NotIn", values=(found["value"],))
    if found["set"]:
        values = tuple(value.strip() for value in found["values"].split(","))
        operator: Literal["In", "NotIn"] = "In" if found["set"] == "in" else "NotIn"
        return LabelSelectorRequirement(key=found["key"], operator=operator, values=values)
    return LabelSelectorRequirement(key=found["key"], operator="DoesNotExist" if found["no"] else "Exists")
