"""Decides what to do about the wanted images of one node: a pure function of one snapshot.

Every action names the image and the version of the request that it is for, so that a repeat is harmless and a
late one cannot hit a successor.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from daemon.nodeimages.plans import (
    DEADLINE,
    NO_SPACE,
    NO_SPACE_REMEDY,
    UNCOUNTED,
    Action,
    Attempt,
    Cancel,
    Facts,
    Failure,
    Look,
    Observed,
    Pin,
    Plan,
    Pull,
    Stage,
    Unpin,
    Wanted,
)
from daemon.objects.images import ImageTagStatus

PIN_AFTER = 0.3
"""Seconds that pins wait after the last pull: what its end sets off, as the job's status, goes first."""
PIN_WITHIN = timedelta(seconds=30)
"""How long pins wait for pulls at most."""


def is_finished(status: ImageTagStatus | None, version: int) -> bool:
    """Tell whether *status* is the end of the request with that version."""
    return status is not None and status.version == version and status.completion_time is not None


def plan(seen: Observed) -> Plan:
    """Decide. Running work counts against the workers; the rest goes by priority, then age."""
    steps = _Steps(seen)
    for wanted in sorted(seen.wanted, key=_order):
        steps.take(wanted)
    pins = tuple(steps.pin())
    return Plan(
        actions=(*_cancels(seen), *_unpins(seen), *steps.actions, *pins),
        report=steps.report,
        held=steps.held,
        wake_in=min(steps.wakes, default=None),
    )


def _order(wanted: Wanted) -> tuple[int, datetime, str]:
    return (-wanted.priority, wanted.created_at, wanted.ref)


def _cancels(seen: Observed) -> Iterable[Cancel]:
    wanted = {item.ref: item for item in seen.wanted}
    for ref, attempt in seen.attempts.items():
        if attempt.stage not in (Stage.LOOKING, Stage.PULLING):
            continue
        item = wanted.get(ref)
        if item is None or item.version != attempt.version or _is_late(item, seen.now):
            yield Cancel(ref, attempt.version)


def _unpins(seen: Observed) -> Iterable[Unpin]:
    wanted = {item.ref for item in seen.wanted}
    busy = {ref for ref, attempt in seen.attempts.items() if attempt.stage is not Stage.IDLE}
    return [Unpin(ref) for ref in sorted(seen.pinned or ()) if ref not in wanted | busy]


def _is_late(wanted: Wanted, now: datetime) -> bool:
    return wanted.deadline_at is not None and now >= wanted.deadline_at


