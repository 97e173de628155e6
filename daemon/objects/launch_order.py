"""The order in which the containers of a pod start, as it stands in the pod. Pure.

The kubelet does not create a container while a variable in a ``subPathExpr`` of its mounts is empty. The
release's admission policy gives each container such a mount, whose variable is an annotation of the pod: who
writes the annotation lets the container start, and nothing outlives the pod.
"""

import re
from typing import Final, NamedTuple

from daemon import names
from daemon.objects.local_pods import Container, LocalPod
from daemon.objects.slim_pods import slim_for_centre

OPEN: Final = "true"
"""The value of a gate's annotation that lets containers start."""
_GATE: Final = re.compile(
    rf"metadata\.annotations\['(?P<annotation>{re.escape(names.LAUNCH_GATE_PREFIX)}(?P<priority>-?\d{{1,10}}))'\]"
)


class Gate(NamedTuple):
    """What one container waits for."""

    annotation: str
    priority: int


def gates_of(pod: LocalPod) -> dict[str, Gate]:
    """By container, the gate that it starts behind."""
    found = {each.name: _gate_of(each) for each in pod.spec.containers}
    return {name: gate for name, gate in found.items() if gate is not None}


def _gate_of(container: Container) -> Gate | None:
    for variable in container.env:
        source = variable.value_from
        if variable.name == names.BARRIER_VARIABLE and source is not None and source.field_ref is not None:
            match = _GATE.fullmatch(source.field_ref.field_path)
            if match is not None:
                return Gate(match["annotation"], int(match["priority"]))
    return None


def is_open(pod: LocalPod, gate: Gate) -> bool:
    """Tell whether containers behind *gate* may start."""
    return pod.metadata.annotations.get(gate.annotation) == OPEN


def is_launched(pod: LocalPod) -> bool:
    """Tell whether every container of the pod may start, and the pod says so."""
    gates = gates_of(pod).values()
    told = pod.metadata.annotations.get(names.LAUNCH_COMPLETED_ANNOTATION) == OPEN
    return not gates or (told and all(is_open(pod, gate) for gate in gates))


def kept_by_centre(pod: LocalPod) -> LocalPod:
    """*pod* as the controller keeps it: whole as long as something of it is for us to do."""
    return slim_for_centre(pod) if is_launched(pod) else pod
