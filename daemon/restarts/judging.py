"""How one container stands to what its pod asks for. Pure."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import inf, isfinite
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from daemon import names
from daemon.localpods.conditions import condition_of
from daemon.objects.container_env import Expected, expected, metadata_values
from daemon.objects.container_hashes import fingerprint, plain_hash
from daemon.objects.local_pods import Container, ContainerStatus, LocalPod
from daemon.objects.planned_restarts import counted
from daemon.objects.restart_grants import controller_of, granted, has_opted_in
from daemon.restarts.plans import (
    MOST_TRIES,
    READ_AGAIN,
    Finding,
    Observed,
    Record,
    Stage,
    Stopping,
    Tries,
    Unreadable,
)

Asker = Literal["nobody", "update", "owner", "pod"]
"""Who wants drifted containers restarted: an update in place, or the pod itself, with an owner or without."""

LONGEST_VALUE: Final = 64 * 1024
"""Bytes of one variable that is acted on: Linux starts no program with one of 128 KiB."""
_KUBELET_SECONDS: Final = 30.0
"""Within which the kubelet restarts a container whose image changed; then it is stopped all the same."""
_BACK_OFF: Final = re.compile(r"back-off (?:([0-9]+)m)?(?:([0-9]+)s)? ")
_MIRROR: Final = "kubernetes.io/config.mirror"
"""On what the API server shows of a static pod: changes of it reach no container."""
_SHOWN: Final = 5
"""Variables that are named; more are counted."""


def asker_of(pod: LocalPod) -> Asker:
    """Who wants drifted containers of *pod* restarted."""
    changing = any(
        each.type == names.IN_PLACE_UPDATE_READY and each.status == "False" for each in pod.status.conditions
    )
    if changing:
        return "update"
    if not has_opted_in(pod):
        return "nobody"
    return "pod" if controller_of(pod) is None else "owner"


class Judge(msgspec.Struct, frozen=True):
    """Judges the containers of one pod."""

    seen: Observed
    asker: Asker
    grants: Mapping[str, str]

    @classmethod
    def of(cls, seen: Observed) -> "Judge":
        """The judge of that pod."""
        return cls(seen, asker_of(seen.pod), granted(seen.pod))

    def find(self, container: Container) -> Finding:
        """How *container* stands."""
        status = self.seen.pod.status.of(container.name)
        if status is None or not status.container_id:
            return Finding(container, status, Stage.ABSENT)
        if status.state.running is None:
            return self._not_running(container, status)
        record = self.seen.records.get(status.container_id)
        if record is None:
            return Finding(container, status, Stage.UNREAD)
        if isinstance(record, Unreadable):
            return Finding(container, status, Stage.FAILED, record.problem)
        if not record.is_running:
            return replace(self._not_running(container, status), again_in=READ_AGAIN)
        return self._running(container, status, record)

    def _not_running(self, container: Container, status: ContainerStatus) -> Finding:
        """The kubelet starts the successor of what we stopped; all else is none of ours."""
        if not self._is_ours(container.name, status.container_id):
            return Finding(container, status, Stage.ABSENT)
        until = back_off_until(status)
        if until is None:
            return Finding(container, status, Stage.STOPPED)
        told = f"until {until:%Y-%m-%dT%H:%M:%SZ}" if until > self.seen.now else "which ends now"
        return Finding(container, status, Stage.BACK_OFF, told)

    def _is_ours(self, name: str, container_id: str) -> bool:
        if container_id in {self.grants.get(name), *self.seen.stops}:
            return True
        return self.asker != "nobody" and not counted(self.seen.pod, {name: container_id})

    def _running(self, container: Container, status: ContainerStatus, record: Record) -> Finding:
        seen, stop = self.seen, self.seen.stops.get(status.container_id)
        if stop is not None and not stop.failure:
            return Finding(container, status, _stopping(container, stop), record=record)
        wanted = expected(seen.pod, container, record.env)
        differing = differences(wanted, record)
        if not differing:
            return self._same(container, status, record)
        problem = self._problem(container, wanted)
        if problem:
            return Finding(container, status, Stage.FAILED, problem, record)
        stage, again_in = self._stage(container, status, record)
        detail = stop.failure if stop is not None and stage is Stage.FAILED else listed(differing)
        return Finding(container, status, stage, detail, record, again_in)

    def _awaits_image(self, container: Container, record: Record) -> bool:
        """Whether the kubelet will give the container another image: by name, else by the kubelet's hash.

        Kubelets before 1.31 hash more than the image, so that a hash says something only during an update.
        """
        if record.image:
            return record.image != container.image
        hashes = {0, plain_hash(container.name, container.image)}
        return self.asker == "update" and record.image_hash not in hashes

    def _same(self, container: Container, status: ContainerStatus, record: Record) -> Finding:
        """Of one without drift: the image may differ, or a restart may have been announced already."""
        if self._awaits_image(container, record):
            return Finding(container, status, Stage.KUBELET, "its image", record)
        stop = self.seen.stops.get(status.container_id)
        pause = stop.retry_at - self.seen.monotonic if stop is not None else 0.0
        if isfinite(pause) and self._is_announced(container.name, status.container_id):
            if stop is not None and pause > 0:  # it stays announced, so that it is tried again
                detail = f"and back again ({stop.failure})"
                return Finding(container, status, Stage.SETTLING, detail, record, pause)
            return Finding(container, status, Stage.DUE, "and back again", record)
        return Finding(container, status, Stage.IN_SYNC, record=record)

    def _is_announced(self, name: str, container_id: str) -> bool:
        """Whether an agent died between counting a restart and doing it: what is counted is done.

        The runtime may have been told already. Then too the count is right, whatever was changed back since.
        """
        told = condition_of(self.seen.pod, names.CONTAINERS_IN_SYNC)
        announced = told is not None and (told.status, told.reason) == ("False", "Restarting")
        alone = self.asker in {"update", "pod"}
        return announced and alone and not counted(self.seen.pod, {name: container_id})

    def _stage(self, container: Container, status: ContainerStatus, record: Record) -> tuple[Stage, float]:
        """How far a container is that should be restarted."""
        seen, stop = self.seen, self.seen.stops.get(status.container_id)
        if self.asker == "nobody":
            return Stage.DRIFTED, inf
        if names.GRACE_ANNOTATION in seen.pod.metadata.annotations:
            return Stage.SETTLING, inf  # an update waits for its end, and may restart the container itself
        patience = self._patience(container, status, record)
        if patience > 0:
            return Stage.KUBELET, patience
        if seen.settled_at > seen.monotonic:
            return Stage.SETTLING, seen.settled_at - seen.monotonic
        if stop is not None and stop.retry_at > seen.monotonic:
            return Stage.FAILED, stop.retry_at - seen.monotonic
        if self.asker == "owner" and self.grants.get(container.name) != status.container_id:
            return Stage.WAITING, inf
        return Stage.DUE, inf

    def _patience(self, container: Container, status: ContainerStatus, record: Record) -> float:
        """Seconds for which the kubelet's own restart is waited for, because the image changed as well."""
        same_hash = record.image_hash in {0, plain_hash(container.name, container.image)}
        if same_hash or record.image == container.image:
            return 0.0
        since = self.seen.since.get(status.container_id, self.seen.monotonic)
        return since + _KUBELET_SECONDS - self.seen.monotonic

    def _problem(self, container: Container, wanted: Expected) -> str:
        """Why a restart would do harm or nothing; empty when it would help."""
        if _MIRROR in self.seen.pod.metadata.annotations:
            return "it is a static pod: the kubelet reads its labels and annotations from the node's own file"
        policy = container.restart_policy or self.seen.pod.spec.restart_policy
        if policy != "Always":
            return f"its restartPolicy is {policy}: the kubelet might not start it again"
        for name, value in wanted.env.items():
            if "\0" in value:
                return f"{name} would hold a NUL, with which no container starts"
            if len(value.encode(errors="replace")) > LONGEST_VALUE:
                return f"{name} would be longer than {LONGEST_VALUE // 1024} KiB"
        return self._vanity(container)

    def _vanity(self, container: Container) -> str:
        tries = self.seen.tries.get(container.name, Tries("", 0))
        wanted = fingerprint(metadata_values(self.seen.pod, container))
        if tries.count < MOST_TRIES or tries.fingerprint != wanted:
            return ""
        return (
            f"restarted {tries.count} times, and it still differs: what changes its environment on the node?"
        )


def differences(wanted: Expected, record: Record) -> list[str]:
    """The names of what *record* lacks of *wanted*: variables, "command"."""
    found = sorted(name for name, value in wanted.env.items() if record.env.get(name) != value)
    return [*found, "command"] if wanted.command_depends and not record.runs(wanted) else found


def listed(found: Sequence[str]) -> str:
    """Some names for people."""
    more = len(found) - _SHOWN
    return ", ".join(found[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def back_off_until(status: ContainerStatus) -> datetime | None:
    """When the kubelet starts the container again, if it waits in CrashLoopBackOff."""
    waiting, ended = status.state.waiting, status.last_state.terminated
    if waiting is None or waiting.reason != "CrashLoopBackOff" or ended is None or ended.finished_at is None:
        return None
    found = _BACK_OFF.match(waiting.message)
    minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0)
    return ended.finished_at + timedelta(minutes=minutes, seconds=seconds)


def _stopping(container: Container, stop: Stopping) -> Stage:
    if stop.done:
        return Stage.STOPPED
    return Stage.STOPPING if container.lifecycle.pre_stop is None else Stage.PRE_STOP
