"""Where one job stands on each of its nodes, kept up to date node by node. Pure.

A plan reads sums and the next few names here, so that it costs what changed and not the number of nodes.
"""

import functools
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from daemon.objects.field_problems import FieldProblem
from daemon.objects.images import ImagePullJob, ImageTag, ImageTagStatus, NodeImage
from daemon.objects.meta import selects
from daemon.objects.validation import hindrances_of
from daemon.pulljobs.tags import answer_of, place_of, tag_of, with_job
from daemon.pulljobs.tally import State, Tally

TIMED_OUT = "TimedOut"
SILENT = "AgentNotResponding"
"""Reasons that a node cannot give itself."""


@dataclass(frozen=True, slots=True)
class Followed:
    """Where the pods are whose nodes a job follows."""

    nodes: Sequence[str] = ()
    """Each once, in the order in which the pods' workload will change them."""
    unscheduled: Sequence[str] = ()
    """Names of pods that will have a node soon."""
    known: bool = True
    """False where there are no pods, as in standalone mode."""


NO_PODS = Followed(known=False)


@dataclass(frozen=True, slots=True)
class Around:
    """What jobs share: kept by somebody else, only read here."""

    held: Mapping[str, int] = field(default_factory=dict)
    """How many tags the job owns, by node."""
    leaving: Container[str] = field(default_factory=set)
    """Nodes whose share of the job will be gone soon: it counts as gone."""
    silent: Mapping[str, datetime] = field(default_factory=dict)
    """Nodes whose agents give no sign of life, and since when."""


