"""Lease: the sign of life of an agent, and who leads the controllers."""

from datetime import UTC, datetime

from daemon.objects.meta import ObjectMeta, Wire


def micro_time(at: datetime) -> str:
    """*at* as ``metav1.MicroTime``, which insists on six digits after the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class LeaseSpec(Wire, frozen=True):
    """Who holds the lease, and the holder's last sign of life. Times are text as in ``micro_time``."""

    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str = ""
    renew_time: str = ""
    lease_transitions: int = 0


class Lease(Wire, frozen=True):
    """A claim that lapses unless it is renewed."""

    metadata: ObjectMeta
    spec: LeaseSpec = LeaseSpec()
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"
