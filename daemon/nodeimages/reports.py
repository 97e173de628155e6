"""Writes NodeImage status: ends soon, and all else at a bounded rate, so that much is told in few writes."""

from collections.abc import Callable, Iterable, Mapping
from math import inf

import msgspec

from daemon.engine.clock import Clock
from daemon.engine.objects import NotFoundError, Objects
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.nodeimages.plans import Wanted
from daemon.nodeimages.statuses import News, described, news, status_of
from daemon.objects.images import AgentStatus, ImageTagStatus, NodeImage, NodeImageStatus
from daemon.objects.meta import Key

_TICK = 0.001
"""Timers may ring early by less than this, in seconds."""
_LONGEST = 10.0
"""Seconds after which a store that was away is told at the latest."""
_PATIENCE = 10.0
"""How many times longer than its last write a node waits before the next, while more is to come: what a
thousand nodes say at once is then no more than the API server can take."""
_LONGEST_INTERVAL = 30.0
"""Seconds to wait at most for that."""
OnTold = Callable[[NodeImage, NodeImageStatus], None]
"""Called with the object as it was written, and the status that it had before."""


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long news waits for other news, in seconds. The last end never waits."""

    interval: float
    """Least time between two writes that tell progress only."""
    between: float = 0.0
    """Least time before a write that tells no end."""
    settle: float = 0.0
    """How long a beginning waits: a short pull is told once, by its end."""
    gather: float = 0.0
    """How long an end waits for the next one, while others go on."""
    ends: float = inf
    """Writes of ends in a row that do not wait for *interval*, while others go on: a node with much to do
    costs the API server little, and one with little to do is heard at once."""


def pace_in_cluster(interval: float) -> Pace:
    """An agent's pace, whose progress is told every *interval* seconds: few writes, and soon what matters.

    A pull of less than 0.3 s is one write; two writes of ends may follow each other at once.
    """
    return Pace(interval=interval, between=interval, settle=0.3, gather=0.15, ends=2)


class Pacing:
    """When the next write is due, by what the last ones took. Times are monotonic seconds."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._interval = pace.interval
        """Longer than the pace's while the API server takes long."""
        self._written_at = -inf
        self._paid_until = -inf
        """Each write pays for one interval; a burst of ends may be so many in advance."""

    def date(self, found: News, now: float) -> float:
        """When what was *found* now is to be told."""
        pace = self._pace
        match found:
            case News.LAST_END:
                return now
            case News.END:
                return max(now + pace.gather, self._paid_until - (pace.ends - 1) * self._interval)
            case News.CHANGE:
                return max(now + pace.settle, self._written_at + pace.between)
            case _:
                return self._written_at + self._interval

    def wrote(self, began: float, now: float) -> None:
        """A write that *began* then came through."""
        self._written_at = now
        self._interval = max(self._pace.interval, min(_PATIENCE * (now - began), _LONGEST_INTERVAL))
        self._paid_until = max(self._paid_until, now) + self._interval


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How a process reports."""

    pace: Pace
    agent: AgentStatus | None = None
    """Who speaks; None where no cluster asks: then there are no conditions either."""
    on_told: OnTold = lambda _stored, _before: None


class Reports:
    """The latest report of the node, and its writer. While one write runs, later ones merge."""

    def __init__(
        self, node_images: Objects[NodeImage], metrics: Metrics, clock: Clock, manner: Manner
    ) -> None:
        self.controller: Controller[Key] = Controller("reports", self._write, metrics, max_delay=_LONGEST)
        self._node_images = node_images
        self._clock = clock
        self._manner = manner
        self._latest: dict[Key, NodeImageStatus] = {}
        self._sent: dict[Key, tuple[NodeImageStatus, NodeImageStatus]] = {}
        """What was written last, and what the store made of it: it may know less fields than we do."""
        self._due = inf
        self._pacing = Pacing(manner.pace)

    def publish(
        self, key: Key, wanted: Iterable[Wanted], report: Mapping[str, ImageTagStatus], generation: int = 0
    ) -> None:
        """Have the status of the wanted images written soon; *generation* is that of the spec behind it."""
        status = status_of(wanted, report)
        stored = self._node_images.get(key)
        agent = self._manner.agent
        if agent is not None:
            told = self.told(stored) if stored is not None else NodeImageStatus()
            now = self._clock.now()
            status = described(status, told, agent=agent, generation=generation, now=now)
        self._latest[key] = status
        if stored is not None:
            self._schedule(key, stored, status)

    def told(self, stored: NodeImage) -> NodeImageStatus:
        """What has been said in the object: as we said it, where the store keeps but a part of that."""
        return self._sent[stored.metadata.key][0] if self.wrote(stored) else stored.status

    def wrote(self, stored: NodeImage) -> bool:
        """Whether the object's status is what this process wrote last."""
        sent = self._sent.get(stored.metadata.key)
        return sent is not None and stored.status == sent[1]

    def _schedule(self, key: Key, stored: NodeImage, status: NodeImageStatus) -> None:
        found = news(self.told(stored), status)  # also when somebody made the object anew
        if found is News.NONE:
            return
        self._due = min(self._due, self._pacing.date(found, self._clock.monotonic()))
        self.controller.queue.add_after(key, max(self._due - self._clock.monotonic(), 0.0))

    async def _write(self, key: Key) -> float | None:
        stored = self._node_images.get(key)
        status = self._latest.get(key)
        if stored is None or status is None or self.told(stored) == status:
            return None
        wait = self._due - self._clock.monotonic()
        if _TICK < wait < inf:
            return wait
        before, began = self.told(stored), self._clock.monotonic()
        # Our status is ours alone, whatever happens to the spec meanwhile: no resourceVersion.
        metadata = msgspec.structs.replace(stored.metadata, resource_version="")
        try:
            answer = await self._node_images.replace_status(
                msgspec.structs.replace(stored, metadata=metadata, status=status)
            )
        except NotFoundError:
            return None
        self._sent[key] = status, answer.status
        self._pacing.wrote(began, self._clock.monotonic())
        self._due = inf
        self._manner.on_told(msgspec.structs.replace(answer, status=status), before)
        self._schedule(key, answer, self._latest[key])
        return None