class JobShares:
    """One job's nodes by what they say, and its shares in them."""

    def __init__(self, job: ImagePullJob, around: Around | None = None) -> None:
        self.job = job
        self.tally = Tally()
        self.strays: dict[str, bool] = {}
        """Nodes with a share that an edit made obsolete; True where the current one is there as well."""
        self.outdated: set[str] = set()
        """Nodes at work that were asked in other terms than the job's now."""
        self.followed = NO_PODS
        self._around = around or Around()
        self._asked: set[str] = set()
        self._rank: dict[str, int] = {}
        self._pulling_since: dict[str, datetime] = {}
        self._names = frozenset(job.spec.selector.names if job.spec.selector is not None else ())

    @property
    def is_over(self) -> bool:
        """Whether no selected node has anything left to do, and none will come soon."""
        return self.tally.is_over and not self.followed.unscheduled

    @functools.cached_property
    def problems(self) -> tuple[FieldProblem, ...]:
        """Why the job cannot be carried out; it has no nodes then."""
        return hindrances_of(self.job)

    def answers(self, node: str) -> bool:
        """Whether the node's agent gives signs of life."""
        return node not in self._around.silent

    def holders(self) -> list[str]:
        """The nodes that hold a share, or soon will, in the order of their names."""
        return sorted(self._asked.union(self._around.held))

    def next_nodes(self, room: int) -> list[str]:
        """Whom to ask when *room* more nodes may work: those that do not answer take no room."""
        return self.tally.next_nodes(room, self._around.silent)

    def see(self, image: NodeImage, now: datetime) -> bool:
        """Take in what the node's object says now; tell whether that is news for the job."""
        name = image.metadata.name
        chosen = self._selects(image)
        tag = tag_of(image, self.job) if chosen else None
        stray = self._find_strays(name, current=tag is not None)
        if not chosen:
            self._forget(name)
            return self.tally.remove(name) or stray
        state, failure = self._judge(image, tag, now)
        if state is not State.ACTIVE:
            self._forget(name)
        if state is State.ACTIVE and name in self._around.silent:
            state, failure = State.SILENT, self._silence(name)
        return self.tally.put(name, state, failure) or stray

    def lose(self, name: str) -> bool:
        """The node's object is gone; tell whether it was one of the job's."""
        self._asked.discard(name)
        self._forget(name)
        stray = self.strays.pop(name, None) is not None
        return self.tally.remove(name) or stray

    def ask(self, name: str) -> None:
        """The node will be asked: from now on it is at work."""
        self._asked.add(name)
        self.outdated.discard(name)
        self.strays.pop(name, None)
        if self.tally.state_of(name) is not State.UNTOLD:
            return
        if name in self._around.silent:
            self.tally.put(name, State.SILENT, self._silence(name))
        else:
            self.tally.put(name, State.ACTIVE)

    def settle(self, name: str) -> None:
        """The node was asked: from now on its object alone says how far it is."""
        self._asked.discard(name)
        if not self._asked:
            self._asked.clear()  # an empty set keeps the room that a full one needs

    def refuse(self, name: str, reason: str, message: str) -> None:
        """The node cannot be asked, and never will be in these terms."""
        self._asked.discard(name)
        if self.tally.state_of(name) is not None:
            self.tally.put(name, State.FAILED, self._failure(reason, message))

    def check_terms(self, image: NodeImage, now: datetime, ttl: int) -> None:
        """Find out whether a node at work was asked in the terms that the job has now."""
        name = image.metadata.name
        at_work = self.tally.state_of(name) in {State.ACTIVE, State.SILENT}
        if not at_work or tag_of(image, self.job) is None:
            return
        if with_job(image, self.job, now, ttl) != image.spec:
            self.outdated.add(name)

    def follow(self, followed: Followed) -> None:
        """Take over where the job's pods are; its nodes must be seen anew then."""
        self.followed = followed
        self._rank = {name: number for number, name in enumerate(followed.nodes)}
        self.tally.reorder(self._rank)

    def expire(self, now: datetime) -> float | None:
        """Fail the nodes that pull for longer than the job allows; return the seconds until the next does.

        A node minds the widest bounds of all that share a pull, so that nobody's is broken off.
        """
        policy = self.job.spec.pull_policy
        allowed = timedelta(seconds=policy.timeout_seconds * (policy.backoff_limit + 1))
        for name, since in list(self._pulling_since.items()):
            if now - since >= allowed:
                message = f"pulling exceeds timeoutSeconds {policy.timeout_seconds}"
                self._forget(name)
                self.tally.put(name, State.FAILED, self._failure(TIMED_OUT, message))
        waits = [(since + allowed - now) / timedelta(seconds=1) for since in self._pulling_since.values()]
        return min(waits, default=None)

    def _forget(self, name: str) -> None:
        self.outdated.discard(name)
        self._pulling_since.pop(name, None)

    def _selects(self, image: NodeImage) -> bool:
        spec, name = self.job.spec, image.metadata.name
        if spec.pod_selector is not None:
            return name in self._rank
        if spec.selector is None:
            return True
        if self._names:
            return name in self._names
        return selects(spec.selector, image.metadata.labels)

    def _find_strays(self, name: str, *, current: bool) -> bool:
        before = self.strays.pop(name, None)
        left_alone = name not in self._asked and name not in self._around.leaving
        if left_alone and self._around.held.get(name, 0) > int(current):
            self.strays[name] = current
        return self.strays.get(name) is not before

    def _judge(
        self, image: NodeImage, tag: ImageTag | None, now: datetime
    ) -> tuple[State, ImageTagStatus | None]:
        name = image.metadata.name
        if tag is None or name in self._around.leaving:
            return (State.ACTIVE if name in self._asked else State.UNTOLD), None
        status = answer_of(image, self.job, tag)
        if status is not None and status.phase == "Succeeded" and status.completion_time is not None:
            return State.SUCCEEDED, None
        before = self.tally.state_of(name)
        if before is State.SUCCEEDED or before is State.FAILED:
            return before, self.tally.failure_of(name)  # another job asked anew: our answer stands
        if status is not None and self._has_failed(status):
            return State.FAILED, status
        self._watch_time(name, tag, status, now)
        return State.ACTIVE, None

    def _has_failed(self, status: ImageTagStatus) -> bool:
        """Whether the node gave up, or has failed more often than this job allows."""
        return status.completion_time is not None or status.failures > self.job.spec.pull_policy.backoff_limit

    def _watch_time(self, name: str, tag: ImageTag, status: ImageTagStatus | None, now: datetime) -> None:
        """Remember since when a node pulls that minds wider limits, of another job, than this one's."""
        shared = len(tag.owner_references) > 1
        limit = tag.pull_policy.timeout_seconds if tag.pull_policy is not None else None
        wider = limit is None or limit > self.job.spec.pull_policy.timeout_seconds
        if shared and wider and status is not None and status.phase == "Pulling":
            self._pulling_since.setdefault(name, now)

    def _silence(self, name: str) -> ImageTagStatus:
        since = self._around.silent[name].strftime("%H:%M:%S")
        return self._failure(SILENT, f"its agent has given no sign of life since {since} UTC")

    def _failure(self, reason: str, message: str) -> ImageTagStatus:
        tag = place_of(self.job.spec.image).tag
        return ImageTagStatus(tag=tag, phase="Failed", reason=reason, message=message)
