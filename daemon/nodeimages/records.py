"""What is known of each request of a node while it lasts, and when it is tried again."""

import asyncio
import random
from datetime import datetime

import msgspec

from daemon.cri.progress import Progress
from daemon.nodeimages.measuring import Measured
from daemon.nodeimages.plans import Failure, Stage, Wanted


class Backoff(msgspec.Struct, frozen=True):
    """Pauses between attempts, in seconds."""

    first: float
    longest: float
    space: float
    """Between two attempts that found the disk full."""

    def after(self, failures: int) -> float:
        """Doubling, with jitter, so that many nodes do not ask a registry in step."""
        pause = min(self.first * 2.0 ** min(failures - 1, 32), self.longest)
        return pause * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, is no secret


class Record(msgspec.Struct):
    """What is known of one request while it lasts."""

    wanted: Wanted
    stage: Stage = Stage.IDLE
    task: "asyncio.Task[None] | None" = None
    measured: Measured | None = None
    looked: tuple[int, float] = (0, 0.0)
    """When: after how many pulls of this process, and at what monotonic time."""
    failures: int = 0
    failure: Failure | None = None
    retry_at: float = 0.0
    retry_time: datetime | None = None
    started_at: datetime | None = None
    image_id: str = ""


def outstanding(record: Record, progress: Progress | None) -> int:
    """Bytes of disk that a running pull will still take, from how much of it is fetched."""
    if record.stage not in (Stage.PULLING, Stage.CANCELLING) or record.measured is None:
        return 0
    share = progress.done / progress.total if progress is not None and progress.total else 0.0
    return int(record.measured.facts.needed * (1.0 - share))
