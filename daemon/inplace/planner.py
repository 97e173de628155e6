"""Decides the next step of one pod's update from what stands on the pod. Pure.

Out of traffic -> grace -> one patch (for each priority of containers) -> verified -> back in traffic. Each
step is bound to the very version of the pod that it was decided on: a late or repeated one does nothing.
"""

from daemon import names
from daemon.inplace.beginning import begin
from daemon.inplace.ending import end_grace, verify
from daemon.inplace.observing import Observed, Write, records_of
from daemon.inplace.targets import Progress, Waiting


def plan(seen: Observed) -> Write | Progress:
    """The next write, or where the update stands if there is none to be made now."""
    pod = seen.pod
    if pod.metadata.deletion_timestamp is not None:
        return Waiting("Deleting", "the pod is being deleted")
    records = records_of(pod)
    if any(pod.metadata.labels.get(key) != text for key, text in seen.target.labels.items()):
        return begin(seen, records)
    graces = (names.GRACE_ANNOTATION, names.OLD_GRACE_ANNOTATION)
    if records.grace is not None or any(each in pod.metadata.annotations for each in graces):
        return end_grace(seen, records)
    return verify(seen, records)
