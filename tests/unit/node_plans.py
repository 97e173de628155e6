"""What a node sees, for tests of what it decides."""

from datetime import UTC, datetime

from daemon.nodeimages.plans import Observed, Wanted
from daemon.objects.images import ImageTagStatus

NOW = datetime(2026, 5, 1, tzinfo=UTC)
MIB = 2**20


def wanted(name: str = "app", version: int = 0, **values: object) -> Wanted:
    fields: dict[str, object] = {"created_at": NOW} | values
    return Wanted(ref=f"{name}:1", name=name, tag="1", version=version, **fields)  # type: ignore[arg-type]


def observed(*items: Wanted, **values: object) -> Observed:
    fields: dict[str, object] = {
        "now": NOW,
        "monotonic": 100.0,
        "recorded": {},
        "attempts": {},
        "pinned": frozenset(),
        "available": 10 * MIB,
    } | values
    return Observed(wanted=items, **fields)  # type: ignore[arg-type]


def done(version: int = 0, phase: str = "Succeeded") -> ImageTagStatus:
    return ImageTagStatus(tag="1", phase=phase, version=version, completion_time=NOW)  # type: ignore[arg-type]