class _Steps:
    """Collects the steps of one plan: free workers, looks and disk are handed out in order."""

    def __init__(self, seen: Observed) -> None:
        self._seen = seen
        running = [item for item in seen.attempts.values() if item.stage in (Stage.PULLING, Stage.CANCELLING)]
        looking = sum(item.stage is Stage.LOOKING for item in seen.attempts.values())
        self._slots = seen.workers - len(running)
        # A look ahead for the next in line hides the registry's answer time behind the running pulls.
        self._looks = 2 * seen.workers - looking
        self._space = seen.available - sum(item.outstanding for item in running)
        self.actions: list[Action] = []
        self.report: dict[str, ImageTagStatus] = {}
        self.held: dict[str, Failure] = {}
        self.wakes: list[float] = []

    def take(self, wanted: Wanted) -> None:
        """Add what is to be done about *wanted*."""
        recorded = self._seen.recorded.get(wanted.ref)
        if recorded is not None and is_finished(recorded, wanted.version):
            self.report[wanted.ref] = recorded
            return
        attempt = self._attempt(wanted, recorded)
        status = self._settle(wanted, attempt) or self._advance(wanted, attempt)
        self.report[wanted.ref] = _with_history(status, attempt, recorded, wanted)

    def _attempt(self, wanted: Wanted, recorded: ImageTagStatus | None) -> Attempt:
        attempt = self._seen.attempts.get(wanted.ref)
        if attempt is not None and (attempt.version == wanted.version or attempt.stage is not Stage.IDLE):
            return attempt
        if recorded is not None and recorded.version == wanted.version:
            return Attempt(wanted.version, failures=recorded.failures)  # an earlier process began it
        return Attempt(wanted.version)

    def _settle(self, wanted: Wanted, attempt: Attempt) -> ImageTagStatus | None:
        """The final status, if the request is over."""
        if wanted.problem is not None:
            return self._failed(wanted, wanted.problem)
        if attempt.version == wanted.version and attempt.image_id:
            return self._succeeded(wanted, attempt.image_id)
        if _is_late(wanted, self._seen.now):
            return self._failed(wanted, _late(attempt)) if attempt.stage is Stage.IDLE else None
        failure = attempt.failure
        if failure is None or attempt.stage is not Stage.IDLE or failure.reason in UNCOUNTED:
            return None
        if failure.final or attempt.failures > wanted.backoff_limit:
            return self._failed(wanted, failure)
        return None

    def _succeeded(self, wanted: Wanted, image_id: str) -> ImageTagStatus:
        return _status(
            wanted,
            "Succeeded",
            progress=100,
            completion_time=self._seen.now,
            image_id=f"{wanted.name}@{image_id}",
        )

    def _failed(self, wanted: Wanted, failure: Failure) -> ImageTagStatus:
        return _status(
            wanted, "Failed", completion_time=self._seen.now, message=failure.message, reason=failure.reason
        )

    def pin(self) -> Iterable[Pin]:
        """What is on the node and not yet safe from the collector, once that holds nothing else up.

        A pin costs the runtime some writes, and the kubelet spares images for two minutes after they came
        (imageMinimumGCAge): so pins wait for the pulls, but never for long.
        """
        seen = self._seen
        if seen.pinned is None or not seen.runtime_ready:
            return
        busy = any(isinstance(action, Pull) for action in self.actions) or any(
            attempt.stage is Stage.PULLING for attempt in seen.attempts.values()
        )
        pause = PIN_WITHIN / timedelta(seconds=1) if busy else seen.pulled_at + PIN_AFTER - seen.monotonic
        for ref, status in self.report.items():
            if status.phase != "Succeeded" or ref in seen.pinned or ref in seen.pin_refused:
                continue
            assert status.completion_time is not None
            if pause <= 0 or seen.now - status.completion_time >= PIN_WITHIN:
                yield Pin(ref)
            else:
                self.wakes.append(pause)

    def _advance(self, wanted: Wanted, attempt: Attempt) -> ImageTagStatus:
        if attempt.version != wanted.version or attempt.stage is Stage.CANCELLING:
            return _status(wanted, "Waiting")  # an older version is still ending
        if attempt.stage is Stage.PULLING:
            self._until_deadline(wanted)
            return _status(wanted, "Pulling", progress=attempt.percent)
        begun = attempt.stage is Stage.IDLE and self._next(wanted, attempt)
        self._until_deadline(wanted)
        if begun:
            return _status(wanted, "Pulling", start_time=self._seen.now)
        if attempt.stage is Stage.LOOKING and attempt.facts is not None:
            self._fits(wanted, attempt.facts)  # what it waits for stays told meanwhile
        failure = self.held.get(wanted.ref) or attempt.failure
        if failure is None:
            return _status(wanted, "Waiting")
        return _status(wanted, "Waiting", message=failure.message, reason=failure.reason)

    def _until_deadline(self, wanted: Wanted) -> None:
        if wanted.deadline_at is not None:
            left = (wanted.deadline_at - self._seen.now) / timedelta(seconds=1)
            self.wakes.append(max(left, 0.0))

    def _next(self, wanted: Wanted, attempt: Attempt) -> bool:
        """Take the next step, if it is due; tell whether that is a pull."""
        wait = attempt.retry_at - self._seen.monotonic
        if wait > 0:
            self.wakes.append(wait)
        elif not self._seen.runtime_ready:
            return False  # the runtime's return wakes us
        elif attempt.facts is None:
            self._look(wanted, attempt.failures)
        elif not self._fits(wanted, attempt.facts):
            if attempt.stale:
                self._look(wanted, attempt.failures)
        elif self._slots > 0:
            self._slots -= 1
            self._space -= attempt.facts.needed
            self.actions.append(Pull(wanted, attempt.facts))
            return True
        else:
            self._looks -= 1  # It is the next in line, and nobody further back has to be looked at yet.
        return False

    def _look(self, wanted: Wanted, failures: int) -> None:
        if self._looks > 0:
            self._looks -= 1
            self.actions.append(Look(wanted, failures))

    def _fits(self, wanted: Wanted, facts: Facts) -> bool:
        if facts.needed <= max(self._space, 0):  # what needs nothing fits on a full disk, too
            return True
        self.held[wanted.ref] = no_space(facts.needed, self._space)
        return False


def no_space(needed: int, available: int) -> Failure:
    """The failure of an image that the disk has no room for; sizes in bytes."""
    return Failure(
        NO_SPACE,
        f"needs {_mib(needed)} of disk, {_mib(max(available, 0))} are available above the reserve",
        NO_SPACE_REMEDY,
    )


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _late(attempt: Attempt) -> Failure:
    last = f"; last attempt: {attempt.failure.message}" if attempt.failure else ""
    return Failure(DEADLINE, f"pulling exceeds the activeDeadlineSeconds{last}")


def _status(wanted: Wanted, phase: str, **values: object) -> ImageTagStatus:
    return ImageTagStatus(tag=wanted.tag, version=wanted.version, phase=phase, **values)  # type: ignore[arg-type]


def _with_history(
    status: ImageTagStatus, attempt: Attempt, recorded: ImageTagStatus | None, wanted: Wanted
) -> ImageTagStatus:
    """Carry over what an earlier process or report said of the same request."""
    started = attempt.started_at if attempt.version == wanted.version else None
    started = started or status.start_time
    if recorded is not None and recorded.version == wanted.version:
        started = recorded.start_time or started
    return ImageTagStatus(
        tag=status.tag,
        phase=status.phase,
        version=status.version,
        progress=status.progress,
        start_time=started,
        completion_time=status.completion_time,
        image_id=status.image_id,
        message=status.message,
        reason=status.reason,
        failures=attempt.failures if attempt.version == wanted.version else 0,
    )
