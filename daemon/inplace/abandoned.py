"""What becomes of a pod that left its traffic to change, and of which nobody says any more to what. Pure.

Nobody controls it, or the revision that it is of is not known any more. What was written to it is verified to
the end; what waits for the end of a grace period, or for other containers, stays for whoever adopts it.
"""

from datetime import datetime

from daemon.inplace import documents
from daemon.inplace.observing import Records, Write, is_gated, is_out, records_of
from daemon.inplace.targets import Waiting
from daemon.inplace.verifying import restarting
from daemon.objects.local_pods import LocalPod


def is_kept_out(pod: LocalPod) -> bool:
    """Whether an update keeps the pod out of traffic."""
    return is_gated(pod) and is_out(pod) and pod.metadata.deletion_timestamp is None


def give_back(pod: LocalPod, now: datetime, why: str) -> Write | Waiting | None:
    """The write that lets traffic come to the pod again, as soon as it runs what its spec says.

    *why* is for people: for what reason nobody ends its update.
    """
    if not is_kept_out(pod):
        return None
    records = records_of(pod)
    late = restarting(pod, records, now)
    if late:
        looks = [each.look_again_in for each in late if each.look_again_in is not None]
        return Waiting(late[0].reason, "; ".join(each.message for each in late), min(looks, default=None))
    document = {
        "metadata": documents.bound(pod, {}, documents.untold(pod)),
        "status": {"conditions": documents.back_in_traffic(pod, now)},
    }
    return Write("Leave", document, "status", _told(records, why))


def _told(records: Records, why: str) -> str:
    words = f"{why}: it is back in traffic with what its containers run"
    waits = records.grace is not None or (records.state is not None and records.state.has_next)
    return f"{words}; the rest of its change waits for whoever adopts it" if waits else words
